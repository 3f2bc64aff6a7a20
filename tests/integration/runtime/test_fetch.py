"""Goal: a page is fetched whole or not at all, whatever the other side does.

Method: a server on loopback that drips, bombs, redirects, breaks off and lies; each answer is one case.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sentinel.errors import (
    InputTooLargeError,
    MalformedInputError,
    RefusedError,
    SentinelError,
    UnreachableError,
    UnsupportedInputError,
)
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.settings import Duration, Secret

LIMIT_BYTES = 64 * 1024
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode()


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *lines, status=status) + body


class Server:
    """Says what a test tells it to say."""

    def __init__(self) -> None:
        self.answer: bytes | Answer = b""
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/metrics"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(
        ClientConfig(
            timeout=Duration(0.6),
            connect_timeout=Duration(0.5),
            bearer_token=Secret("correct-horse"),
        ),
        "http://127.0.0.1",
        body_bytes_max=LIMIT_BYTES,
    )
    yield made
    await made.close()
    await made.close()


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_page_comes_whole(server: Server, fetcher: Fetcher, *, compressed: bool) -> None:
    body = b"up 1\n" * 1000
    server.answer = (
        sized(gzip.compress(body), "Content-Type: text/plain; v=1", "Content-Encoding: gzip")
        if compressed
        else sized(body, "Content-Type: text/plain; v=1")
    )
    found = await fetcher.get(server.url, {"Accept": "text/plain"})
    assert (found.status, found.body, found.media_type) == (200, body, "text/plain")
    assert (found.wire_bytes < len(body)) is compressed
    assert b"Accept: text/plain" in server.requests[0]
    assert b"Authorization: Bearer correct-horse" in server.requests[0]


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(head("Content-Length: 100000"))
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    while True:
        writer.write(b"up 1\n" * 10_000)
        await writer.drain()


async def endless_after_gzip(writer: asyncio.StreamWriter) -> None:
    writer.write(head("Content-Encoding: gzip") + gzip.compress(b"up 1\n"))
    while True:
        writer.write(bytes(50_000))
        await writer.drain()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (drip, UnreachableError, "within 0.6 s"),
        (silent, UnreachableError, "within 0.6 s"),
        (endless, InputTooLargeError, "too large"),
        (endless_after_gzip, InputTooLargeError, "too large"),
        (
            sized(gzip.compress(bytes(50 * 2**20)), "Content-Encoding: gzip"),
            InputTooLargeError,
            "too large",
        ),
        (
            sized(gzip.compress(b"up 1\n" * 99)[:-12], "Content-Encoding: gzip"),
            MalformedInputError,
            "cut off",
        ),
        (sized(b"plain", "Content-Encoding: gzip"), MalformedInputError, "not valid gzip"),
        (sized(b"br", "Content-Encoding: br"), UnsupportedInputError, "'br'"),
        (
            sized(b"", "Location: http://127.0.0.1:1/", status="302 Found"),
            RefusedError,
            "redirect is not followed",
        ),
        (sized(b"secret", status="500 Oh"), RefusedError, "status 500"),
        (head("Content-Length: 100") + b"half", UnreachableError, "127.0.0.1"),
        (b"no http at all\r\n\r\n", UnreachableError, "127.0.0.1"),
        (b"", UnreachableError, "127.0.0.1"),
    ],
    ids=[
        "drip",
        "silent",
        "endless",
        "endless-after-gzip",
        "bomb",
        "cut-gzip",
        "no-gzip",
        "brotli",
        "redirect",
        "500",
        "half",
        "no-http",
        "nothing",
    ],
)
async def test_what_is_not_whole_is_an_error_that_says_so(
    server: Server,
    fetcher: Fetcher,
    answer: bytes | Answer,
    error: type[SentinelError],
    words: str,
) -> None:
    server.answer = answer
    with pytest.raises(error, match=words) as caught:
        await fetcher.get(server.url)
    assert "secret" not in str(caught.value)
    # The next one is not spoilt by it.
    server.answer = sized(b"up 1\n")
    assert (await fetcher.get(server.url)).body == b"up 1\n"


async def test_nobody_there_is_unreachable(fetcher: Fetcher) -> None:
    with pytest.raises(UnreachableError, match=r"refused.* at 127\.0\.0\.1:1"):
        await fetcher.get("http://127.0.0.1:1/metrics")
