"""Goal: whatever stands out and is not told names the first gate that stopped it, and every gate there is can be reached.

Method: a few series whose level and spread are set as after weeks, then windows made to run into one gate each; the
verdict of the window says which. A gate that is added without a scene here fails the last test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import Gate, SeriesKey, View, WindowBlock, kind_of_signal
from tests.support.detector_blocks import START_NS, flat_profile

STEP_NS = 60_000_000_000
LEVEL = {"traffic": 40.0, "errors": 0.02, "latency": 0.08, "depth": 300.0}
SPREAD = {"traffic": 1.0, "errors": 0.002, "latency": 0.004, "depth": 10.0}
UNGUARDED = DecisionSettings(incidents=IncidentSettings(guards=GuardSettings(enabled=False)))

Prepare = Callable[[DecisionState], None]


def decided(
    signals: Sequence[str],
    rows: Sequence[Sequence[float]],
    *,
    how: DecisionSettings = UNGUARDED,
    weight: float = 1000.0,
    prepare: Prepare = lambda state: None,
) -> Decision:
    """What the rows of values (in units of each series' level) led to, after one ordinary window."""
    keys = {
        at + 1: SeriesKey(f"service-{at}", "edge", "GET /", signal)
        for at, signal in enumerate(signals)
    }
    level = np.array([LEVEL[signal] for signal in signals])

    def block(values: Sequence[Sequence[float]], start_ns: int, calls: float) -> WindowBlock:
        value = (np.array(values) * level).astype(np.float32)
        return WindowBlock(
            start_ns=start_ns,
            step_ns=STEP_NS,
            series=np.arange(1, len(signals) + 1),
            kind=np.array([int(kind_of_signal(signal)) for signal in signals], np.int8),
            value=value,
            weight=np.full(value.shape, calls, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )

    first = block([[1.0] * len(signals)], START_NS, 1000.0)
    profile = flat_profile(first, days=2)
    state = new_decision_state(step_ns=STEP_NS, settings=how)
    state = decide(state, first, profile=profile, keys=keys, settings=how).state
    detector = state.detector
    detector.level[:] = 0.0
    detector.recent[:] = 0.0
    detector.scale[:] = np.array([SPREAD[signal] for signal in signals])
    detector.mean[:] = detector.magnitude[:] = level
    detector.active[:] = 1.0
    detector.hourly = None
    prepare(state)
    return decide(
        state,
        block(rows, START_NS + STEP_NS, weight),
        profile=profile,
        keys=keys,
        settings=how,
    )


def own_threshold_raised(state: DecisionState) -> None:
    state.detector.cut[:] = 12.0


def just_fallen(state: DecisionState) -> None:
    """Expectation has followed a rise that is over: the profile is far below it."""
    state.detector.level[:] = 20.0
    state.detector.recent[:] = 20.0


def came_back_from_above(state: DecisionState) -> None:
    state.detector.return_side[:] = 1
    state.detector.return_level[:] = -60.0
    state.detector.return_until[:] = 2**62


ONE_PAGE = DecisionSettings(
    incidents=IncidentSettings(guards=GuardSettings(enabled=False), page_count_max_per_minute=1)
)
STOPPED_THEN_LATE = [[1.0]] * 20 + [[0.0]] * 10 + [[1.6]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Values that run into a gate: the last row's last column does."""

    gate: Gate
    signals: tuple[str, ...]
    rows: Sequence[Sequence[float]]
    how: DecisionSettings = UNGUARDED
    weight: float = 1000.0
    prepare: Prepare = lambda state: None

    def decided(self, rows: Sequence[Sequence[float]]) -> Decision:
        """What these rows lead to instead of its own."""
        return decided(self.signals, rows, how=self.how, weight=self.weight, prepare=self.prepare)


SCENES = [
    Scene(gate=Gate.NONE, signals=("traffic",), rows=[[1.01]]),
    Scene(gate=Gate.NONE, signals=("traffic",), rows=[[2.0]]),
    Scene(gate=Gate.DIRECTION, signals=("latency",), rows=[[0.1]]),
    Scene(gate=Gate.OWN_THRESHOLD, signals=("depth",), rows=[[1.3]], prepare=own_threshold_raised),
    Scene(gate=Gate.SINGLE_WINDOW, signals=("depth",), rows=[[1.165]]),
    Scene(gate=Gate.DEVIATION, signals=("traffic",), rows=[[1.25]]),
    Scene(gate=Gate.RETURN, signals=("depth",), rows=[[0.8]], prepare=came_back_from_above),
    Scene(gate=Gate.FEW_CALLS, signals=("errors",), rows=[[8.0]], weight=40.0),
    Scene(gate=Gate.USUAL_AGAIN, signals=("traffic",), rows=[[1.0]], prepare=just_fallen),
    Scene(gate=Gate.OWED, signals=("traffic",), rows=STOPPED_THEN_LATE, how=DecisionSettings()),
    Scene(gate=Gate.UNCONFIRMED, signals=("traffic",), rows=[[0.3]]),
    Scene(gate=Gate.INCIDENT_OPEN, signals=("traffic",), rows=[[2.0], [2.0]]),
    Scene(gate=Gate.PAGE_CAP, signals=("traffic", "traffic"), rows=[[2.0, 2.0]], how=ONE_PAGE),
    Scene(gate=Gate.TICKET, signals=("depth",), rows=[[2.0]]),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda one: f"{one.gate.name} {one.rows[-1][-1]}")
def test_the_first_gate_is_named(scene: Scene) -> None:
    verdicts = scene.decided(scene.rows).verdicts
    assert Gate(int(verdicts.gates_or_none[-1, -1])) is scene.gate
    score = float(verdicts.score[-1, -1])
    if Gate.NONE < scene.gate <= Gate.FEW_CALLS:
        assert 0 <= score < 1
    elif scene.gate is not Gate.NONE:
        assert score >= 1
    # Only what is strange has views, and it has one at least where both halves of the mean are.
    assert bool(verdicts.views_or_none[-1, -1]) == (score >= 1)


@pytest.mark.parametrize(
    "scene",
    [scene for scene in SCENES if Gate.DIRECTION < scene.gate <= Gate.FEW_CALLS],
    ids=lambda one: one.gate.name,
)
def test_a_value_beyond_the_edge_would_have_passed(scene: Scene) -> None:
    verdicts = scene.decided(scene.rows).verdicts
    up = int(verdicts.direction[-1, -1]) > 0
    edge = float(verdicts.upper[-1, -1] if up else verdicts.lower[-1, -1])
    beyond = edge / LEVEL[scene.signals[-1]] * (1.0001 if (edge > 0) == up else 0.9999)
    rows = [*scene.rows[:-1], [*scene.rows[-1][:-1], beyond]]
    passed = scene.decided(rows).verdicts
    assert float(passed.score[-1, -1]) >= 1
    assert int(passed.gates_or_none[-1, -1]) not in range(Gate.DIRECTION, Gate.FEW_CALLS + 1)


def test_both_views_agree_on_a_step_and_one_on_a_way_that_expectation_follows() -> None:
    views = decided(("traffic",), [[2.0]]).verdicts.views_or_none
    assert View(int(views[0, 0])) == View.SEASON | View.RECENT


def test_a_share_of_few_calls_says_that_it_was_gathered() -> None:
    trickle = [[0.0]] * 6 + [[50.0]] * 8
    views = decided(("errors",), trickle, weight=6.0).verdicts.views_or_none
    strange = views[:, 0] > 0
    assert strange.any()
    assert np.all(views[strange, 0] & View.GATHERED)


def test_every_gate_has_a_scene() -> None:
    assert {scene.gate for scene in SCENES} == set(Gate)
