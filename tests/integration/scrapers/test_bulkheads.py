"""Goal: a collector whose other side hangs, refuses, drips, is killed, stopped, full or locked costs no other collector a poll.

Method: the scrapers of one program against real servers of NATS and PostgreSQL and against pages that a test can spoil, under a
manual clock: with each interval that passes every other target must have taken one more poll, while the spoilt one
is still waited for or has failed. Its own limits run by real time. Afterwards the spoilt one must come back by itself.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.app.registry import make_scrapers
from sentinel.app.registry.scrapers import Scraper
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.downstream import Downstream
from sentinel.runtime.http_client import ClientConfig
from sentinel.runtime.settings import Duration, FilePath
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from tests.support.clock import ManualClock
from tests.support.nats_servers import NatsProcess, debian_binary, free_ports
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

INTERVAL_S = 10.0
LIMIT_S = 0.5
KONG_PAGE = Path(__file__).parents[2] / "data" / "kong" / "metrics_3x.txt"
KONG, NATS, POSTGRES = (
    ("scrapers.kong", "main"),
    ("scrapers.nats", "main"),
    ("scrapers.postgres", "main"),
)
SPOILT, PAGE = ("scrapers.prometheus", "spoilt"), ("scrapers.prometheus", "page")
ALL = (KONG, NATS, POSTGRES, SPOILT, PAGE)

Target = tuple[str, str]


@dataclass(slots=True)
class Page:
    """A page of metrics on a raw socket, which answers as it should or as nobody should."""

    body: bytes
    mode: str = "ok"
    port: int = 0
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/metrics"

    async def listen(self) -> None:
        """On the port it had before."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
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
    page: Page
    nats: NatsProcess
    postgres: PostgresServer
    scrapings: Mapping[str, Scraper]

    def taken(self, target: Target) -> float:
        """Polls of a target that were taken."""
        return self._polls(target).get("ok", 0.0)

    def failed(self, target: Target) -> float:
        """Polls of a target that came to nothing."""
        polls = self._polls(target)
        return sum(polls.values()) - polls.get("ok", 0.0)

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


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server(15, max_connections="12", superuser_reserved_connections="2") as made:
        made.make_role()
        yield made


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    port, monitor_port = free_ports(2)
    made = NatsProcess(
        name="n1",
        binary=debian_binary(),
        folder=tmp_path_factory.mktemp("nats"),
        port=port,
        monitor_port=monitor_port,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
async def collectors(postgres: PostgresServer, nats: NatsProcess) -> AsyncIterator[Collectors]:
    """All of them polled once, and in step."""
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    good, page = Page(KONG_PAGE.read_bytes()), Page(KONG_PAGE.read_bytes())
    await good.listen()
    await page.listen()
    client = ClientConfig(connect_timeout=Duration(LIMIT_S), timeout=Duration(LIMIT_S))
    config = ScrapersConfig(
        kong=(
            KongTargetConfig(
                url=good.url,
                interval=Duration(INTERVAL_S),
                timeout=Duration(2.0),
                client=ClientConfig(connect_timeout=Duration(2.0), timeout=Duration(2.0)),
            ),
        ),
        prometheus=tuple(
            PrometheusTargetConfig(
                name=name, url=one.url, interval=Duration(INTERVAL_S), client=client
            )
            for name, one in (("page", good), ("spoilt", page))
        ),
        nats=(
            NatsConfig(
                urls=(f"http://127.0.0.1:{nats.monitor_port}",),
                interval=Duration(INTERVAL_S),
                client=ClientConfig(connect_timeout=Duration(LIMIT_S), timeout=Duration(LIMIT_S)),
            ),
        ),
        postgres=(
            PostgresTargetConfig(
                port=postgres.port,
                password_file=FilePath(str(postgres.password_file(postgres.folder))),
                interval=Duration(INTERVAL_S),
                timeout=Duration(1.5),
                connect_timeout=Duration(1.0),
                statement_timeout=Duration(1.0),
            ),
        ),
    )
    scrapings = make_scrapers(config, Downstream(sink=ListSink()), surroundings)
    made = Collectors(
        clock=clock,
        surroundings=surroundings,
        page=page,
        nats=nats,
        postgres=postgres,
        scrapings=scrapings,
    )
    for scraping in scrapings.values():
        await scraping.start()
    try:
        await until(
            lambda: all(made.taken(one) == 1 for one in ALL), what=lambda: "the first polls"
        )
        await made.interval(*ALL)
        yield made
    finally:
        for scraping in scrapings.values():
            await scraping.stop()
        await good.close()
        await page.close()


MODES = (
    "hang",
    "drip",
    "bomb",
    "garbage",
    "cut",
    "302 Found",
    "503 Service Unavailable",
    "403 Forbidden",
)


async def test_a_page_that_does_all_that_is_wrong_costs_no_other_a_poll(
    collectors: Collectors,
) -> None:
    """One thing after the other, an interval each, and then all is well again."""
    taken = collectors.taken(SPOILT)
    for mode in MODES:
        collectors.page.mode = mode
        await collectors.goes_wrong(SPOILT, PAGE, KONG, NATS, POSTGRES)
    await collectors.page.close()
    await collectors.goes_wrong(SPOILT, PAGE, KONG, NATS, POSTGRES)
    assert collectors.taken(SPOILT) == taken
    health = collectors.scrapings["prometheus"].health()
    assert health.status is HealthStatus.DEGRADED
    assert health.sentence.startswith("1 of 2 targets cannot be read: spoilt: ")
    collectors.page.mode = "ok"
    await collectors.page.listen()
    await collectors.comes_back(SPOILT)


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


async def test_a_nats_that_is_stopped_and_killed_costs_no_other_a_poll(
    collectors: Collectors,
) -> None:
    process = collectors.nats.process
    assert process is not None
    async with stopped([process.pid]):
        await collectors.goes_wrong(NATS, KONG, SPOILT, PAGE, POSTGRES)
    await collectors.comes_back(NATS)
    await asyncio.to_thread(collectors.nats.stop, signal.SIGKILL)
    await collectors.goes_wrong(NATS, KONG, SPOILT, PAGE, POSTGRES)
    await asyncio.to_thread(collectors.nats.start)
    await collectors.comes_back(NATS)


async def own_backends(server: PostgresServer) -> list[int]:
    connection = await server.connect()
    try:
        rows = await connection.fetch(
            "select pid from pg_stat_activity where usename = 'sentinel'"
        )
    finally:
        await connection.close()
    return [row["pid"] for row in rows]


async def test_a_postgres_that_is_stopped_full_locked_and_killed_costs_no_other_a_poll(
    collectors: Collectors,
) -> None:
    server = collectors.postgres
    backends = await own_backends(server)
    assert backends
    others = (KONG, SPOILT, PAGE, NATS)
    async with stopped(backends):
        await collectors.goes_wrong(POSTGRES, *others)
    await collectors.comes_back(POSTGRES)
    async with locked(server):
        # What is locked is left out of the poll, which is taken all the same or comes to nothing.
        for _ in range(3):
            await collectors.interval(*others)
    await collectors.comes_back(POSTGRES)
    async with full(server):
        # That it is full is what its poll finds.
        for _ in range(3):
            await collectors.interval(*others)
        await until(
            lambda: "full" in collectors.scrapings["postgres"].health().sentence,
            what=lambda: collectors.scrapings["postgres"].health().sentence,
        )
    await collectors.comes_back(POSTGRES)
    for backend in await own_backends(server):
        os.kill(backend, signal.SIGKILL)  # the server ends all its sessions and recovers
    for _ in range(2):
        await collectors.interval(*others)
    await collectors.comes_back(POSTGRES)
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    await collectors.goes_wrong(POSTGRES, *others)
    await asyncio.to_thread(server.start)
    await collectors.comes_back(POSTGRES)


@asynccontextmanager
async def locked(server: PostgresServer) -> AsyncIterator[None]:
    """Hold catalogues that statistics are read from."""
    holder = await server.connect()
    try:
        await holder.execute(
            "begin; lock table pg_catalog.pg_class, pg_catalog.pg_stat_activity in access exclusive mode"
        )
        yield
    finally:
        await holder.close()


@asynccontextmanager
async def full(server: PostgresServer) -> AsyncIterator[None]:
    """Take every connection that there is, those of the sidecar too."""
    held: list[Any] = []
    try:
        for pid in await own_backends(server):
            await server.execute(f"select pg_terminate_backend({pid})")
        for _ in range(40):
            try:
                held.append(await server.connect())
            except Exception:  # noqa: BLE001  # the server is full, in whatever words
                break
        yield
    finally:
        for connection in held:
            await connection.close()
