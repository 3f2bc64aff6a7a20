"""Goal: each kind asks for what makes a window worth a page, and says why there is no score.

Method: series with months of calm behind them (a state made by hand), then one window of interest.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.model import Kind, Reason, SeriesKey, VerdictBlock, WindowBlock
from sentinel.core.scoring import KindRule

STEP_NS = 10_000_000_000
START_NS = 1_790_000_000_000_000_000 // 3_600_000_000_000 * 3_600_000_000_000
USUAL = {Kind.TRAFFIC: 50.0, Kind.ERRORS: 0.001, Kind.LATENCY: 0.010, Kind.GAUGE: 100.0}


def judged(
    kind: Kind,
    value: float,
    *,
    weight: float = 500.0,
    heard: bool = True,
    spread: float = 1e-4,
    known: bool = True,
    ready: bool = True,
) -> VerdictBlock:
    """The verdict on the second of two windows with this value, of a series that was calm for long."""
    settings = DecisionSettings()
    series = np.array([1])

    def window(at: int, value: float, weight: float, *, heard: bool) -> WindowBlock:
        return WindowBlock(
            start_ns=START_NS + at * STEP_NS,
            step_ns=STEP_NS,
            series=series,
            kind=np.array([kind], np.int8),
            value=np.array([[value]], np.float32),
            weight=np.array([[weight]], np.float32),
            heard=np.array([[heard]]),
        )

    grid = np.full((300, 1), USUAL[kind], np.float32)
    profile = Profile(version=1, start_ns=START_NS, step_ns=BIN_NS, series=series, grid=grid)
    keys = {1: SeriesKey("shop", "edge", "GET /", kind.name.lower())}
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    first = decide(
        state,
        window(0, USUAL[kind], 500, heard=True),
        profile=profile,
        keys=keys,
        settings=settings,
    )
    if ready:
        first.state.detector.level[:] = 0.0
        first.state.detector.scale[:] = spread
        first.state.detector.hourly = None
    verdicts, state = first.verdicts, first.state
    for at in (1, 2):
        decision = decide(
            state,
            window(at, value, weight, heard=heard),
            profile=profile if known else None,
            keys=keys,
            settings=settings,
        )
        verdicts, state = decision.verdicts, decision.state
    return verdicts


@pytest.mark.parametrize(
    ("kind", "value", "pages"),
    [
        (Kind.TRAFFIC, 0.0, True),
        (Kind.TRAFFIC, 200.0, True),
        (Kind.TRAFFIC, 60.0, False),  # less than 30 % away
        (Kind.ERRORS, 0.50, True),
        (Kind.ERRORS, 0.015, False),  # less than 0.02 away
        (Kind.LATENCY, 2.0, True),
        (Kind.LATENCY, 0.014, False),  # less than 5 ms away
        (Kind.LATENCY, 0.0001, False),  # fast is not a fault
        (Kind.GAUGE, 101.0, True),
        (Kind.GAUGE, 99.0, True),
    ],
)
def test_what_each_kind_demands(kind: Kind, value: float, pages: bool) -> None:  # noqa: FBT001
    verdict = judged(kind, value)
    assert verdict.reason[0, 0] == Reason.SCORED
    assert bool(verdict.score[0, 0] >= 1) is pages


def test_one_failed_call_of_five_is_nothing_and_fifty_of_fifty_is() -> None:
    assert judged(Kind.ERRORS, 0.2, weight=5).score[0, 0] < 1
    assert judged(Kind.ERRORS, 1.0, weight=50).score[0, 0] >= 1


def test_errors_and_latency_have_no_lower_edge() -> None:
    assert np.isneginf(judged(Kind.ERRORS, 0.001).lower[0, 0])
    assert np.isneginf(judged(Kind.LATENCY, 0.010).lower[0, 0])
    assert np.isfinite(judged(Kind.GAUGE, 100.0).lower[0, 0])


def test_traffic_is_never_narrower_than_counting() -> None:
    """Fifty calls a second in 10 s are 500 calls, give or take 22: 2.2 a second."""
    verdict = judged(Kind.TRAFFIC, 50.0)
    assert verdict.upper[0, 0] - verdict.expected[0, 0] > 4 * 2.2


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"heard": False}, Reason.BLIND),
        ({"value": float("nan")}, Reason.MISSING),
        ({"kind": Kind.LATENCY, "weight": 4.0}, Reason.TOO_FEW),
        ({"known": False}, Reason.NO_HISTORY),
        ({"ready": False}, Reason.NO_SCALE),
    ],
)
def test_no_score_has_a_reason(how: dict[str, Kind | float | bool], reason: Reason) -> None:
    given: dict[str, Kind | float | bool] = {"kind": Kind.ERRORS, "value": 0.9, **how}
    verdict = judged(**given)  # type: ignore[arg-type]  # a table of keywords
    assert verdict.reason[0, 0] == reason
    assert np.isnan(verdict.score[0, 0])
    assert verdict.direction[0, 0] == 0


def test_a_rule_with_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        KindRule(deviation_min=-1.0)


@pytest.mark.parametrize(
    ("failed", "calls", "pages"),
    [(1, 2, False), (2, 2, False), (1, 50, False), (2, 50, False), (9, 50, True), (4, 5, True)],
)
def test_failures_that_chance_makes_do_not_page(failed: int, calls: int, pages: bool) -> None:  # noqa: FBT001
    """One failure in two requests is no outage, and neither is one in fifty where one in a thousand is usual."""
    verdict = judged(Kind.ERRORS, failed / calls, weight=calls, spread=1e-4)
    assert bool(verdict.score[0, 0] >= 1) is pages


def test_what_counting_demands_of_a_share_follows_from_its_calls() -> None:
    """The edge lies where the normal quantile of the calls' own spread does, and three calls further for its skew."""
    for calls in (50, 200, 5000):
        verdict = judged(Kind.ERRORS, 0.001, weight=calls, spread=1e-6)
        allowed = (verdict.upper[0, 0] - verdict.expected[0, 0]) * calls
        spread = np.sqrt(0.001 * 0.999 * calls)
        assert allowed >= 3.0 + 4.0 * spread
        assert allowed <= max(3.2 + 6.0 * spread, 3.2 + 0.02 * calls)
