"""Goal: an outage at a gateway pages although only its scraped metrics tell of it, and each call counts once beside its spans.

Method: the whole program on a manual clock; a status API on loopback that counts as Kong's prometheus plugin does, asked in each
window, some of the time with sampled spans of the same calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import SeriesKey
from sentinel.scrapers.kong import KongSwitch, KongTargetConfig
from tests.support.alertmanager_server import collector
from tests.support.kong_status import KongStatus, kong_status
from tests.support.otlp_messages import span, traces
from tests.support.whole_app import (
    SECOND_NS,
    Sidecar,
    config_of,
    sidecar,
    until,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(60)

CALLS = 50
ROUTE = ("kong", "edge", "orders-v1")


class Gateway:
    """A Kong that serves window by window, and is asked in each."""

    def __init__(self, side: Sidecar, kong: KongStatus) -> None:
        self._side = side
        self._kong = kong
        self._wanted = 0
        self._number = 0

    async def windows(
        self,
        count: int,
        *,
        code: int = 200,
        of_calls: int = 0,
        source: str = "service",
        traced: bool = False,
    ) -> None:
        """So many windows in each of which `of_calls` calls are answered with a code, the others with 200."""
        for _ in range(count):
            start_ns = self._side.next_ns
            self._kong.serve(CALLS - of_calls)
            if of_calls:
                self._kong.serve(of_calls, code=code, source=source)
            await self._side.send()
            if traced:
                self._number += 1
                root = span(
                    "kong",
                    number=self._number,
                    end_ns=start_ns + 5 * SECOND_NS,
                    http__method="GET",
                    http__route="/v1/orders",
                    http__status_code=200,
                )
                body = traces(root, service="kong").SerializeToString()
                assert await self._side.post("/v1/traces", body) == 200
            wanted = self._wanted = self._wanted + 1
            await until(lambda: self._poll_count() >= wanted, what="the poll of this window")  # noqa: B023
            await self._side.close()

    def _poll_count(self) -> float:
        return self._side.metrics.value(
            "sentinel_scrapes_total", scraper="scrapers.kong", target="main", result="ok"
        )

    def value(self, *key: str) -> float:
        """What the last window says of a series."""
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return float(latest.block.value[0, latest.keys.index(SeriesKey(*key))])


@asynccontextmanager
async def gateway(folder: Path, webhook_url: str) -> AsyncIterator[tuple[Sidecar, Gateway]]:
    async with kong_status() as kong:
        kong.serve(CALLS)
        target = KongTargetConfig(
            url=kong.url, off_on_purpose=(KongSwitch.BANDWIDTH, KongSwitch.UPSTREAM_HEALTH)
        )
        config = replace(
            config_of(folder, webhook_url=webhook_url), scrapers=ScrapersConfig(kong=(target,))
        )
        async with sidecar(config) as side:
            yield side, Gateway(side, kong)


async def test_failing_calls_page_and_resolve(tmp_path: Path) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url) as (side, kong):
            await kong.windows(8)
            assert hook.distinct() == []
            await kong.windows(4, code=502, of_calls=40, source="kong")
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["severity"] == "page"
            assert "orders-v1" in page["annotations"]["summary"]
            assert kong.value(*ROUTE, "errors") == pytest.approx(0.8)
            assert kong.value(*ROUTE, "gateway_errors_per_s") == pytest.approx(4.0)
            assert kong.value(*ROUTE, "upstream_errors_per_s") == 0.0
            await kong.windows(windows_until_resolved() + 2)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_a_storm_of_refusals_is_a_series_and_no_call_counts_twice(tmp_path: Path) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url) as (side, kong):
            await kong.windows(6, traced=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == 0.0
            await kong.windows(3, code=429, of_calls=40, source="kong", traced=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == pytest.approx(4.0)
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            assert kong.value(*ROUTE, "errors") == 0.0
            health = side.app.scrapers["kong"].health()
            assert health.sentence == "1 target read"
        assert side.metrics.value("sentinel_calls_told_twice_total", signal="traces") >= 7
