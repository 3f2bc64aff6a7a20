"""The one chain: expect, score, follow incidents, learn.

Live, replay and preview are this function on blocks of different length. Any split of a history into
blocks gives the same verdicts, transitions and state to the last bit:

- scores of a window depend on the state before it, and within a UTC hour only on what is exact for any split;
- a window is learnt after it was scored, with the incidents that were open before it;
- where the set of open incidents changes inside a block, what was scored beyond that window is scored again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Profile
from sentinel.core.incidents import Attach, IncidentSettings, Stopped, TrackerState, track
from sentinel.core.incidents import from_bytes as tracker_from_bytes
from sentinel.core.incidents import set_back as put_tracker_back
from sentinel.core.incidents import to_bytes as tracker_to_bytes
from sentinel.core.model import (
    Acceptance,
    Drift,
    ExpectationBlock,
    Page,
    SeriesKey,
    Transition,
    VerdictBlock,
    View,
    WindowBlock,
)
from sentinel.core.scoring import (
    DetectorState,
    Grid,
    ScoringSettings,
    adopt_level,
    advance,
    back_ratio,
    copy_rows,
    demands_of,
    follow_clock,
    gathered,
    hasten_back,
    learn,
    leave_levels,
    look_far,
    new_state,
    pairs_of,
    pass_gap,
    pressing,
    profile_ratio,
    score,
    select_rows,
    span,
    state_from_bytes,
    take_far,
    with_series,
    without_horizons,
    yield_latency,
    yielded_horizons,
)
from sentinel.core.scoring import set_back as put_detector_back

HOUR_NS = 3_600_000_000_000
_LENGTHS = struct.Struct("<4sQQQQ")
_MAGIC = b"SNTD"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """Every number that decides."""

    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    incidents: IncidentSettings = field(default_factory=IncidentSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionState:
    """All that is remembered between two blocks.

    `decide` consumes it: the detector's columns are changed in place, so only the state that came out may
    be used again. A caller that must be able to step back keeps `to_bytes()`.

    Attributes:
        detector: what was learned about each series of the last block.
        parked: what was learned about others; they take it with them when they come back.
        tracker: open incidents and guards.
        frozen: int64[...], ids of the series whose level stands still, ascending.
    """

    detector: DetectorState
    parked: DetectorState
    tracker: TrackerState
    frozen: NDArray[np.int64]

    def ready(self) -> NDArray[np.int64]:
        """Ids of the series whose spread is known, ascending; the others may be primed from history."""
        return np.union1d(
            self.detector.series[self.detector.ready()], self.parked.series[self.parked.ready()]
        )

    def primed(self, rows: DetectorState, *, settings: ScoringSettings) -> DecisionState:
        """The state with `rows` in the place of what is not ready yet; this one is used up.

        Raises:
            ValueError: the rows are on another grid.
        """
        if rows.step_ns != self.detector.step_ns:
            msg = f"rows for windows of {rows.step_ns} ns cannot serve {self.detector.step_ns} ns"
            raise ValueError(msg)
        if not rows.series_count and not self.parked.series_count:
            return self
        rows = replace(rows)
        follow_clock(rows, self.detector.clock, hour=self.detector.hour)
        copy_rows(rows, self.detector, only=~self.detector.ready())
        known = np.union1d(self.parked.series, rows.series)
        others = np.setdiff1d(known, self.detector.series, assume_unique=True)
        parked = new_state(others, step_ns=rows.step_ns, base_cut=rows.grid.base_cut(settings))
        parked.clock = rows.clock
        copy_rows(rows, parked)
        mine = select_rows(self.parked, self.parked.ready(), base_cut=0.0)
        copy_rows(mine, parked)
        return DecisionState(
            detector=self.detector, parked=parked, tracker=self.tracker, frozen=self.frozen
        )

    def hearing(self, drifts: Sequence[Drift]) -> DecisionState:
        """The state whose next window tells of what a fit said has drifted; this one is used up."""
        if not drifts:
            return self
        drifting = replace(self.tracker.drifting, pending=tuple(drifts))
        return replace(self, tracker=replace(self.tracker, drifting=drifting))

    def set_back(self, at_ns: int) -> DecisionState:
        """The state for windows from `at_ns` on, time having been ahead until now; this one is used up."""
        put_detector_back(self.detector, at_ns)
        return DecisionState(
            detector=self.detector,
            parked=self.parked,
            tracker=put_tracker_back(self.tracker, at_ns),
            frozen=self.frozen,
        )

    def to_bytes(self) -> bytes:
        """The state as bytes that `from_bytes` reads; the same state gives the same bytes."""
        # Joined once: the columns of 10,000 series are 17 MB, and every copy on the way would be resident.
        parts: tuple[list[bytes | memoryview], ...] = (
            self.detector.pieces(),
            self.parked.pieces(),
            [tracker_to_bytes(self.tracker)],
            [self.frozen.astype("<i8").tobytes()],
        )
        lengths = (sum(len(piece) for piece in part) for part in parts)
        pieces = (piece for part in parts for piece in part)
        return b"".join((_LENGTHS.pack(_MAGIC, *lengths), *pieces))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> DecisionState:
        """A state from bytes; ValueError when they are damaged or of another format."""
        if len(data) < _LENGTHS.size or not data.startswith(_MAGIC):
            msg = "these bytes are no decision state"
            raise ValueError(msg)
        _, *lengths = _LENGTHS.unpack_from(data)
        parts: list[memoryview] = []
        whole = memoryview(data)
        at = _LENGTHS.size
        for length in lengths:
            parts.append(whole[at : at + length])
            at += length
        if at != len(data) or lengths[-1] % 8:
            msg = "the decision state is cut short"
            raise ValueError(msg)
        return cls(
            detector=state_from_bytes(parts[0]),
            parked=state_from_bytes(parts[1]),
            tracker=tracker_from_bytes(bytes(parts[2])),
            frozen=np.frombuffer(parts[3], dtype="<i8").astype(np.int64),
        )


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


def new_decision_state(*, step_ns: int, settings: DecisionSettings) -> DecisionState:
    """A state that knows no series; they join with the first block that holds them."""
    none = np.zeros(0, np.int64)
    base_cut = Grid(step_ns=step_ns).base_cut(settings.scoring)
    return DecisionState(
        detector=new_state(none, step_ns=step_ns, base_cut=base_cut),
        parked=new_state(none, step_ns=step_ns, base_cut=base_cut),
        tracker=TrackerState(),
        frozen=none,
    )


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
        own = _with_gathered(scored.verdicts, raw)
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
        verdicts.append(_with_grounds(scored.verdicts, pressed, stopped).windows(0, taken))
    joined = _joined(verdicts)
    return Decision(
        state=DecisionState(
            detector=detector, parked=parked, tracker=tracker, frozen=block.series[frozen]
        ),
        verdicts=joined,
        transitions=tuple(transitions),
        pages=tuple(pages),
        # Never changed in place.
        horizons=yielded_horizons(detector.horizon_verdict, joined, detector.pairs),
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


def _with_gathered(verdicts: VerdictBlock, raw: WindowBlock) -> VerdictBlock:
    """The verdicts with `View.GATHERED` where a strange share was judged together with calls of earlier windows."""
    if verdicts.views is None or verdicts.weight is raw.weight:
        return verdicts
    gathered = (verdicts.weight != raw.weight) & (verdicts.views > 0)
    return replace(
        verdicts, views=np.where(gathered, verdicts.views | int(View.GATHERED), verdicts.views)
    )


def _with_grounds(
    verdicts: VerdictBlock, pressed: VerdictBlock, stopped: Sequence[tuple[int, Stopped]]
) -> VerdictBlock:
    """The verdicts of single windows with all that agreed, and with what stopped those that stood out."""
    gate = pressed.gate
    if stopped:
        gate = pressed.gates_or_none.copy()
        for first, one in stopped:
            gate[first + one.row, one.column] = one.gate
    if gate is verdicts.gate and pressed.views is verdicts.views:
        return verdicts
    return replace(verdicts, gate=gate, views=pressed.views)


def _joined(parts: list[VerdictBlock]) -> VerdictBlock:
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return VerdictBlock(
        start_ns=first.start_ns,
        step_ns=first.step_ns,
        series=first.series,
        value=np.concatenate([part.value for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        expected=np.concatenate([part.expected for part in parts]),
        lower=np.concatenate([part.lower for part in parts]),
        upper=np.concatenate([part.upper for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        reason=np.concatenate([part.reason for part in parts]),
        views=None
        if all(part.views is None for part in parts)
        else np.concatenate([part.views_or_none for part in parts]),
        gate=None
        if all(part.gate is None for part in parts)
        else np.concatenate([part.gates_or_none for part in parts]),
    )
