"""Goal: what is learned is what should be: own thresholds, frozen levels, bounded spreads, borrowed scales.

Method: the pieces on small made-up states, and whole histories where only the whole shows it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.core.scoring import Grid, ScoringSettings, borrowed_rows, new_state
from sentinel.core.scoring.rows import PARKED_MAX, with_series
from sentinel.core.scoring.thresholds import own_cuts
from tests.support.detector_blocks import START_NS, flat_profile, history, names

MINUTE_NS = 60_000_000_000
SETTINGS = DecisionSettings(
    incidents=IncidentSettings(guards=GuardSettings(enabled=False)),
)
SCORING = ScoringSettings()
GRID = Grid(step_ns=MINUTE_NS)
BASE = GRID.base_cut(SCORING)


def cuts_after(peaks_by_bin: dict[int, float], weeks: float) -> float:
    peaks = np.zeros((2, 60, 1), np.float32)
    for level, count in peaks_by_bin.items():
        peaks[0, level, 0] = count
    return float(own_cuts(peaks, np.array([weeks]), grid=GRID, settings=SCORING)[0, 0])


def test_the_threshold_climbs_over_a_dense_shoulder_and_stays_below_a_gap() -> None:
    assert pytest.approx(4.25) == BASE
    assert cuts_after({}, 4.0) == BASE
    # Peaks in the bins from 4.28 to 5.4, five a week each: noise.
    shoulder = dict.fromkeys(range(7, 11), 20.0)
    over = cuts_after(shoulder, 4.0)
    assert over > 2.5 * 1.08**10
    # As many peaks, far above: incidents, however frequent.
    assert cuts_after(dict.fromkeys(range(20, 40), 20.0), 4.0) == BASE
    assert cuts_after({**shoulder, 30: 50.0}, 4.0) == over


def test_a_series_without_weeks_behind_it_is_not_judged_by_its_first_peak() -> None:
    assert cuts_after({7: 1.0}, 0.1) > BASE
    assert cuts_after({7: 1.0}, 2.0) == BASE


def calm(count: int, *, shift: float = 0.0, at: int = 0, seed: int = 1) -> WindowBlock:
    """One gauge with noise of 1 about 300."""
    rng = np.random.default_rng([seed, at])
    value = (300.0 + shift + rng.standard_normal((count, 1))).astype(np.float32)
    return WindowBlock(
        start_ns=START_NS + at * MINUTE_NS,
        step_ns=MINUTE_NS,
        series=np.array([1]),
        kind=np.array([3], np.int8),
        value=value,
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def test_the_level_stands_still_while_an_incident_is_open_and_not_for_ever() -> None:
    settings = replace(
        SETTINGS, incidents=replace(SETTINGS.incidents, adopt_after_ns=6 * 3600 * 10**9)
    )
    keys = {1: SeriesKey("pool", "db", "", "connections")}
    profile = flat_profile(calm(1), days=4)
    state = new_decision_state(step_ns=MINUTE_NS, settings=settings)
    state = decide(state, calm(1440), profile=profile, keys=keys, settings=settings).state
    assert abs(float(state.detector.level[0])) < 1
    outage = calm(5 * 60, shift=80.0, at=1440)
    state = decide(state, outage, profile=profile, keys=keys, settings=settings).state
    assert state.frozen.tolist() == [1]
    assert abs(float(state.detector.level[0])) < 10
    longer = calm(12 * 60, shift=80.0, at=1740)
    state = decide(state, longer, profile=profile, keys=keys, settings=settings).state
    assert float(state.detector.level[0]) > 30


def test_a_giant_burst_hardly_widens_the_spread() -> None:
    keys = {1: SeriesKey("pool", "db", "", "connections")}
    profile = flat_profile(calm(1), days=12)
    scales = []
    for height in (0.0, 1e6):
        state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
        for day in range(8):
            block = calm(1440, at=day * 1440)
            if day == 6:
                block.value[300:330] += np.float32(height)
            decision = decide(state, block, profile=profile, keys=keys, settings=SETTINGS)
            state = decision.state
        scales.append(float(state.detector.scale[0, 0]))
    assert scales[1] < 1.5 * scales[0]


def test_a_series_that_was_away_keeps_what_was_learned_of_it() -> None:
    both = history(4, window_count=800, series_count=2, step_ns=MINUTE_NS)
    profile, keys = flat_profile(both, days=2), names(2)

    def only_first(block: WindowBlock) -> WindowBlock:
        return WindowBlock(
            start_ns=block.start_ns,
            step_ns=block.step_ns,
            series=block.series[:1],
            kind=block.kind[:1],
            value=block.value[:, :1],
            weight=block.weight[:, :1],
            heard=block.heard[:, :1],
        )

    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    pieces = [both.windows(0, 500), only_first(both.windows(500, 600)), both.windows(600, 800)]
    scales = []
    for piece in pieces:
        decision = decide(state, piece, profile=profile, keys=keys, settings=SETTINGS)
        state = DecisionState.from_bytes(decision.state.to_bytes())
        where = state.detector if 2 in state.detector.series else state.parked
        scales.append(float(where.scale[0, where.series.tolist().index(2)]))
    assert np.isfinite(scales[0])
    assert scales[1] == scales[0]
    assert state.parked.series_count == 0
    assert state.ready().tolist() == [1, 2]


def test_parked_series_are_bounded_and_those_that_know_most_stay() -> None:
    many = new_state(np.arange(PARKED_MAX + 500), step_ns=MINUTE_NS, base_cut=BASE)
    many.seen[:] = np.arange(many.series_count)
    none = new_state(np.zeros(0, np.int64), step_ns=MINUTE_NS, base_cut=BASE)
    _, parked = with_series(many, none, np.zeros(0, np.int64), base_cut=BASE)
    assert parked.series_count == PARKED_MAX
    assert parked.series[0] == 500


def test_no_series_at_all_is_fine() -> None:
    empty = history(1, window_count=3, series_count=0, step_ns=MINUTE_NS)
    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    decision = decide(state, empty, profile=None, keys={}, settings=SETTINGS)
    assert decision.verdicts.score.shape == (3, 0)
    assert decision.pages == ()


def test_windows_that_were_learnt_already_and_other_grids_are_refused() -> None:
    block = history(1, window_count=3, series_count=1, step_ns=MINUTE_NS)
    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    state = decide(state, block, profile=None, keys=names(1), settings=SETTINGS).state
    with pytest.raises(ValueError, match="learnt already"):
        decide(state, block, profile=None, keys=names(1), settings=SETTINGS)
    other = history(1, window_count=3, series_count=1, step_ns=2 * MINUTE_NS)
    with pytest.raises(ValueError, match="cannot follow"):
        decide(state, other, profile=None, keys=names(1), settings=SETTINGS)


def test_damaged_bytes_of_a_state_are_refused() -> None:
    data = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS).to_bytes()
    for damaged in (b"", data[:20], data[:-3], data + b"12345678", b"XXXX" + data[4:]):
        with pytest.raises(ValueError, match=r"state|packed|few|checksum|follow"):
            DecisionState.from_bytes(damaged)


@pytest.mark.parametrize("noisier", [0.5, 1.0, 6.0])
def test_a_borrowed_scale_waits_for_live_noise_and_is_only_ever_widened(noisier: float) -> None:
    coarse = new_state(np.array([1]), step_ns=300_000_000_000, base_cut=BASE)
    coarse.scale[:] = 1.0
    coarse.level[:] = 40.0
    coarse.day_square[:] = 1.0
    coarse.day_filled[:] = 14
    state = new_decision_state(step_ns=MINUTE_NS, settings=SETTINGS)
    state = state.primed(
        borrowed_rows(coarse, step_ns=MINUTE_NS, settings=SCORING), settings=SCORING
    )
    keys = {1: SeriesKey("pool", "db", "", "connections")}
    profile = flat_profile(calm(1), days=2)
    noise = np.random.default_rng(3).standard_normal((60, 1)) * noisier
    known = []
    for at in range(60):
        block = calm(1, at=at)
        block.value[0] = np.float32(300.0 + noise[at])
        decision = decide(state, block, profile=profile, keys=keys, settings=SETTINGS)
        state = decision.state
        known.append(bool(np.isfinite(decision.verdicts.score[0, 0])))
        assert not decision.pages
    assert known == [False] * 6 + [True] * 54
    detector = state.detector
    assert detector.borrowed.tolist() == [-1]
    assert abs(float(detector.level[0])) < 3 * max(noisier, 1)
    live = max(noisier, 1.0)
    assert 0.99 <= float(detector.scale[0, 0]) / live < 1.6
    assert float(detector.day_square[0, 3, 0]) == pytest.approx(
        float(detector.scale[0, 0]) ** 2, rel=1e-3
    )
