"""The scrapers of one program under a manual clock, and pages that a test can spoil: with each interval every healthy target takes one more poll."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.app.config import ScrapersConfig
from sentinel.app.registry import make_scrapers
from sentinel.app.registry.scrapers import Scraper
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from tests.support.clock import ManualClock
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

INTERVAL_S = 10.0
KONG_PAGE = Path(__file__).parents[1] / "data" / "kong" / "metrics_3x.txt"

Target = tuple[str, str]


@dataclass(slots=True)
class Page:
    """A page of metrics on a raw socket, which answers as it should or as nobody should; its mode says how."""

    body: bytes = KONG_PAGE.read_bytes()
    mode: str = "ok"
    port: int = 0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/metrics"

    async def listen(self) -> None:
        """On the port it had before."""
        self.server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and end the ones there are."""
        server, self.server = self.server, None
        if server is not None:
            server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        if server is not None:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await self._answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        def head(status: str, *more: str, size: int) -> bytes:
            lines = [
                f"HTTP/1.1 {status}",
                f"Content-Length: {size}",
                "Content-Type: text/plain",
                *more,
            ]
            return "\r\n".join([*lines, "", ""]).encode()

        mode, body = self.mode, self.body
        if mode == "hang":
            await asyncio.sleep(60)
        elif mode == "drip":
            writer.write(head("200 OK", size=len(body)))
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        elif mode == "bomb":
            bomb = gzip.compress(bytes(64 * 2**20), compresslevel=1)
            writer.write(head("200 OK", "Content-Encoding: gzip", size=len(bomb)) + bomb)
        elif mode == "huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while True:
                writer.write(b"".join(b'flood{id="%d"} 1\n' % number for number in range(9999)))
                await writer.drain()
        elif mode in ("slow head", "slow chunks"):
            if mode == "slow chunks":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"X-A: 1\r\n" if mode == "slow head" else b"4\r\na 1\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        elif mode == "half closed":
            # Nothing more will come from here; what the other side says is still read.
            writer.write(head("200 OK", size=len(body)) + body[:100])
            writer.write_eof()
            await asyncio.sleep(60)
        elif mode == "garbage":
            writer.write(b"\x00\xff" * 2000)
        elif mode == "cut":
            writer.write(head("200 OK", size=len(body)) + body[: len(body) // 2])
            writer.transport.abort()
        elif mode in ("302 Found", "503 Service Unavailable", "403 Forbidden"):
            writer.write(head(mode, "Location: http://127.0.0.1:1/", size=0))
        else:
            writer.write(head("200 OK", size=len(body)) + body)
        await writer.drain()


@dataclass(slots=True, kw_only=True)
class Collectors:
    """What runs, and the hands that move its clock."""

    clock: ManualClock
    surroundings: Surroundings
    sink: ListSink
    scrapings: Mapping[str, Scraper]

    def taken(self, target: Target) -> float:
        """Polls of a target that were taken."""
        return self._polls(target).get("ok", 0.0)

    def failed(self, target: Target) -> float:
        """Polls of a target that came to nothing."""
        polls = self._polls(target)
        return sum(polls.values()) - polls.get("ok", 0.0)

    def ended(self, target: Target, result: str) -> float:
        """Polls of a target that ended so."""
        return self._polls(target).get(result, 0.0)

    def _polls(self, target: Target) -> dict[str, float]:
        return {
            sample.labels["result"]: sample.value
            for family in self.surroundings.metrics.registry.collect()
            if family.name == "sentinel_scrapes"
            for sample in family.samples
            if (sample.labels["scraper"], sample.labels["target"]) == target
        }

    async def goes_wrong(self, target: Target, *others: Target) -> None:
        """Two intervals in which each of the others is polled on time, and this one comes to nothing."""
        failed = self.failed(target)
        for _ in range(2):
            await self.interval(*others)
        await until(lambda: self.failed(target) > failed, what=lambda: f"{target} to fail")

    async def interval(self, *others: Target) -> None:
        """Let one interval pass, and see that each of these takes exactly one more poll."""
        before = {target: self.taken(target) for target in others}
        await self.clock.advance(INTERVAL_S)
        await until(
            lambda: all(self.taken(one) == before[one] + 1 for one in others),
            what=lambda: (
                f"one poll each: {before} and { ({one: self.taken(one) for one in others}) }"
            ),
        )

    async def comes_back(self, target: Target) -> None:
        """See the target taken again, within some intervals."""
        before = self.taken(target)
        for _ in range(20):
            await self.clock.advance(INTERVAL_S)
            if await comes_true(lambda: self.taken(target) > before, timeout_s=1.5):
                return
        message = f"{target} did not come back"
        raise AssertionError(message)


async def until(true: Callable[[], bool], *, what: Callable[[], str]) -> None:
    assert await comes_true(true, timeout_s=30.0), f"waited in vain for {what()}"


async def comes_true(true: Callable[[], bool], *, timeout_s: float) -> bool:
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + timeout_s
    while not true() and loop.time() < ends_s:
        await asyncio.sleep(0.005)
    return true()


@asynccontextmanager
async def collectors(config: ScrapersConfig) -> AsyncIterator[Collectors]:
    """All scrapers that are configured, started; nothing was asked of them yet but to begin."""
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    sink = ListSink()
    scrapings = make_scrapers(config, Downstream(sink=sink), surroundings)
    for scraping in scrapings.values():
        await scraping.start()
    try:
        yield Collectors(clock=clock, surroundings=surroundings, sink=sink, scrapings=scrapings)
    finally:
        for scraping in scrapings.values():
            await scraping.stop()


@asynccontextmanager
async def pages(*made: Page) -> AsyncIterator[None]:
    """These listen, and are closed at the end."""
    try:
        for page in made:
            await page.listen()
        yield
    finally:
        for page in made:
            await page.close()


@asynccontextmanager
async def stopped(pids: list[int]) -> AsyncIterator[None]:
    """These processes are held, and go on afterwards."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
