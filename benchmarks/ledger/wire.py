"""HTTP/1.1 as lean as a load generator needs it: kept connections, one request at a time on each, bodies of a known length.

A general client takes several times the processor of what it measures here, on the same two cores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

Answered = Callable[[int, bytes], None]
"""Told the status and the body; status 0 when the connection broke before there was an answer."""

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None
        self._read = b""
        self._whole = 0  # bytes of head and body; 0 while the head is not here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a request; the answer is told once."""
        self._answered = answered
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Gather an answer."""
        self._read += data
        if not self._whole:
            end = self._read.find(_HEAD_END)
            if end < 0:
                return
            head = self._read[:end].lower()
            at = head.index(_LENGTH) + len(_LENGTH)
            self._whole = end + len(_HEAD_END) + int(head[at:].split(b"\r\n", 1)[0])
        if len(self._read) < self._whole:
            return
        read, self._read, self._whole = self._read, b"", 0
        answered, self._answered = self._answered, None
        closes = b"\r\nconnection: close" in read[:512].lower()
        if closes:
            self.close()
        else:
            self._pool.free(self)
        if answered is not None:
            answered(int(read[9:12]), read[read.index(_HEAD_END) + 4 :])

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever waits that there is no answer."""
        self._pool.lost(self)
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(0, b"")

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()


class Pool:
    """Connections to one address, made as they are needed, and used in turn."""

    def __init__(self, host: str, port: int, *, count_max: int) -> None:
        self._address = (host, port)
        self._count_max = count_max
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._making: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Connections that are there or being made."""
        return len(self._all) + len(self._making)

    def send(self, request: bytes, answered: Answered) -> bool:
        """Send on an idle connection, or on a new one; False when there are too many."""
        if self._idle:
            self._idle.popleft().send(request, answered)
            return True
        if self.count >= self._count_max:
            return False
        task = asyncio.create_task(self._on_new(request, answered))
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        return True

    def free(self, connection: Connection) -> None:
        """Take a connection back."""
        self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close all of them."""
        for connection in tuple(self._all):
            connection.close()

    async def _on_new(self, request: bytes, answered: Answered) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), *self._address
            )
        except OSError:
            answered(0, b"")
            return
        self._all.add(connection)
        connection.send(request, answered)
