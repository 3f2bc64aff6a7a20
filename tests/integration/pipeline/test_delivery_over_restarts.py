"""Delivery from the real store across restarts of everything: a page that is stored is a page that arrives.

The incident fires in one life of the sidecar and resolves in the next, while Alertmanager is down in both; the
third life finds it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.core.model import Kind, Page, SeriesKey
from sentinel.pipeline.deliver import Deliver, DeliverConfig
from sentinel.ports import Tick
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.settings import Duration
from sentinel.senders.alertmanager import AlertmanagerConfig, alertmanager_senders
from sentinel.storage.sqlite import Store, StoreConfig
from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.incident_blocks import block_of
from tests.support.outbox import firing, resolved
from tests.support.real_delivery import until
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

_KEY = SeriesKey("pay", "edge", "POST /x", "latency")
_STEP_NS = 10_000_000_000


class Life:
    """One life of the sidecar: its store and its delivery."""

    def __init__(self, directory: Path, url: str) -> None:
        made = make_surroundings()
        surroundings = Surroundings(clock=SystemClock(), metrics=made.metrics, logger=made.logger)
        self.now_ns = surroundings.clock.now_ns()
        self.store = Store(StoreConfig(directory=str(directory)), surroundings)
        self.deliver = Deliver(
            DeliverConfig(
                retry_first=Duration(0.2), retry_max=Duration(0.5), settle=Duration(2.0)
            ),
            self.store.sync,
            alertmanager_senders(
                AlertmanagerConfig(
                    urls=(url,), resend=Duration(1.0), firing_lifetime=Duration(30.0)
                )
            ),
            surroundings=surroundings,
            run_blocking=self.store.run,
        )

    async def page(self, page: Page) -> None:
        """Store a page with a window, as evaluation does."""
        (series_id,) = await self.store.run(
            self.store.sync.register, [(_KEY, Kind.LATENCY)], now_ns=self.now_ns
        )
        start_ns = self.now_ns // _STEP_NS * _STEP_NS + page.sequence * _STEP_NS
        block = block_of({series_id: _KEY}, [[1.0]], start_ns=start_ns)
        ends_ns = None if page.ends_ns is None else self.now_ns
        timely = replace(page, starts_ns=self.now_ns - 60_000_000_000, ends_ns=ends_ns)
        await self.store.run(self.store.sync.append_tick, Tick(block=block, pages=(timely,)))
        self.deliver.pages_stored([timely])


@asynccontextmanager
async def life(directory: Path, url: str) -> AsyncIterator[Life]:
    running = Life(directory, url)
    await running.store.start()
    try:
        await running.deliver.start()
        try:
            yield running
        finally:
            await running.deliver.stop()
    finally:
        await running.store.stop()


async def test_a_page_outlives_the_sidecar_and_the_alertmanager(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        server.stop()
        async with life(store, server.url) as first:
            await first.page(firing())
            await asyncio.sleep(0.5)
        async with life(store, server.url) as second:
            await second.page(resolved())
            await asyncio.sleep(0.5)
        server.start()
        async with life(store, server.url):
            await until(lambda: bool(hook.alerts("resolved")), what="the resolve")
        assert [alert["status"] for alert in hook.alerts()] == ["firing", "resolved"]
