"""A caller over HTTPS that takes little of the machine it shares with whom it asks.

It works as Go's client does in an API server: HTTP/1.1, a connection for each request under way, so many of them kept afterwards,
a full handshake for each new one. Requests are made beforehand and answers are not parsed, so that what is measured is the other side;
a caller in asyncio takes several times as long for a request as the injector itself.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

_GIVE_UP_S = 30.0


@dataclass(slots=True)
class Answer:
    """One answer: which request it was, how long it took from when that was due, and its bytes."""

    number: int
    latency_ms: float
    data: bytes


@dataclass(slots=True, eq=False)
class _Connection:
    sock: ssl.SSLSocket
    is_connected: bool = False
    number: int = -1
    due_s: float = 0.0
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    read: bytearray = field(default_factory=bytearray)
    end: int = 0


class Caller:
    """Asks one server.

    Args:
        host, port: where it is.
        tls: whom to believe.
        name: what its certificate is for.
        kept_max: connections that are kept for the next request.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext, *, name: str, kept_max: int
    ) -> None:
        self._place = (host, port)
        self._tls = tls
        self._name = name
        self._kept_max = kept_max
        self._kept: deque[_Connection] = deque()
        self._selector = selectors.DefaultSelector()
        self.made_count = 0

    def ask(self, requests: Sequence[bytes], due_s: Sequence[float]) -> list[Answer]:
        """Send each request when it is due (seconds from now), whether others are answered or not; all answers."""
        begun_s = time.perf_counter()
        waiting = [(at_s, number) for number, at_s in enumerate(due_s)]
        heapq.heapify(waiting)
        under_way: set[_Connection] = set()
        answers: list[Answer] = []
        while waiting or under_way:
            now_s = time.perf_counter() - begun_s
            ready: list[_Connection] = []
            while waiting and waiting[0][0] <= now_s:
                at_s, number = heapq.heappop(waiting)
                one = self._kept.pop() if self._kept else self._connect()
                one.number, one.due_s = number, begun_s + at_s
                one.unsent, one.end = memoryview(requests[number]), 0
                one.read.clear()
                under_way.add(one)
                ready.append(one)
            wait_s = max(0.0, waiting[0][0] - now_s) if waiting else _GIVE_UP_S
            events = self._selector.select(0.0 if ready else wait_s)
            assert events or ready or waiting, f"{len(under_way)} requests were not answered"
            ready += [key.data for key, _ in events]
            for one in ready:
                if one in under_way and self._go_on(one):
                    under_way.remove(one)
                    latency_ms = (time.perf_counter() - one.due_s) * 1000
                    answers.append(Answer(one.number, latency_ms, bytes(one.read)))
                    self._keep(one)
        return answers

    def close(self) -> None:
        """Let go of all connections."""
        while self._kept:
            self._kept.pop().sock.close()
        self._selector.close()

    def _connect(self) -> _Connection:
        self.made_count += 1
        plain = socket.create_connection(self._place)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(0.0)
        sock = self._tls.wrap_socket(
            plain, server_hostname=self._name, do_handshake_on_connect=False
        )
        one = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, one)
        return one

    def _keep(self, one: _Connection) -> None:
        if len(self._kept) < self._kept_max and b"connection: close" not in one.read.lower():
            self._kept.append(one)
            return
        self._selector.unregister(one.sock)
        one.sock.close()

    def _go_on(self, one: _Connection) -> bool:
        """Do what can be done without waiting; True when the answer is there."""
        wanted = selectors.EVENT_READ
        try:
            if not one.is_connected:
                one.sock.do_handshake()
                one.is_connected = True
            while one.unsent:
                one.unsent = one.unsent[one.sock.send(one.unsent) :]
            while not self._is_whole(one):
                data = one.sock.recv(2**18)
                assert data, "the server closed the connection"
                one.read += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            wanted |= selectors.EVENT_WRITE
        else:
            return True
        finally:
            if self._selector.get_key(one.sock).events != wanted:
                self._selector.modify(one.sock, wanted, one)
        return False

    @staticmethod
    def _is_whole(one: _Connection) -> bool:
        if not one.end:
            head_end = one.read.find(b"\r\n\r\n")
            if head_end < 0:
                return False
            head = bytes(one.read[:head_end]).lower()
            assert head.startswith(b"http/1.1 200 "), head
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            one.end = head_end + 4 + int(length)
        return len(one.read) >= one.end
