"""A server of metrics pages that says what a test tells it to say, well or ill."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_BOMB = gzip.compress(b"a 1\n" * (1 << 20), 6)
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class PageServer:
    """Answers every request with its page, or with what is wrong.

    Attributes:
        page: the body.
        content_type: of it.
        fault: "" or one of drip, hang, bomb, endless, redirect, error, cut.
        requests: the heads of all requests.
    """

    def __init__(self) -> None:
        self.page = "up 1\n"
        self.content_type = _TEXT
        self.fault = ""
        self.requests: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{self.address}/metrics"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, as the fault says."""
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await self._answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        match self.fault:
            case "hang":
                await asyncio.sleep(60)
            case "error":
                writer.write(_head("Content-Length: 0", status="500 Broken"))
            case "redirect":
                writer.write(
                    _head("Location: /elsewhere", "Content-Length: 0", status="302 Found")
                )
            case "bomb":
                writer.write(self._head_of(_BOMB, "Content-Encoding: gzip") + _BOMB)
            case "endless":
                writer.write(_head(f"Content-Type: {self.content_type}", "Connection: close"))
                while True:
                    writer.write(b'a{x="1"} 1\n' * 8192)
                    await writer.drain()
            case "drip":
                writer.write(_head(f"Content-Type: {self.content_type}", "Connection: close"))
                while True:
                    writer.write(b"a 1\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            case "cut":
                body = self.page.encode()
                writer.write(self._head_of(body + b"more") + body)
            case _:
                body = self.page.encode()
                writer.write(self._head_of(body) + body)
        await writer.drain()

    def _head_of(self, body: bytes, *lines: str) -> bytes:
        return _head(f"Content-Type: {self.content_type}", f"Content-Length: {len(body)}", *lines)


def _head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", "Connection: close", *lines, "", "")).encode()


@asynccontextmanager
async def page_server() -> AsyncIterator[PageServer]:
    """A server on loopback, for as long as the block lasts."""
    made = PageServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        await listening.wait_closed()
