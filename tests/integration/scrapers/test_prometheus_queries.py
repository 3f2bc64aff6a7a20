"""Goal: a Prometheus is a source like any other: its values are those of their windows, its absence is no zero, its return is quiet.

Method: Debian's Prometheus with a past that promtool made, and the whole program under a clock that walks through that past; the
server is held, killed and started again meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.app.config import ScrapersConfig, SentinelConfig
from sentinel.core.model import SeriesKey
from sentinel.pipeline.ingest import IngestConfig
from sentinel.runtime.promql import QueryConfig, QueryServerConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import Collector, collector
from tests.support.clock import ManualClock
from tests.support.prometheus_past import Minute, Story, put_past, shop_lines, usual
from tests.support.servers import PrometheusServer, prometheus_server
from tests.support.whole_app import Sidecar, config_of, sidecar, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MINUTE_NS = 60 * 10**9
START_S = 1_790_000_040
"""A whole minute; the past begins half an hour before it."""
LAG_S, LATENESS_S = 30.0, 50.0
BY = "sum by (job, method, handler)"
TRAFFIC = f"{BY} (rate(http_requests_total[75s]))"
CALLS = (
    QueryConfig(signal="traffic", query=TRAFFIC, route_labels=("method", "handler")),
    QueryConfig(
        signal="errors",
        query=f'{BY} (rate(http_requests_total{{code=~"5.."}}[75s])) / {TRAFFIC}',
        absent_is_zero=True,
        route_labels=("method", "handler"),
    ),
    QueryConfig(
        signal="latency",
        query="histogram_quantile(0.95, sum by (job, method, handler, le) (rate(http_request_duration_seconds_bucket[75s])))",
        route_labels=("method", "handler"),
    ),
)


def key(route: str, signal: str, service: str = "shop") -> SeriesKey:
    return SeriesKey(service, "edge", f"POST {route}", signal)


@contextmanager
def past(story: Story, folder: Path, *, minutes: int = 60) -> Iterator[PrometheusServer]:
    """A Prometheus that knows the shop from half an hour before the start until so many minutes after it."""
    lines = shop_lines(story, start_s=START_S - 1800, end_s=START_S + minutes * 60)
    put_past(lines, folder / "data")
    with served(folder) as server:
        yield server


@contextmanager
def served(folder: Path) -> Iterator[PrometheusServer]:
    options = ("--storage.tsdb.retention.time=100y",)
    with prometheus_server("scrape_configs: []\n", folder, options=options) as server:
        yield server


def config(folder: Path, url: str, *, hook: str = "", **more: Any) -> SentinelConfig:
    server = QueryServerConfig(name="main", url=url, lag=Duration(LAG_S), **more)
    if not server.queries:
        server = replace(server, queries=CALLS)
    whole = config_of(folder, webhook_url=hook)
    return replace(
        whole,
        scrapers=ScrapersConfig(prometheus_queries=(server,)),
        series=IngestConfig(
            window=Duration(60.0), lateness=Duration(LATENESS_S), tick=Duration(1.0)
        ),
    )


@dataclass
class Walk:
    """A program whose clock walks through the past, a window after the other."""

    side: Sidecar
    number: int = 0

    async def window(self) -> dict[SeriesKey, tuple[Any, Any, bool]]:
        """The next window: asked for, closed, decided; its values, weights and whether they were heard."""
        start_ns = (START_S * 10**9) + self.number * MINUTE_NS
        self.number += 1
        clock = self.side.clock
        asked_ns = start_ns + MINUTE_NS + round((LAG_S + 0.1) * 1e9)
        before = self.polls()
        await clock.advance((asked_ns - clock.now_ns()) / 1e9)
        # What is asked again waits by the clock, and that must not pass the window while an answer is on its way.
        for _ in range(round(LATENESS_S - LAG_S)):
            if self.polls() > before or await self.polled(before):
                break
            await clock.advance(1.0)
        end_ns = start_ns + MINUTE_NS + round((LATENESS_S + 1.5) * 1e9)
        await clock.advance((end_ns - clock.now_ns()) / 1e9)
        await until(lambda: self.side.is_decided(start_ns), what="the window to be decided")
        latest = self.side.app.evaluate.latest
        assert latest is not None
        assert latest.block.start_ns == start_ns
        return {
            name: (
                float(latest.block.value[0, at]),
                float(latest.block.weight[0, at]),
                bool(latest.block.heard[0, at]),
            )
            for at, name in enumerate(latest.keys)
        }

    async def windows(self, count: int) -> None:
        """So many windows."""
        for _ in range(count):
            await self.window()

    async def polled(self, before: int) -> bool:
        """Give an answer real time; whether there was one more poll than before."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + 0.5
        while loop.time() < deadline_s:
            if self.polls() > before:
                return True
            await asyncio.sleep(0.003)
        return False

    def polls(self) -> int:
        """How many polls have ended, well or not."""
        found = self.side.metrics.registry.collect()
        return round(
            sum(
                sample.value
                for metric in found
                if metric.name == "sentinel_scrapes"
                for sample in metric.samples
                if sample.name == "sentinel_scrapes_total"
            )
        )


@asynccontextmanager
async def walk(config: SentinelConfig) -> AsyncIterator[Walk]:
    clock = ManualClock((START_S * 10**9) - 5 * 10**9)
    async with sidecar(config, clock=clock) as side:
        walking = Walk(side)
        # The first look, at what was over before it began.
        await until(lambda: walking.polls() >= 1, what="the first look")
        yield walking


def told(hook: Collector) -> list[tuple[str, str, str]]:
    return [
        (
            one["labels"]["alertname"],
            one["labels"]["service"],
            one["annotations"]["reason"],
        )
        for one in hook.distinct()
    ]


async def test_values_and_calls_are_those_of_each_window(tmp_path: Path) -> None:
    """A counter of failures that does not exist yet says that none failed, and a route counts as its own."""

    def story(route: str, second: int) -> Minute:
        bad = route == "/pay" and second >= START_S + 180
        return replace(
            usual(route, second), error_ratio=0.1 if bad else 0.0, slow_ratio=0.2 if bad else 0.0
        )

    with past(story, tmp_path / "prometheus") as server:
        async with walk(config(tmp_path, server.url)) as walking:
            first = await walking.window()
            assert first[key("/cart", "traffic")] == (pytest.approx(8.0), pytest.approx(480), True)
            assert first[key("/pay", "traffic")] == (pytest.approx(4.0), pytest.approx(240), True)
            assert first[key("/pay", "errors")] == (0.0, pytest.approx(240), True)
            # Between 0.05 and 0.1 s, of which the quantile is read off a line.
            assert first[key("/pay", "latency")] == (
                pytest.approx(0.0975, rel=0.01),
                pytest.approx(240),
                True,
            )
            assert len(first) == 6
            await walking.windows(3)
            later = await walking.window()
    assert later[key("/pay", "errors")][0] == pytest.approx(0.1, rel=0.05)
    assert later[key("/pay", "latency")][0] > 0.2
    assert later[key("/cart", "errors")][0] == 0.0


async def test_a_server_that_is_away_is_one_ticket_and_no_page_and_its_return_is_quiet(
    tmp_path: Path,
) -> None:
    """Held, it takes connections and answers nothing, as one that is overloaded does; then it ends, and starts again."""
    folder = tmp_path / "prometheus"
    with collector() as hook:
        put_past(shop_lines(usual, start_s=START_S - 1800, end_s=START_S + 3600), folder / "data")
        with served(folder) as server:
            pid = next(
                int(one.name)
                for one in Path("/proc").iterdir()
                if one.name.isdigit() and str(folder) in _command_of(one)
            )
            client = {
                "client": replace(
                    QueryServerConfig(name="x", url="http://x").client,
                    connect_timeout=Duration(1.0),
                    timeout=Duration(1.0),
                )
            }
            async with walk(config(tmp_path, server.url, hook=hook.url, **client)) as walking:
                await walking.windows(8)
                os.kill(pid, signal.SIGSTOP)
                try:
                    gone = await walking.window()
                    assert all(
                        math.isnan(value) and not heard for value, _, heard in gone.values()
                    )
                    assert not told(hook)
                    await walking.windows(3)
                finally:
                    os.kill(pid, signal.SIGCONT)
                await walking.side.sees(lambda: bool(told(hook)), "the ticket")
                assert told(hook) == [("SentinelBlind", "shop", "opened")]
                await walking.windows(6)
                await walking.side.sees(lambda: len(told(hook)) > 1, "the ticket's end")
    assert [one[0] for one in told(hook)] == ["SentinelBlind", "SentinelBlind"]
    assert told(hook)[1][2] == "resolved"


async def test_half_of_the_calls_fail_and_somebody_is_paged(tmp_path: Path) -> None:
    def story(route: str, second: int) -> Minute:
        bad = route == "/pay" and second >= START_S + 360
        return replace(usual(route, second), error_ratio=0.7 if bad else 0.0)

    with collector() as hook, past(story, tmp_path / "prometheus") as server:
        async with walk(config(tmp_path, server.url, hook=hook.url)) as walking:
            await walking.windows(6)
            assert not told(hook)
            await walking.windows(3)
            await walking.side.sees(lambda: bool(told(hook)), "the page")
    assert told(hook)[0] == ("SentinelGuard", "shop", "opened")


def _command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""
