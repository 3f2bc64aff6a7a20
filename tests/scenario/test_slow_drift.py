"""Goal: latency that grew by a hundredth a day for weeks gets one ticket in plain words, no page, and not a second one after a restart.

Method: the whole program on a manual clock, six weeks of five-minute history in its store, fits by its real child; what it decided
is held against a preview of its store.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentinel.core.model import SeriesKey, WindowBlock, kind_of_signal
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.previewed import assert_same, listening, previewed
from tests.support.whole_app import Calls, Sidecar, config_of, sidecar, usual_of

pytestmark = pytest.mark.timeout(180)

STEP_NS = 300_000_000_000
DAYS = 42
RATE = 0.01
NOW = Calls(count=60)
LEVELS = usual_of(NOW, stage="edge", route="POST /v1/transfers")


async def with_slope(side: Sidecar, levels: dict[SeriesKey, float], *, slope: str) -> None:
    """Weeks with the shape of a week, at whose end all is at these levels; one signal came there by a hundredth a day."""
    now_ns = side.clock.now_ns()
    store = side.app.store
    named = [(key, kind_of_signal(key.signal)) for key in levels]
    ids = await store.run(store.sync.register, named, now_ns=now_ns)
    day = np.arange(-DAYS * 288, 0) / 288
    rng = np.random.default_rng(3)
    columns = []
    for key, level in levels.items():
        grown = (1 + RATE) ** day if key.signal == slope else np.ones(len(day))
        columns.append(level * grown * (1 + 0.03 * rng.standard_normal(len(day))))
    order = np.argsort(ids)
    value = np.array(columns).T[:, order].astype(np.float32)
    block = WindowBlock(
        start_ns=now_ns // STEP_NS * STEP_NS - len(day) * STEP_NS,
        step_ns=STEP_NS,
        series=np.array(ids, np.int64)[order],
        kind=np.array([kind for _, kind in named], np.int8)[order],
        value=value,
        weight=np.full(value.shape, 1800, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    await store.run(store.sync.append_history, block)
    await side.app.fitter.fitted()


async def test_latency_that_grew_for_weeks_gets_one_ticket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    heard = listening(monkeypatch)
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await with_slope(side, LEVELS, slope="latency")
            fit = side.app.fitter.current()
            assert fit is not None
            assert len(fit.drifts) == 1
            await side.windows(4, NOW)
            await side.sees(lambda: bool(hook.distinct()), "the ticket")
            (ticket,) = hook.distinct()
            assert ticket["labels"]["alertname"] == "SentinelDrift"
            assert ticket["labels"]["severity"] == "ticket"
            summary = ticket["annotations"]["summary"]
            assert summary.startswith(
                "ledger: edge POST /v1/transfers: latency has drifted, 1.32x what it was 28 days ago (3"
            )
            assert " ms -> 4" in summary
            assert "week by week 1.07x 1.15x 1.23x 1.32x)" in summary
            (incident,) = await side.incidents()
            assert (incident["kind"], incident["severity"]) == ("drift", "ticket")
            assert incident["members"][0]["why"].startswith("week by week ")
            assert incident["members"][0]["factors"] == ""
            assert side.metrics.value("sentinel_fit_drifts") == 1
            await side.app.fitter.fitted()
            await side.windows(2, NOW)
        async with sidecar(config, clock=clock) as side:
            side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
            await side.app.fitter.fitted()
            await side.windows(3, NOW)
            fit = side.app.fitter.current()
            assert fit is not None
            assert side.app.evaluate.fit_version == fit.version
            (incident,) = await side.incidents()
            assert incident["state"] == "open"
            assert len(hook.distinct()) == 1
    again, found = previewed(tmp_path)
    assert found.doubts == []
    assert_same(again, heard)


async def test_levels_that_stand_get_none(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_slope(side, LEVELS, slope="none of them")
            await side.windows(4, NOW)
            assert await side.incidents() == []
            assert hook.distinct() == []
