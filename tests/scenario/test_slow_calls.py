"""Goal: with two weeks of histograms behind it, a sidecar pages for a few slow calls in a hundred within half a minute, and says so.

Method: the whole program on a manual clock. Hourly histograms and five-minute history go into its store, a child fits both,
calls come over HTTP; with a restart in the middle, whose windows must be decided as they were.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentinel.core.model import HistogramBlock, Kind, Reason, SeriesKey, WindowBlock
from sentinel.core.stats.log_linear import bucket_of, counted
from sentinel.ports import Tick
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    crash,
    sidecar,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(120)

CALM = Calls(count=300)
SOME_SLOW = (Calls(count=270), Calls(count=30, duration_s=0.6))
USUAL = usual_of(CALM, stage="edge", route="POST /v1/transfers")
SLOW = next(key for key in USUAL if key.signal == "latency")._replace(signal="slow_calls")
HOUR_NS = 3_600_000_000_000


async def with_histograms(side: Sidecar, key: SeriesKey, *, days: int) -> None:
    """An hour's calls in each hour of the last days, as windows had left them; the slowest hundredth takes 80 ms."""
    store = side.app.store
    (series_id,) = await store.run(
        store.sync.register, [(key, Kind.LATENCY)], now_ns=side.clock.now_ns()
    )
    taken = np.concatenate([np.full(594, 0.05), np.full(6, 0.08)])
    bucket, count = counted(bucket_of(taken))
    last_ns = side.clock.now_ns() // HOUR_NS * HOUR_NS
    for hour in range(1, days * 24):
        block = WindowBlock(
            start_ns=last_ns - hour * HOUR_NS,
            step_ns=10_000_000_000,
            series=np.array([series_id]),
            kind=np.array([Kind.LATENCY], np.int8),
            value=np.array([[0.05]], np.float32),
            weight=np.array([[600]], np.float32),
            heard=np.ones((1, 1), np.bool_),
            histograms=HistogramBlock(
                row=np.zeros(1, np.int32),
                offset=np.array([0, len(bucket)], np.int32),
                bucket=bucket,
                count=count,
            ),
        )
        await store.run(store.sync.append_tick, Tick(block=block))


async def test_a_tenth_of_slow_calls_pages_within_half_a_minute(tmp_path: Path) -> None:
    clock = ManualClock()
    latency = SLOW._replace(signal="latency")
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await with_histograms(side, latency, days=3)
            await with_history(side, {**USUAL, SLOW: 0.01}, days=15, calls_a_window=300)
            await side.windows(12, CALM)
            latest = side.app.evaluate.latest
            assert latest is not None
            assert SLOW in latest.keys
            at = latest.keys.index(SLOW)
            assert np.isfinite(latest.verdicts.score[0, at])
            column = latest.keys.index(latency)
            assert latest.verdicts.reason[0, column] == Reason.YIELDED
            assert np.isnan(latest.verdicts.score[0, column])
            assert hook.distinct() == []
            await side.windows(1, *SOME_SLOW)
            await crash(side.app)
        async with sidecar(config, clock=clock) as side:
            side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
            await side.windows(2, *SOME_SLOW)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            page = hook.distinct()[0]
            summary = page["annotations"]["summary"]
            assert summary.startswith(
                "ledger: too many calls are slow at edge POST /v1/transfers: 10 %, expected "
            )
            assert "; 95th percentile 6" in summary
            assert ", usually 49" in summary or ", usually 50" in summary
            (incident,) = await side.incidents()
            assert {member["signal"] for member in incident["members"]} == {"slow_calls"}
            assert incident["members"][0]["beside"].startswith("95th percentile 6")
            assert incident["traces"]
            await side.windows(windows_until_resolved() + 1, CALM)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")


async def test_before_there_are_bounds_the_quantile_is_judged(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await side.windows(12, CALM)
            await side.windows(4, replace(CALM, duration_s=0.8))
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (incident,) = await side.incidents()
            assert incident["members"][0]["signal"] == "latency"
