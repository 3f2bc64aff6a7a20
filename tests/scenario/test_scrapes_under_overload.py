"""Goal: whatever is given up, pages are asked for and what is known goes on; new series wait, and begin with what they gain then.

Method: the whole program on a manual clock scrapes a page that the test changes; the pressure is the test's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.model import OVERFLOW, Rung, SeriesKey
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.scrapers.prometheus.component import NAME
from tests.support.page_server import PageServer, page_server
from tests.support.places import early_name
from tests.support.whole_app import Sidecar, comes_true, config_of, sidecar

pytestmark = pytest.mark.timeout(60)

OLD = SeriesKey("shop", "metrics", "topic=old", "jobs_total")
NEW = SeriesKey("shop", "metrics", "topic=new", "jobs_total")
JOBS_A_WINDOW = 20


class Page:
    """A page of counters, one for each topic."""

    def __init__(self, side: Sidecar, server: PageServer, name: str) -> None:
        self._side, self._server, self._name = side, server, name
        self._count = 1000

    async def window(self, *topics: str) -> dict[SeriesKey, float]:
        """Work is done and the page is asked for; the values of the window that ended."""
        await self._side.send()
        self._count += JOBS_A_WINDOW
        lines = [f'jobs_total{{topic="{topic}"}} {self._count}' for topic in topics]
        self._server.page = "\n".join(["# TYPE jobs_total counter", *lines, ""])
        asked = self._asked()
        await self._side.close()
        assert await comes_true(lambda: self._asked() > asked, timeout_s=10.0)
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return dict(zip(latest.keys, latest.block.value[0].tolist(), strict=True))

    def _asked(self) -> float:
        return self._side.metrics.value(
            "sentinel_scrapes_total", scraper=NAME, target=self._name, result="ok"
        )


async def test_new_series_wait_and_known_ones_go_on(tmp_path: Path) -> None:
    pressure, name = 0.0, early_name(NAME)
    async with page_server() as server:
        target = PrometheusTargetConfig(name=name, url=server.url, service="shop")
        config = replace(config_of(tmp_path), scrapers=ScrapersConfig(prometheus=(target,)))
        async with sidecar(config) as side:
            side.app.overload._pressures = {"queue": lambda: pressure}
            page = Page(side, server, name)
            for _ in range(3):
                await page.window("old")
            values = await page.window("old")
            assert values[OLD] == pytest.approx(JOBS_A_WINDOW / 10)

            pressure = 0.85
            values = await page.window("old", "new")
            assert side.app.overload.shed.rungs == tuple(Rung)
            for _ in range(3):
                values = await page.window("old", "new")
                assert values[OLD] == pytest.approx(JOBS_A_WINDOW / 10)
                assert NEW not in values
            assert {key.service for key in values} == {"shop", OVERFLOW}
            assert side.metrics.value("sentinel_series_overflow_total") >= 2

            pressure = 0.0
            for _ in range(9):
                values = await page.window("old", "new")
            assert not side.app.overload.sheds(Rung.TRACES)
            assert values[NEW] == values[OLD] == pytest.approx(JOBS_A_WINDOW / 10)
