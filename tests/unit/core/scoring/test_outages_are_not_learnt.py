"""Goal: while an incident is open, what is expected stays what it was; what is there for good is still taken up.

Method: an error ratio and a latency, a day of calm behind them, then an outage decided window by window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import Kind, Reason, VerdictBlock, WindowBlock
from sentinel.core.scoring import borrowed_rows, new_state
from tests.support.detector_blocks import START_NS, flat_profile, names

MINUTE_NS = 60_000_000_000
GUARDED = DecisionSettings()
PLAIN = DecisionSettings(incidents=IncidentSettings(guards=GuardSettings(enabled=False)))
USUAL = {Kind.ERRORS: 0.02, Kind.LATENCY: 0.08, Kind.GAUGE: 300.0}
SERIES = {Kind.ERRORS: 2, Kind.LATENCY: 3, Kind.GAUGE: 4}


def windows(kind: Kind, count: int, *, at: int, level: float | None = None) -> WindowBlock:
    """Windows of one series with a tenth of noise about its level."""
    rng = np.random.default_rng(at)
    usual = USUAL[kind] if level is None else level
    value = (usual * (1 + 0.1 * rng.standard_normal((count, 1)))).astype(np.float32)
    return WindowBlock(
        start_ns=START_NS + at * MINUTE_NS,
        step_ns=MINUTE_NS,
        series=np.array([SERIES[kind]]),
        kind=np.array([kind], np.int8),
        value=np.minimum(value, np.float32(1)) if kind is Kind.ERRORS else value,
        weight=np.full(value.shape, 500, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def after(
    state: DecisionState, block: WindowBlock, settings: DecisionSettings
) -> tuple[DecisionState, VerdictBlock]:
    profile = flat_profile(windows(Kind(int(block.kind[0])), 1, at=0), days=5)
    decision = decide(state, block, profile=profile, keys=names(4), settings=settings)
    return decision.state, decision.verdicts


def calm_state(kind: Kind, settings: DecisionSettings) -> DecisionState:
    state = new_decision_state(step_ns=MINUTE_NS, settings=settings)
    return after(state, windows(kind, 1440, at=0), settings)[0]


@pytest.mark.parametrize(("kind", "height"), [(Kind.ERRORS, 0.95), (Kind.LATENCY, 3.0)])
@pytest.mark.parametrize("settings", [GUARDED, PLAIN])
def test_what_is_expected_stays_what_it_was_through_an_outage(
    kind: Kind, height: float, settings: DecisionSettings
) -> None:
    """A failing share was once expected at 95 %, with the upper edge at 192 %.

    The level stood still, but the comparison with the last ten windows followed the outage.
    """
    state, before = after(calm_state(kind, settings), windows(kind, 20, at=1440), settings)
    state, during = after(state, windows(kind, 40, at=1460, level=height), settings)
    assert state.frozen.tolist() == [SERIES[kind]]
    assert np.all(during.score[1:] >= 1)
    # The window that opened it is among the last ten, and the spread learns on; no more than that.
    assert np.all(during.expected < 2 * before.expected.max())
    assert np.all(during.upper < 2 * before.upper.max())
    _, later = after(state, windows(kind, 20, at=1500), settings)
    assert np.all(later.score < 1)


def test_a_gauge_that_settles_elsewhere_is_compared_with_its_last_windows() -> None:
    state, _ = after(
        calm_state(Kind.GAUGE, PLAIN), windows(Kind.GAUGE, 40, at=1440, level=600), PLAIN
    )
    assert state.frozen.tolist() == [SERIES[Kind.GAUGE]]
    assert np.nanmedian(state.detector.recent) > 200


def test_a_level_that_is_there_for_good_is_taken_up_and_its_incident_ends() -> None:
    """What stands still for an open incident would otherwise keep that incident open for ever."""
    settings = replace(PLAIN, incidents=replace(PLAIN.incidents, adopt_after_ns=2 * 3600 * 10**9))
    state, early = after(
        calm_state(Kind.LATENCY, settings),
        windows(Kind.LATENCY, 110, at=1440, level=0.4),
        settings,
    )
    assert early.expected[-1, 0] < 0.12
    state, late = after(state, windows(Kind.LATENCY, 12 * 60, at=1550, level=0.4), settings)
    assert late.expected[-1, 0] > 0.3
    assert state.frozen.size == 0
    assert state.tracker.entries == ()


def test_a_first_look_takes_nothing_from_an_outage() -> None:
    """A series primed from history took its level from its first live windows, also when these were an outage's.

    The return to normal was then what paged.
    """
    coarse = new_state(np.array([2]), step_ns=300_000_000_000, base_cut=4.0)
    coarse.scale[:] = 0.005
    coarse.level[:] = 0.0
    coarse.day_square[:] = 0.005**2
    coarse.day_filled[:] = 14
    state = new_decision_state(step_ns=MINUTE_NS, settings=GUARDED)
    rows = borrowed_rows(coarse, step_ns=MINUTE_NS, settings=GUARDED.scoring)
    state = state.primed(rows, settings=GUARDED.scoring)
    state, during = after(state, windows(Kind.ERRORS, 30, at=0, level=0.9), GUARDED)
    assert state.frozen.tolist() == [2]
    assert np.all(during.reason[:6] == Reason.NO_SCALE)
    assert np.all(during.score[6:] >= 1)
    assert np.all(during.expected[6:] < 0.05)
    state, later = after(state, windows(Kind.ERRORS, 90, at=30), GUARDED)
    assert state.frozen.size == 0
    assert np.all(later.reason == Reason.SCORED)
    assert later.expected[-1, 0] < 0.05
    assert np.all(later.score < 1)
