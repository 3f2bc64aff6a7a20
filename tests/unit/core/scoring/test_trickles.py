"""Goal: failing calls are told from chance by how many there are, however slowly they come.

Method: histories of calls drawn with a known share of failures, replayed as a sidecar would have judged them; and single
windows after a calm history, whose verdict follows from counting alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, PageReason, SeriesKey, WindowBlock
from sentinel.core.scoring import ScoringSettings, gathered, new_state
from sentinel.pipeline.replay import Replayed, replay
from sentinel.pipeline.replay.grid import PlainSeries

DAY_S = 86_400
STEP_S = 120
STEP_NS = STEP_S * 10**9
START_S = 1_790_000_000 // DAY_S * DAY_S


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Calls a minute of which a share fails, before and from `fault_day` on."""

    per_minute: float
    before: float
    after: float
    fault_day: int = 10
    days: int = 18
    seed: int = 0

    def series(self, name: str) -> PlainSeries:
        """The series under a name of its own; windows without calls have no share."""
        rng = np.random.default_rng(self.seed)
        count = self.days * DAY_S // STEP_S
        calls = rng.poisson(self.per_minute * STEP_S / 60, count)
        at = np.arange(count)
        share = np.where(at < self.fault_day * DAY_S // STEP_S, self.before, self.after)
        failed = rng.binomial(calls, share)
        return PlainSeries(
            name=name,
            time_ns=(START_S + at * STEP_S) * 10**9,
            value=np.where(calls > 0, failed / np.maximum(calls, 1), np.nan),
            weight=calls.astype(np.float64),
            key=SeriesKey(name, "edge", "POST /pay", "errors"),
        )


def replayed(*calls: Calls) -> Replayed:
    series = [one.series(f"shop-{at}") for at, one in enumerate(calls)]
    return replay(series, kind=Kind.ERRORS, settings=DecisionSettings())


@pytest.mark.timeout(300)
def test_eight_days_of_failing_in_a_trickle_page_within_hours_and_stay_open() -> None:
    """A route with a call every five minutes failed nine times in ten for eight days, and no window had enough calls to be judged.

    It takes ten failed calls or so: an hour at that pace, and up to forty, three hours, where one call in twenty fails anyway.
    """
    cases = [
        Calls(per_minute=per_minute, before=before, after=0.9, seed=seed)
        for per_minute, seed in ((0.2, 1), (0.5, 2))
        for before in (0.0, 0.05)
    ]
    found = replayed(*cases)
    for at, case in enumerate(cases):
        own = [page for page in found.pages if page.series == f"shop-{at}"]
        opened = [page for page in own if page.reason is PageReason.OPENED]
        began_s = START_S + case.fault_day * DAY_S
        ends_s = START_S + case.days * DAY_S
        assert len(opened) == 1, case
        failed_calls_in = (opened[0].start_s - began_s) / 60 * case.per_minute * case.after
        assert 0 < failed_calls_in <= 40, case
        assert opened[0].end_s >= ends_s - 2 * STEP_S, case


@pytest.mark.timeout(300)
def test_a_trickle_in_order_never_pages() -> None:
    """A failed call in a hundred or in twenty, of calls that come one by one, is what chance makes."""
    cases = [
        Calls(per_minute=per_minute, before=share, after=share, days=14, seed=seed)
        for per_minute, seed in ((0.1, 3), (1.0, 4), (5.0, 5))
        for share in (0.01, 0.05)
    ]
    assert replayed(*cases).pages == []


@pytest.mark.timeout(300)
def test_between_two_calls_of_a_trickle_its_verdict_stands() -> None:
    """An incident of a trickle resolved and opened again with every gap of more than half an hour: 59 pages in eight days."""
    rare = Calls(per_minute=0.1, before=0.0, after=1.0, fault_day=10, days=13, seed=5)
    gaps = np.diff(np.flatnonzero(np.isfinite(rare.series("x").value[10 * DAY_S // STEP_S :])))
    assert gaps.max() * STEP_S > 33 * 60  # longer than the hold and the windows that it needs
    opened = [page for page in replayed(rare).pages if page.reason is PageReason.OPENED]
    assert len(opened) == 1
    assert opened[0].end_s >= START_S + 13 * DAY_S - 2 * STEP_S


def block(ratio: list[float], calls: list[float], *, first: int = 0) -> WindowBlock:
    value = np.array(ratio, np.float32)[:, None]
    return WindowBlock(
        start_ns=(START_S + first * STEP_S) * 10**9,
        step_ns=STEP_NS,
        series=np.array([1]),
        kind=np.array([Kind.ERRORS], np.int8),
        value=value,
        weight=np.array(calls, np.float32)[:, None],
        heard=np.ones(value.shape, np.bool_),
    )


def test_a_window_takes_from_the_windows_before_it_only_what_it_lacks() -> None:
    state = new_state(np.array([1]), step_ns=STEP_NS, base_cut=4.0)
    settings = ScoringSettings(gathered_calls=30.0)
    whole = gathered(state, block([0.5, 0.0], [40, 50]), settings=settings).block
    assert whole.value[:, 0].tolist() == [0.5, 0.0]
    assert whole.weight[:, 0].tolist() == [40, 50]
    few = gathered(state, block([1.0, 1.0], [10, 10], first=2), settings=settings).block
    assert few.weight[:, 0] == pytest.approx([30, 30], rel=1e-3)
    # Ten failed of thirty; then ten more, and of the thirty before as much less.
    assert few.value[:, 0] == pytest.approx([10 / 30, (10 + 20 * 10 / 30) / 30], rel=1e-2)


def test_what_is_carried_fades_with_time() -> None:
    settings = ScoringSettings(gathered_calls=30.0, gathered_for_s=100 * STEP_S)
    for after, calls in ((50, 11.0), (100, 1.0), (5000, 1.0)):
        state = new_state(np.array([1]), step_ns=STEP_NS, base_cut=4.0)
        gathered(state, block([1.0], [20]), settings=settings)
        late = gathered(state, block([0.0], [1], first=after), settings=settings).block
        assert late.weight[0, 0] == pytest.approx(calls)
        assert late.value[0, 0] == pytest.approx((calls - 1) / calls)


def test_a_busy_series_that_falls_silent_has_no_verdict_that_stands() -> None:
    state = new_state(np.array([1]), step_ns=STEP_NS, base_cut=4.0)
    judged = gathered(
        state, block([1.0, 1.0, np.nan, np.nan], [50, 50, 0, 0]), settings=ScoringSettings()
    )
    assert judged.standing is None
    assert np.isnan(judged.block.value[2:, 0]).all()
