"""Goal: a collector whose other side hangs, refuses, drips, is killed, stopped, full or locked costs no other collector a poll.

Method: the scrapers of one program against real servers of NATS and PostgreSQL and against pages that a test can spoil, under a
manual clock: with each interval that passes every other target must have taken one more poll, while the spoilt one
is still waited for or has failed. Its own limits run by real time. Afterwards the spoilt one must come back by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import Duration, FilePath
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from tests.support.collectors import (
    INTERVAL_S,
    Collectors,
    Page,
    collectors,
    pages,
    stopped,
    until,
)
from tests.support.nats_servers import NatsProcess, debian_binary, free_ports
from tests.support.postgres_server import PostgresServer, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LIMIT_S = 0.5
KONG, NATS, POSTGRES = (
    ("scrapers.kong", "main"),
    ("scrapers.nats", "main"),
    ("scrapers.postgres", "main"),
)
SPOILT, PAGE = ("scrapers.prometheus", "spoilt"), ("scrapers.prometheus", "page")
ALL = (KONG, NATS, POSTGRES, SPOILT, PAGE)


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


@dataclass(slots=True, kw_only=True)
class Scene:
    """The collectors and what they look at."""

    collectors: Collectors
    page: Page
    nats: NatsProcess
    postgres: PostgresServer


@pytest.fixture
async def scene(postgres: PostgresServer, nats: NatsProcess) -> AsyncIterator[Scene]:
    """All of them polled once, and in step."""
    good, page = Page(), Page()
    async with pages(good, page), collectors(config_of(good, page, nats, postgres)) as running:
        await until(
            lambda: all(running.taken(one) == 1 for one in ALL), what=lambda: "the first polls"
        )
        await running.interval(*ALL)
        yield Scene(collectors=running, page=page, nats=nats, postgres=postgres)


def config_of(
    good: Page, page: Page, nats: NatsProcess, postgres: PostgresServer
) -> ScrapersConfig:
    client = ClientConfig(connect_timeout=Duration(LIMIT_S), timeout=Duration(LIMIT_S))
    return ScrapersConfig(
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
                client=client,
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


MODES = (
    "hang",
    "drip",
    "bomb",
    "garbage",
    "huge",
    "slow head",
    "slow chunks",
    "half closed",
    "cut",
    "302 Found",
    "503 Service Unavailable",
    "403 Forbidden",
)


async def test_a_page_that_does_all_that_is_wrong_costs_no_other_a_poll(
    scene: Scene,
) -> None:
    """One thing after the other, an interval each, and then all is well again."""
    running, page = scene.collectors, scene.page
    taken = running.taken(SPOILT)
    for mode in MODES:
        page.mode = mode
        await running.goes_wrong(SPOILT, PAGE, KONG, NATS, POSTGRES)
    await page.close()
    await running.goes_wrong(SPOILT, PAGE, KONG, NATS, POSTGRES)
    assert running.taken(SPOILT) == taken
    health = running.scrapings["prometheus"].health()
    assert health.status is HealthStatus.DEGRADED
    assert health.sentence.startswith("1 of 2 targets cannot be read: spoilt: ")
    page.mode = "ok"
    await page.listen()
    await running.comes_back(SPOILT)


async def test_a_nats_that_is_stopped_and_killed_costs_no_other_a_poll(
    scene: Scene,
) -> None:
    running, nats = scene.collectors, scene.nats
    process = nats.process
    assert process is not None
    async with stopped([process.pid]):
        await running.goes_wrong(NATS, KONG, SPOILT, PAGE, POSTGRES)
    await running.comes_back(NATS)
    await asyncio.to_thread(nats.stop, signal.SIGKILL)
    await running.goes_wrong(NATS, KONG, SPOILT, PAGE, POSTGRES)
    await asyncio.to_thread(nats.start)
    await running.comes_back(NATS)


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
    scene: Scene,
) -> None:
    running, server = scene.collectors, scene.postgres
    backends = await own_backends(server)
    assert backends
    others = (KONG, SPOILT, PAGE, NATS)
    async with stopped(backends):
        await running.goes_wrong(POSTGRES, *others)
    await running.comes_back(POSTGRES)
    async with locked(server):
        # What is locked is left out of the poll, which is taken all the same or comes to nothing.
        for _ in range(3):
            await running.interval(*others)
    await running.comes_back(POSTGRES)
    async with full(server):
        # That it is full is what its poll finds.
        for _ in range(3):
            await running.interval(*others)
        await until(
            lambda: "full" in running.scrapings["postgres"].health().sentence,
            what=lambda: running.scrapings["postgres"].health().sentence,
        )
    await running.comes_back(POSTGRES)
    for backend in await own_backends(server):
        os.kill(backend, signal.SIGKILL)  # the server ends all its sessions and recovers
    for _ in range(2):
        await running.interval(*others)
    await running.comes_back(POSTGRES)
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    await running.goes_wrong(POSTGRES, *others)
    await asyncio.to_thread(server.start)
    await running.comes_back(POSTGRES)


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
