"""Goal: a database that runs out of connections pages before anything was learnt, and the page says what comes of it.

Method: the whole program on a manual clock, a real PostgreSQL as the only source, clients that take every connection. The
server keeps its own time; each poll has real time to be answered before the window ends.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import SeriesKey
from sentinel.runtime.polling.component import Polled, Scraping
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import collector
from tests.support.postgres_scene import config_for
from tests.support.postgres_server import postgres_server
from tests.support.whole_app import (
    SECOND_NS,
    Sidecar,
    config_of,
    sidecar,
    until,
    windows_until_resolved,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


class Polls:
    """Counts polls that began and ended, so that time stands still while one is at work."""

    def __init__(self, side: Sidecar) -> None:
        self._side = side
        scraping = side.app.scrapers["postgres"]
        assert isinstance(scraping, Scraping)
        (self._target,) = scraping._targets
        self._poll = self._target.poll
        self._working = 0
        self._target.poll = self._counted  # type: ignore[method-assign]

    async def windows(self, count: int) -> None:
        """So many windows, each with its poll answered."""
        for _ in range(count):
            start_ns = self._side.next_ns
            await self._step_to(start_ns + 9 * SECOND_NS)
            await self._side.send()
            await self._step_to(start_ns + 16 * SECOND_NS)
            await self._side.close()

    async def _step_to(self, at_ns: int) -> None:
        """From sleeper to sleeper: a clock that moves while an answer is awaited says that it took so long."""
        clock = self._side.clock
        while clock.now_ns() < at_ns:
            step_s = (at_ns - clock.now_ns()) / SECOND_NS
            if clock._sleepers:
                step_s = min(step_s, max(0.0, clock._sleepers[0][0] - clock.monotonic_s()))
            await clock.advance(step_s + 1e-6)
            await until(lambda: not self._working, what="the poll")

    async def _counted(self, now_ns: int) -> Polled:
        self._working += 1
        try:
            return await self._poll(now_ns)
        finally:
            self._working -= 1


async def test_connections_that_run_out_page_from_the_first_minute_and_resolve(
    tmp_path: Path,
) -> None:
    with postgres_server(15) as server, collector() as hook:
        server.make_role("postgres")
        await server.execute("CREATE ROLE crowd LOGIN PASSWORD 'crowd-1'")
        config = replace(
            config_of(tmp_path, webhook_url=hook.url),
            scrapers=ScrapersConfig(
                postgres=(config_for(server, leave_out=("statements",), timeout=Duration(10.0)),)
            ),
        )
        async with sidecar(config) as side:
            polls = Polls(side)
            await polls.windows(8)
            assert hook.distinct() == []
            async with AsyncExitStack() as crowd:
                try:
                    while True:
                        client = await server.connect(user="crowd", password="crowd-1")
                        crowd.push_async_callback(client.close, timeout=5)
                except asyncpg.TooManyConnectionsError:
                    pass
                await polls.windows(7)
                await side.sees(lambda: bool(hook.distinct()), "the page")
                (page,) = hook.distinct()
                assert page["labels"]["alertname"] == "SentinelGuard"
                assert page["labels"]["service"] == "postgres"
                assert page["labels"]["severity"] == "page"
                told = page["annotations"]["summary"] + page["annotations"]["description"]
                assert "connections_used_ratio is at least 0.9" in told
                assert "at 1 new clients are refused" in told
            await polls.windows(windows_until_resolved() + 1)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            latest = side.app.evaluate.latest
            assert latest is not None
            values = dict(zip(latest.keys, latest.block.value[-1].tolist(), strict=True))
            traffic = SeriesKey("postgres", "database", "postgres", "traffic")
            assert values[traffic] >= 0.0
            assert (
                values[traffic._replace(route="connections", signal="clients_refused_count")]
                == 0.0
            )
