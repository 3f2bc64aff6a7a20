"""The one chain: expect, score, follow incidents, learn.

Live, replay and preview are this function on blocks of different length. Any split of a history into
blocks gives the same verdicts, transitions and state to the last bit:

- scores of a window depend on the state before it, and within a UTC hour only on what is exact for any split;
- a window is learnt after it was scored, with the incidents that were open before it;
- where the set of open incidents changes inside a block, what was scored beyond that window is scored again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Profile
from sentinel.core.decide.state import DecisionSettings, DecisionState
from sentinel.core.decide.verdicts import joined, with_gathered, with_grounds
from sentinel.core.incidents import Attach, IncidentSettings, Stopped, TrackerState, track
from sentinel.core.model import (
    Acceptance,
    ExpectationBlock,
    Page,
    SeriesKey,
    Transition,
    VerdictBlock,
    WindowBlock,
)
from sentinel.core.scoring import (
    DetectorState,
    adopt_level,
    advance,
    back_ratio,
    demands_of,
    follow_clock,
    gathered,
    hasten_back,
    learn,
    leave_levels,
    look_far,
    pairs_of,
    pass_gap,
    pressing,
    profile_ratio,
    score,
    span,
    take_far,
    with_series,
    without_horizons,
    yield_latency,
    yielded_horizons,
)

HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a block led to.

    Attributes:
        state: to be handed in with the next block.
        verdicts: what was thought of each window.
        transitions: what happened to incidents, in order of time.
        pages: to be sent, in order.
        horizons: float32[3, 6, S], the last verdict of each longer horizon; see `DetectorState.horizon_verdict`.
    """

    state: DecisionState
    verdicts: VerdictBlock
    transitions: tuple[Transition, ...]
    pages: tuple[Page, ...]
    horizons: NDArray[np.float32]


def decide(
    state: DecisionState,
    block: WindowBlock,
    *,
    profile: Profile | None,
    keys: Mapping[int, SeriesKey],
    settings: DecisionSettings,
    attach: Attach | None = None,
    accepted: Sequence[Acceptance] = (),
) -> Decision:
    """Judge the windows of a block, follow incidents through them, and learn from them.

    Args:
        state: as the last decision left it; it is used up.
        block: windows that follow the last ones; a gap counts as missing windows.
        profile: the fit in effect, or None when there is none yet.
        keys: names by series id; every series of the block has one.
        settings: see there.
        attach: adds evidence to what pages.
        accepted: what people said of open incidents.

    Raises:
        ValueError: the block is on another grid or begins before windows already decided.
    """
    foretold = _expectation(profile, block)
    known_ns = 0 if profile is None else profile.levels_ns
    base_cut = state.detector.grid.base_cut(settings.scoring)
    detector, parked = with_series(state.detector, state.parked, block.series, base_cut=base_cut)
    if profile is not None:
        for one in (detector, parked):
            follow_clock(one, profile.clock, hour=detector.hour)
    detector.demands = demands_of(
        detector.demands, detector.series, keys, settings.scoring.series_rules
    )
    detector.pairs = pairs_of(detector.pairs, detector.series, block.kind, keys)
    tracker = state.tracker
    frozen = np.zeros(block.series_count, np.bool_)
    if state.frozen.size and frozen.size:
        place = np.minimum(np.searchsorted(block.series, state.frozen), frozen.size - 1)
        frozen[place[block.series[place] == state.frozen]] = True
    if block.start_ns > detector.next_ns:
        pass_gap(detector, block, frozen=frozen, settings=settings.scoring)
    expectation = _at_its_level(foretold, detector, known_ns)
    judged = gathered(detector, block, settings=settings.scoring)
    verdicts: list[VerdictBlock] = []
    transitions: list[Transition] = []
    pages: list[Page] = []
    at = 0
    while at < block.window_count:
        rest = judged if at == 0 else judged.windows(at, block.window_count)
        advance(detector, rest.block, settings=settings.scoring)
        count = span(detector, rest.block)
        piece = rest if count == rest.block.window_count else rest.windows(0, count)
        scored = score(
            detector,
            piece.block,
            expectation.windows(at, at + count),
            frozen=frozen,
            settings=settings.scoring,
            standing=piece.standing,
        )
        yield_latency(scored.verdicts, detector.pairs)
        raw, foreseen = block.windows(at, at + count), expectation.windows(at, at + count)
        far = look_far(detector, raw, foreseen, frozen=frozen, settings=settings.scoring)
        own = with_gathered(scored.verdicts, raw)
        pressed = without_horizons(pressing(own, far), own, detector.pairs)
        back = back_ratio(detector, piece.block.start_ns // HOUR_NS * HOUR_NS)
        stopped: list[tuple[int, Stopped]] = []
        taken, before = 0, frozen
        settled = returned = np.zeros(0, np.int64)
        while (
            taken < count
            and not (settled.size or returned.size)
            and np.array_equal(frozen, before)
        ):
            stride = _stride(tracker, pressed, taken, settings.incidents)
            tracked = track(
                tracker,
                block.windows(at + taken, at + taken + stride),
                pressed.windows(taken, taken + stride),
                keys,
                settings.incidents,
                attach,
                usual=expectation.expected[at + taken : at + taken + stride],
                back=back,
                accepted=accepted,
            )
            tracker, frozen = tracked.state, tracked.frozen
            settled, returned = tracked.settled, tracked.returned
            transitions.extend(tracked.transitions)
            pages.extend(tracked.pages)
            stopped.extend((taken, one) for one in tracked.stopped)
            taken += stride
        if taken < count:
            far = look_far(
                detector,
                raw.windows(0, taken),
                foreseen.windows(0, taken),
                frozen=before,
                settings=settings.scoring,
            )
        learn(
            detector, scored, window_count=taken, open_incident=before, settings=settings.scoring
        )
        take_far(detector, far)
        at += taken
        end_ns = block.start_ns + at * block.step_ns
        moved = settled.size > 0
        if moved:
            adopt_level(detector, settled, kind=block.kind, at_ns=end_ns)
        if returned.size:
            hasten_back(detector, returned, scored.residual[taken - 1])
        if returned.size or end_ns % HOUR_NS == 0:
            moved |= leave_levels(detector, expectation.expected[at - 1], at_ns=end_ns)
        if moved:
            expectation = _at_its_level(foretold, detector, known_ns)
        verdicts.append(with_grounds(scored.verdicts, pressed, stopped).windows(0, taken))
    told = joined(verdicts)
    return Decision(
        state=DecisionState(
            detector=detector, parked=parked, tracker=tracker, frozen=block.series[frozen]
        ),
        verdicts=told,
        transitions=tuple(transitions),
        pages=tuple(pages),
        # Never changed in place.
        horizons=yielded_horizons(detector.horizon_verdict, told, detector.pairs),
    )


def _expectation(profile: Profile | None, block: WindowBlock) -> ExpectationBlock:
    if profile is not None:
        return profile.expectation(block)
    return ExpectationBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        expected=np.full(block.value.shape, np.nan),
        version=0,
    )


def _at_its_level(
    expectation: ExpectationBlock, detector: DetectorState, known_ns: int
) -> ExpectationBlock:
    """The expectation at levels that were adopted, or left, since what is known to the profile."""
    ratio = profile_ratio(detector, known_ns)
    if ratio is None:
        return expectation
    return replace(expectation, expected=expectation.expected * ratio)


def _stride(
    tracker: TrackerState, verdicts: VerdictBlock, first: int, settings: IncidentSettings
) -> int:
    """How many windows from `first` on may be tracked before it is known whether incidents changed.

    Only a quiet stretch without guards can be taken at once; anything else may open or end an incident in
    any of its windows.
    """
    news = tracker.pending or tracker.drifting.pending
    if settings.guards.enabled or tracker.entries or news or tracker.storm.raging:
        return 1
    strange = np.flatnonzero((verdicts.score[first:] >= 1.0).any(axis=1))
    return int(strange[0]) + 1 if strange.size else len(verdicts.score) - first
