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
from sentinel.app.past_queries import past_of_server
from sentinel.core.model import SeriesKey
from sentinel.pipeline.ingest import IngestConfig
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.promql import QueryConfig, QueryServerConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import Collector, collector
from tests.support.clock import ManualClock
from tests.support.prometheus_past import Minute, Story, put_past, shop_lines, usual
from tests.support.servers import PrometheusServer, prometheus_server
from tests.support.whole_app import Sidecar, config_of, sidecar, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MINUTE_NS = 60 * 10**9
CLIENT = QueryServerConfig(name="x", url="http://x").client
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
    is_away: bool = False
    """Whether no answer is to be waited for."""

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
            if self.polls() > before or await self.polled(before, 0.1 if self.is_away else 20.0):
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

    async def polled(self, before: int, wait_s: float) -> bool:
        """Give an answer real time; whether there was one more poll than before."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
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
        # The window that was running then is asked for as well; were that poll still on its way, it would pass for the next one.
        await clock.advance(5 + LAG_S + 0.1)
        await until(lambda: walking.polls() >= 2, what="the window before the first")
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


@contextmanager
def held(folder: Path, walking: Walk) -> Iterator[None]:
    """The server of this folder takes connections and answers nothing meanwhile."""
    pid = next(
        int(one.name)
        for one in Path("/proc").iterdir()
        if one.name.isdigit() and str(folder) in _command_of(one)
    )
    os.kill(pid, signal.SIGSTOP)
    walking.is_away = True
    try:
        yield
    finally:
        walking.is_away = False
        os.kill(pid, signal.SIGCONT)


async def test_a_server_that_is_away_is_one_ticket_and_no_page_and_its_return_is_quiet(
    tmp_path: Path,
) -> None:
    """Held, it takes connections and answers nothing, as one that is overloaded does; then it ends, and starts again."""
    folder = tmp_path / "prometheus"
    quick = replace(CLIENT, connect_timeout=Duration(0.5), timeout=Duration(0.5))
    folder = tmp_path / "prometheus"
    with collector() as hook, past(usual, folder) as server:
        async with walk(config(tmp_path, server.url, hook=hook.url, client=quick)) as walking:
            await walking.windows(8)
            with held(folder, walking):
                gone = await walking.window()
                assert all(math.isnan(value) and not heard for value, _, heard in gone.values())
                assert not told(hook)
                await walking.windows(3)
            await walking.side.sees(lambda: bool(told(hook)), "the ticket")
            assert told(hook) == [("SentinelBlind", "shop", "opened")]
            await walking.windows(6)
            await walking.side.sees(lambda: len(told(hook)) > 1, "the ticket's end")
    assert [one[0] for one in told(hook)] == ["SentinelBlind", "SentinelBlind"]
    assert told(hook)[1][2] == "resolved"


async def test_what_was_missed_is_learned_from_afterwards_and_pages_nobody(tmp_path: Path) -> None:
    """Half of the calls failed while the server was held: the past knows it, and nobody is told of what is over."""

    def story(route: str, second: int) -> Minute:
        bad = START_S + 540 <= second < START_S + 960
        return replace(usual(route, second), error_ratio=0.5 if bad else 0.0)

    quick = replace(CLIENT, connect_timeout=Duration(0.5), timeout=Duration(0.5))
    folder = tmp_path / "prometheus"
    with collector() as hook, past(story, folder) as server:
        config_ = config(tmp_path, server.url, hook=hook.url, client=quick)
        async with walk(config_) as walking:
            await walking.windows(8)
            with held(folder, walking):
                await walking.windows(10)
            await walking.windows(22)
            store = walking.side.app.store
            name = key("/pay", "errors")

            def kept() -> dict[int, float]:
                ids = {row.key: row.series_id for row in store.sync.series()}
                return {
                    block.start_ns + at * block.step_ns: float(value)
                    for block in store.sync.windows(
                        step_ns=300 * 10**9, start_ns=0, end_ns=2**62, series=[ids[name]]
                    )
                    for at, value in enumerate(block.value[:, 0].tolist())
                    if not math.isnan(value)
                }

            missed_ns = (START_S + 660) * 10**9
            await walking.side.sees(lambda: missed_ns in kept(), "what was missed")
            # Of the time before the start, too: as much of the day before as there is.
            assert min(kept()) <= (START_S - 1500) * 10**9
            assert kept()[missed_ns] == pytest.approx(0.5, rel=0.05)
            assert {one[0] for one in told(hook)} == {"SentinelBlind"}
            filled = walking.side.metrics.registry.get_sample_value(
                "sentinel_query_gap_windows_total", {"server": "main"}
            )
            assert filled is not None
            assert filled > 0


async def test_the_past_of_a_query_is_what_live_made_of_it(tmp_path: Path) -> None:
    """Else a baseline of the past would not fit the present: the same names, values and calls, window for window."""

    def story(route: str, second: int) -> Minute:
        return Minute(
            calls_per_s=5 + 3 * math.sin(second / 97.0),
            error_ratio=0.1 if route == "/pay" and second > START_S + 240 else 0.0,
            slow_ratio=0.1 * (1 + math.sin(second / 61.0)),
        )

    with past(story, tmp_path / "prometheus") as server:
        config_ = config(tmp_path, server.url)
        async with walk(config_) as walking:
            live = [await walking.window() for _ in range(10)]
        [queries] = config_.scrapers.prometheus_queries
        found = await past_of_server(
            queries,
            span=((START_S - 240) * 10**9, (START_S + 660) * 10**9),
            step_ns=MINUTE_NS,
            clock=SystemClock(),
            on_advance=lambda *_: None,
            on_wait=lambda _: None,
        )
    assert all(live), "a window that told of nothing says nothing of the past either"
    for number, window in enumerate(live):
        at_ns = START_S * 10**9 + number * MINUTE_NS
        told_of = {
            one.key: (float(one.value[row]), float(weights[row]))
            for one in found.series
            if one.key is not None and (weights := one.weight) is not None
            for row in (one.time_ns == at_ns).nonzero()[0].tolist()
        }
        assert {
            name: (pytest.approx(value, rel=1e-6), pytest.approx(weight, rel=1e-6))
            for name, (value, weight) in told_of.items()
        } == {name: (value, weight) for name, (value, weight, _) in window.items()}


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
