"""A way to a server on which the server's host can vanish: nothing ends, nothing is refused, nothing comes any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit


class SilentPath:
    """Passes bytes on between clients and a server, until the server's host vanishes from under the connections there are."""

    def __init__(self, url: str) -> None:
        """Lead to the server of `url`, which has a port."""
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._opened: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._gone: set[asyncio.StreamWriter] = set()
        self.is_passable = True

    async def start(self) -> str:
        """Listen; returns the URL by which the server is reached this way."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}"))

    def vanish(self) -> None:
        """End the server's side of every connection; the clients are told nothing, and what they send is swallowed."""
        for client, server in self._opened:
            self._gone.add(client)
            server.transport.abort()
        self._opened.clear()

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for client in [*self._gone, *(one for one, _ in self._opened)]:
            client.transport.abort()
        for _, server in self._opened:
            server.transport.abort()
        await asyncio.sleep(0)

    async def _take(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if not self.is_passable:
            self._gone.add(client)
            await _swallow(reader)
            return
        answers, server = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._opened.append((client, server))
        back = asyncio.create_task(self._pass_back(answers, client))
        with suppress(OSError):
            while data := await reader.read(65536):
                if client in self._gone:
                    continue
                server.write(data)
                await server.drain()
        server.transport.abort()
        await back

    async def _pass_back(
        self, answers: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await answers.read(65536):
                if client in self._gone:
                    return
                client.write(data)
                await client.drain()
        if client not in self._gone:
            client.transport.abort()


async def _swallow(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65536):
            pass
