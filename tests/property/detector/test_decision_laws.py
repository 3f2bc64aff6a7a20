"""Goal: the laws that make live, replay and preview one thing.

Method: random histories with holes, silence, bursts and few calls; the same history decided in any split, cut
short, or with the state written to bytes and read back, must give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.incidents import GuardSettings, IncidentSettings
from sentinel.core.model import (
    Gate,
    Kind,
    LocalHours,
    Page,
    Reason,
    Transition,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.scoring import Direction, ScoringSettings, SeriesRule
from tests.support.detector_blocks import flat_profile, history, names, with_slow
from tests.support.laws import examples

MINUTE_NS = 60_000_000_000
WINDOWS = 620
COLUMNS = ("value", "weight", "score", "expected", "lower", "upper", "direction", "reason")
SERIES = 8
GUARDED = DecisionSettings()
PLAIN = DecisionSettings(
    incidents=IncidentSettings(guards=GuardSettings(enabled=False), adopt_after_ns=7200 * 10**9),
)

APART = DecisionSettings(
    scoring=ScoringSettings(
        series_rules=(
            SeriesRule(service="service-0", signal="depth", direction=Direction.LOW),
            SeriesRule(signal="traffic", direction=Direction.HIGH, deviation_ratio_min=0.0),
            SeriesRule(
                route="GET /1", direction=Direction.BOTH, deviation_min=0.0, weight_min=1.0
            ),
        )
    )
)

cuts = st.lists(st.integers(1, WINDOWS - 1), unique=True, max_size=25).map(sorted)


def decided(
    block: WindowBlock,
    at: Sequence[int],
    how: DecisionSettings,
    *,
    reload: bool = False,
) -> tuple[list[Decision], DecisionState]:
    """The block decided in pieces that end at `at`; `reload` writes and reads the state between them."""
    state = new_decision_state(step_ns=block.step_ns, settings=how)
    profile, keys = flat_profile(block, days=3), names(block.series_count)
    results: list[Decision] = []
    for first, last in zip([0, *at], [*at, block.window_count], strict=True):
        if reload:
            state = DecisionState.from_bytes(state.to_bytes())
        piece = block.windows(first, last)
        results.append(decide(state, piece, profile=profile, keys=keys, settings=how))
        state = results[-1].state
    return results, state


def columns(decisions: Sequence[Decision]) -> dict[str, bytes]:
    """Every verdict as bytes, so that NaN equals NaN and -0 is not 0."""
    parts: Sequence[VerdictBlock] = [decision.verdicts for decision in decisions]
    return {
        name: np.concatenate([getattr(part, name) for part in parts]).tobytes()
        for name in (*COLUMNS, "views_or_none", "gates_or_none")
    }


def events(decisions: Sequence[Decision]) -> tuple[list[Transition], list[Page]]:
    return (
        [change for decision in decisions for change in decision.transitions],
        [page for decision in decisions for page in decision.pages],
    )


@pytest.mark.timeout(120)
@settings(max_examples=examples(8, thorough=60), deadline=None)
@given(
    seed=st.integers(0, 2**16),
    at=cuts,
    how=st.sampled_from([GUARDED, PLAIN, APART]),
    reload=st.booleans(),
)
def test_any_split_gives_the_same_bits(
    seed: int,
    at: list[int],
    how: DecisionSettings,
    reload: bool,  # noqa: FBT001  # drawn, not chosen
) -> None:
    block = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    whole, whole_state = decided(block, [], how)
    parts, parts_state = decided(block, at, how, reload=reload)
    assert columns(parts) == columns(whole)
    assert repr(events(parts)) == repr(events(whole))
    assert parts_state.to_bytes() == whole_state.to_bytes()


def test_one_window_at_a_time_is_a_split_like_any_other() -> None:
    block = history(3, window_count=500, series_count=SERIES, step_ns=MINUTE_NS)
    whole, whole_state = decided(block, [], PLAIN)
    live, live_state = decided(block, range(1, 500), PLAIN)
    assert columns(live) == columns(whole)
    assert live_state.to_bytes() == whole_state.to_bytes()
    reasons = np.concatenate([one.verdicts.reason for one in whole])
    # The law would hold for a detector that never decides; this history makes it decide, and not tell of everything.
    assert any((one.verdicts.views_or_none > 0).any() for one in whole)
    assert len(np.unique(np.concatenate([one.verdicts.gates_or_none for one in whole]))) >= 3
    assert {Reason.SCORED, Reason.MISSING, Reason.BLIND, Reason.TOO_FEW} <= set(reasons.ravel())
    assert events(whole)[0]


@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.TRAFFIC])
def test_an_incident_that_opens_and_goes_back_within_an_hour_is_the_same_in_any_split(
    kind: Kind,
) -> None:
    """The way back was known one window later than the incident, and of windows that were decided together to none."""
    rng = np.random.default_rng(1)
    value = 100 + rng.standard_normal((WINDOWS, 1))
    value[545:565] += 400
    block = WindowBlock(
        start_ns=0,
        step_ns=MINUTE_NS,
        series=np.array([1]),
        kind=np.array([kind], np.int8),
        value=value.astype(np.float32),
        weight=np.full(value.shape, 6000, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    whole, whole_state = decided(block, [], PLAIN)
    live, live_state = decided(block, range(1, WINDOWS), PLAIN)
    assert columns(live) == columns(whole)
    assert repr(events(live)) == repr(events(whole))
    assert live_state.to_bytes() == whole_state.to_bytes()
    assert [change.kind.value for change in events(whole)[0]][:1] == ["opened"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("at", [range(1, WINDOWS), [20, 419, 420, 421, 479, 480, 500]])
@pytest.mark.parametrize("reload", [False, True])
def test_a_change_of_the_clock_is_the_same_in_any_split(
    at: Sequence[int], *, reload: bool
) -> None:
    """The clock is moved after eight hours, and within the seventh a fit comes that is made by it."""
    block = history(4, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    utc, keys = flat_profile(block, days=3), names(SERIES)
    change = block.start_ns // (60 * MINUTE_NS) + 8
    zone = replace(utc, clock=LocalHours(first=2, changes=((change, 1),)))
    found = []
    for fit, ends in ((zone, [400]), (zone, sorted({400, *at})), (utc, [400])):
        state = new_decision_state(step_ns=MINUTE_NS, settings=PLAIN)
        results: list[Decision] = []
        for first, last in zip([0, *ends], [*ends, WINDOWS], strict=True):
            if reload and len(ends) > 1:
                state = DecisionState.from_bytes(state.to_bytes())
            profile = utc if first < 400 else fit
            piece = block.windows(first, last)
            results.append(decide(state, piece, profile=profile, keys=keys, settings=PLAIN))
            state = results[-1].state
        found.append((columns(results), repr(events(results)), state.to_bytes()))
    assert found[1] == found[0]
    # By UTC the hour that came twice would not be the same hour.
    assert found[2][0] != found[0][0]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("at", [[1, 2, 7, 2179, 2461], [359, 360, 1111, 2300]])
def test_longer_horizons_are_the_same_in_any_split(at: list[int]) -> None:
    """Windows of ten seconds for so long that all horizons are judged; their edges lie within and between the pieces."""
    block = history(5, window_count=2520, series_count=SERIES, step_ns=10_000_000_000)
    whole, whole_state = decided(block, [], PLAIN)
    parts, parts_state = decided(block, at, PLAIN, reload=True)
    assert columns(parts) == columns(whole)
    assert repr(events(parts)) == repr(events(whole))
    assert parts_state.to_bytes() == whole_state.to_bytes()
    value, _, _, lower, upper, score = whole_state.detector.horizon_verdict.swapaxes(0, 1)
    known = np.isfinite(score)
    assert known.any(axis=1).all()
    outside = (value > upper) | (value < lower)
    assert np.array_equal(outside[known], score[known] >= 1)


@settings(max_examples=examples(8, thorough=60), deadline=None)
@given(seed=st.integers(0, 2**16), cut=st.integers(1, WINDOWS - 1))
def test_what_comes_later_changes_nothing(seed: int, cut: int) -> None:
    block = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    whole, _ = decided(block, [], PLAIN)
    short, _ = decided(block.windows(0, cut), [], PLAIN)
    for name in COLUMNS:
        full = np.concatenate([getattr(one.verdicts, name) for one in whole])[:cut]
        assert full.tobytes() == getattr(short[0].verdicts, name).tobytes()


@settings(max_examples=examples(12, thorough=80), deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    how=st.sampled_from([PLAIN, APART]),
)
def test_a_score_of_one_is_the_edge_of_the_band_exactly(
    seed: int, scale: float, how: DecisionSettings
) -> None:
    block = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    scaled = WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        kind=block.kind,
        value=(block.value * np.float32(scale)).astype(np.float32),
        weight=block.weight,
        heard=block.heard,
    )
    decisions, _ = decided(scaled, [], how)
    verdicts = decisions[0].verdicts
    known = verdicts.reason == Reason.SCORED
    assert known.any()
    assert np.array_equal(known, np.isfinite(verdicts.score))
    value = verdicts.value[known]
    outside = (value > verdicts.upper[known]) | (value < verdicts.lower[known])
    assert np.array_equal(outside, verdicts.score[known] >= 1)
    assert np.all(verdicts.score[known] >= 0)
    gate = verdicts.gates_or_none
    moved_the_edge = (gate > Gate.NONE) & (gate <= Gate.FEW_CALLS)
    assert np.all(verdicts.score[moved_the_edge] < 1)
    # Of a window that is unknown itself a longer horizon may still be strange.
    assert not moved_the_edge[~known].any()
    above = value > verdicts.upper[known]
    assert np.all(verdicts.direction[known][above] == 1)
    assert np.all(np.isin(verdicts.direction[known], (-1, 1)))


@settings(max_examples=examples(12, thorough=80), deadline=None)
@given(seed=st.integers(0, 2**16), height=st.floats(0.0, 1.0), guarded=st.booleans())
def test_the_band_of_a_share_lies_between_nothing_and_everything(
    seed: int,
    height: float,
    guarded: bool,  # noqa: FBT001  # drawn, not chosen
) -> None:
    """An upper edge of 192 % was shown for a failing share; the score must go on agreeing with the edge exactly."""
    block = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    value = block.value.copy()
    shares = np.flatnonzero(block.kind == Kind.ERRORS)
    value[450:, shares] += np.float32(height)
    value[:, shares] = np.clip(value[:, shares], 0, 1)
    whole = WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        kind=block.kind,
        value=value,
        weight=block.weight,
        heard=block.heard,
    )
    decisions, _ = decided(whole, [], GUARDED if guarded else PLAIN)
    verdicts = decisions[0].verdicts
    known = verdicts.reason[:, shares] == Reason.SCORED
    assert known.any()
    lower, upper = verdicts.lower[:, shares][known], verdicts.upper[:, shares][known]
    expected, score = verdicts.expected[:, shares][known], verdicts.score[:, shares][known]
    assert np.all((expected >= 0) & (expected <= 1))
    assert np.all((upper >= expected) & (upper <= 1))
    there = verdicts.value[:, shares][known]
    assert np.array_equal((there > upper) | (there < lower), score >= 1)


@pytest.mark.timeout(120)
@settings(max_examples=examples(6, thorough=40), deadline=None)
@given(
    seed=st.integers(0, 2**16),
    times=st.floats(0.0, 30.0),
    guarded=st.booleans(),
    fallen=st.integers(0, 160),
)
def test_less_than_nothing_is_never_expected(
    seed: int,
    times: float,
    guarded: bool,  # noqa: FBT001  # drawn, not chosen
    fallen: int,
) -> None:
    """Traffic was expected at -31.7 calls a second after a fall; the score must go on agreeing with the edge exactly."""
    block = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    value = block.value.copy()
    bounded = np.flatnonzero(block.kind != Kind.GAUGE)
    shares = block.kind == Kind.ERRORS
    value[420 : 420 + fallen, bounded] = 0
    value[420 + fallen :, bounded] *= np.float32(times)
    value[:, shares] = np.minimum(value[:, shares], 1)
    whole = WindowBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        kind=block.kind,
        value=value,
        weight=block.weight,
        heard=block.heard,
    )
    how = GUARDED if guarded else PLAIN
    _, state = decided(whole.windows(0, 450), [], how)
    # As after a fall from what is far above the profile of now.
    state.detector.level -= np.float32(60)
    state.detector.recent -= np.float32(60)
    rest = whole.windows(450, WINDOWS)
    profile, keys = flat_profile(block, days=3), names(SERIES)
    verdicts = decide(state, rest, profile=profile, keys=keys, settings=how).verdicts
    value = rest.value
    known = verdicts.reason[:, bounded] == Reason.SCORED
    assert known.any()
    expected, score = verdicts.expected[:, bounded][known], verdicts.score[:, bounded][known]
    lower, upper = verdicts.lower[:, bounded][known], verdicts.upper[:, bounded][known]
    assert np.all(expected >= 0)
    assert np.all((lower <= expected) & (expected <= upper))
    there = verdicts.value[:, bounded][known]
    assert np.array_equal((there > upper) | (there < lower), score >= 1)


@pytest.mark.timeout(120)
@settings(max_examples=examples(5, thorough=30), deadline=None)
@given(seed=st.integers(0, 2**16), at=cuts, reload=st.booleans())
def test_latency_yields_to_its_share_of_slow_calls_in_any_split(
    seed: int,
    at: list[int],
    reload: bool,  # noqa: FBT001  # drawn, not chosen
) -> None:
    plain = history(seed, window_count=WINDOWS, series_count=SERIES, step_ns=MINUTE_NS)
    block, keys = with_slow(plain, names(SERIES), seed=seed)
    # A part of the calls is slow for an hour.
    slow = np.flatnonzero(block.kind == Kind.SLOW)
    block.value[500:560, slow] += np.float32(0.03)
    found = []
    for cut_at, how in (([], False), (at, reload)):
        state = new_decision_state(step_ns=MINUTE_NS, settings=PLAIN)
        profile = flat_profile(block, days=3)
        decisions = []
        for first, last in zip([0, *cut_at], [*cut_at, WINDOWS], strict=True):
            if how:
                state = DecisionState.from_bytes(state.to_bytes())
            piece = block.windows(first, last)
            decisions.append(decide(state, piece, profile=profile, keys=keys, settings=PLAIN))
            state = decisions[-1].state
        found.append((columns(decisions), repr(events(decisions)), state.to_bytes(), decisions))
    assert found[0][:3] == found[1][:3]
    verdicts = found[0][3][0].verdicts
    latency = np.flatnonzero(block.kind == Kind.LATENCY)
    judged = verdicts.reason[:, slow] == Reason.SCORED
    assert judged.any()
    of_latency = verdicts.reason[:, latency]
    assert np.any(of_latency == Reason.YIELDED)
    assert not np.any(of_latency[judged] == Reason.SCORED)
    yielded = of_latency == Reason.YIELDED
    for column in (verdicts.score, verdicts.lower, verdicts.upper):
        assert np.all(np.isnan(column[:, latency][yielded]))


def test_missing_windows_may_be_left_out() -> None:
    """A gap and windows without any value are the same to what was learned."""
    block = history(11, window_count=400, series_count=SERIES, step_ns=MINUTE_NS)
    empty = WindowBlock(
        start_ns=block.start_ns + 400 * MINUTE_NS,
        step_ns=MINUTE_NS,
        series=block.series,
        kind=block.kind,
        value=np.full((150, SERIES), np.nan, np.float32),
        weight=np.zeros((150, SERIES), np.float32),
        heard=np.zeros((150, SERIES), np.bool_),
    )
    after = history(
        12,
        window_count=60,
        series_count=SERIES,
        step_ns=MINUTE_NS,
        start_ns=block.start_ns + 550 * MINUTE_NS,
    )
    verdicts = [
        decided_pieces(pieces, block).score.tobytes()
        for pieces in ([block, empty, after], [block, after])
    ]
    assert verdicts[0] == verdicts[1]


def decided_pieces(pieces: Sequence[WindowBlock], block: WindowBlock) -> VerdictBlock:
    """Verdicts of the last of the pieces."""
    state = new_decision_state(step_ns=MINUTE_NS, settings=PLAIN)
    profile, keys = flat_profile(block, days=3), names(SERIES)
    verdicts: list[VerdictBlock] = []
    for piece in pieces:
        decision = decide(state, piece, profile=profile, keys=keys, settings=PLAIN)
        state = decision.state
        verdicts.append(decision.verdicts)
    return verdicts[-1]
