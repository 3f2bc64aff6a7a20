"""Goal: what is gone from a page, or with its target, has no value at once: it is neither repeated nor made 0; and it counts on when it is back.

Method: the whole program on a manual clock scrapes a page that the test changes: calls, a gauge, a counter.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import SeriesKey
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.scrapers.prometheus.component import NAME
from tests.support.page_server import PageServer, page_server
from tests.support.places import early_name
from tests.support.whole_app import Sidecar, comes_true, config_of, sidecar

pytestmark = pytest.mark.timeout(60)

TRAFFIC = SeriesKey("shop", "edge", "POST /pay", "traffic")
ERRORS = SeriesKey("shop", "edge", "POST /pay", "errors")
DEPTH = SeriesKey("shop", "metrics", "topic=in", "depth")
JOBS = SeriesKey("shop", "metrics", "all", "jobs_total")
CALLS_A_WINDOW = 50


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with page_server() as made:
        yield made


class Shop:
    """The page of a service that works on, and what its windows came to."""

    def __init__(self, side: Sidecar, server: PageServer, name: str) -> None:
        self._side = side
        self._server = server
        self._name = name
        self._good = self._failed = self._jobs = 0

    async def window(
        self, *, fault: str = "", failed: int = 0, depth: float | None = 7.0
    ) -> dict[SeriesKey, float]:
        """A window's work is done, and the page is asked for soon after; the values of the window that ended."""
        await self._side.send()
        self._good += CALLS_A_WINDOW - failed
        self._failed += failed
        self._jobs += 20
        self._server.fault, self._server.page = fault, self._page(depth)
        asked = self._asked()
        # Goes on into the next window, where the target's turn is.
        await self._side.close()
        assert await comes_true(lambda: self._asked() > asked, timeout_s=10.0)
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return dict(zip(latest.keys, latest.block.value[0].tolist(), strict=True))

    def _asked(self) -> float:
        """How often it was, however it ended."""
        return sum(
            self._side.metrics.value(
                "sentinel_scrapes_total", scraper=NAME, target=self._name, result=result
            )
            for result in ("ok", "refused")
        )

    def _page(self, depth: float | None) -> str:
        lines = ["# TYPE http_request_duration_seconds histogram"]
        for code, count in (("200", self._good), ("500", self._failed)):
            if count:
                labels = f'method="POST",handler="/pay",code="{code}"'
                lines += [
                    f'http_request_duration_seconds_bucket{{{labels},le="{bound}"}} {count}'
                    for bound in ("0.1", "+Inf")
                ]
        lines += ["# TYPE jobs_total counter", f"jobs_total {self._jobs}"]
        if depth is not None:
            lines += ["# TYPE depth gauge", f'depth{{topic="in"}} {depth}']
        return "\n".join([*lines, ""])


async def test_what_is_gone_has_no_value_at_once(server: PageServer, tmp_path: Path) -> None:
    # Its page is asked for once between the ends of two windows.
    name = early_name(NAME)
    target = PrometheusTargetConfig(name=name, url=server.url, service="shop")
    config = replace(config_of(tmp_path), scrapers=ScrapersConfig(prometheus=(target,)))
    async with sidecar(config) as side:
        shop = Shop(side, server, name)
        for _ in range(3):
            await shop.window()
        values = await shop.window()
        assert values[TRAFFIC] == pytest.approx(CALLS_A_WINDOW / 10)
        assert values[JOBS] == pytest.approx(2.0)
        assert values[DEPTH] == 7.0
        # What a window's page says is told when the next one ends.
        await shop.window(failed=10)
        values = await shop.window(depth=None)
        # The first failed calls make a series that was not on the page before: they count from 0.
        assert values[ERRORS] == pytest.approx(0.2)
        values = await shop.window(depth=9.0)
        assert math.isnan(values[DEPTH])
        assert values[JOBS] == pytest.approx(2.0)
        values = await shop.window(fault="error")
        assert values[DEPTH] == 9.0
        # The target is away: no value of it is known, which is not that nothing happens there.
        for fault in ("error", ""):
            values = await shop.window(fault=fault, depth=9.0)
            assert all(math.isnan(values[key]) for key in (TRAFFIC, ERRORS, DEPTH, JOBS))
        # Back again, the counters tell of the time between: three windows' work over three windows. Calls of three windows count,
        # with their failures, and are no window's traffic.
        values = await shop.window()
        assert values[JOBS] == pytest.approx(2.0)
        assert math.isnan(values[TRAFFIC])
        assert values[ERRORS] == 0.0
        assert values[DEPTH] == 9.0
        values = await shop.window()
        assert values[TRAFFIC] == pytest.approx(CALLS_A_WINDOW / 10)
