"""The stored windows decided once more, exactly as live: same state to begin from, same fits at the same windows, same settings.

Nothing is written. Where the store does not hold what exactness needs, the result says so in a sentence, never silently:
equal is what live decided with everything at hand that it decided by, and with the checksums of what it had learned met.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sentinel.core.decide import Decision, DecisionSettings, DecisionState, decide
from sentinel.core.model import (
    Acceptance,
    Incident,
    Page,
    SeriesKey,
    Transition,
    WindowBlock,
)
from sentinel.errors import StoreError
from sentinel.pipeline.recording import RecordedFit, RecordedState, read_fit, read_state
from sentinel.pipeline.replay.stored_events import Events, all_accepted, read_events, time_words
from sentinel.ports import SeriesRow, Snapshot

_DAY_NS = 86_400_000_000_000
_EVER_NS = 2**63 - 1
_INCIDENTS_MAX = 10_000

OnDecided = Callable[[WindowBlock, Decision], None]
"""Told of each piece: windows in order, and what they led to."""


class StoreView(Protocol):
    """What of a store a preview reads."""

    @property
    def damaged_count(self) -> int:
        """Pieces that were skipped so far because they are damaged."""
        ...

    def series(self) -> list[SeriesRow]:
        """Every registered series, by id."""
        ...

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Stored windows, in time order."""
        ...

    def incidents(self, *, limit: int) -> list[Incident]:
        """Newest first."""
        ...

    def state_before(self, at_ns: int) -> Snapshot | None:
        """The newest recorded state of that instant or earlier; else the oldest after it."""
        ...

    def fit_parts(self, *, start_ns: int, end_ns: int) -> Iterator[Snapshot]:
        """Recorded parts of fits in effect from within `[start_ns, end_ns)` on, earliest first."""
        ...

    def notes(self, *, start_ns: int, end_ns: int) -> list[tuple[int, str]]:
        """Events with the end of the window they were stored with, in order."""
        ...


@dataclass(kw_only=True)
class StorePreview:
    """What the replayed windows led to.

    Attributes:
        keys: names by series id.
        step_ns: width of a window.
        from_ns: start of the first window that is previewed; those before it only bring the state there.
        begun_ns: start of the first window that was replayed.
        end_ns: end of the last one, `begun_ns` when there was none.
        settings: what it began to be decided by.
        transitions, pages: from `from_ns` on, in order.
        checked_count: how often what was learned was held against what live had learned by then, and was the same.
        doubts: why this may differ from what was decided live, a sentence each; none where it is the same.
    """

    keys: dict[int, SeriesKey]
    step_ns: int
    from_ns: int
    begun_ns: int
    end_ns: int
    settings: DecisionSettings
    transitions: list[Transition] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    checked_count: int = 0
    doubts: list[str] = field(default_factory=list)


def preview_store(
    view: StoreView,
    *,
    from_ns: int | None,
    to_ns: int,
    on_decided: OnDecided,
    settings: DecisionSettings | None = None,
) -> StorePreview:
    """Replay the windows of a store from `from_ns` to `to_ns`.

    Args:
        view: the store, or a copy of a part of it.
        from_ns: where the preview begins, with the first whole window; it replays from the recorded state before that. None
            for the first one.
        to_ns: where it ends.
        on_decided: told of what was previewed, piece by piece.
        settings: what to decide by instead of what live decided by.

    Raises:
        StoreError: there is no usable state to begin from.
    """
    start = _start(view, from_ns or 0)
    step_ns = start.state.detector.step_ns
    events = read_events(
        view.notes(start_ns=0, end_ns=_EVER_NS),
        start_ns=start.at_ns,
        to_ns=to_ns,
        step_ns=step_ns,
        decided_by=start.settings,
    )
    found = StorePreview(
        keys={row.series_id: row.key for row in view.series()},
        step_ns=step_ns,
        from_ns=max(-(-(from_ns or 0) // step_ns) * step_ns, start.at_ns),
        begun_ns=start.at_ns,
        end_ns=start.at_ns,
        settings=start.settings if settings is None else settings,
        doubts=list(events.doubts),
    )
    if from_ns is not None and start.at_ns > from_ns:
        found.doubts.append(
            f"what live began from is recorded from {time_words(start.at_ns)} on; the preview begins there"
        )
    if settings is not None:
        found.doubts.append("it was decided by other settings than live")
    replay = _Replay(
        start,
        fits=_fits(view, start.at_ns - _DAY_NS, to_ns, found.doubts),
        events=events,
        settings=settings,
        accepted=all_accepted(events.accepted, view.incidents(limit=_INCIDENTS_MAX)),
        keys=found.keys,
        told_from_ns=found.from_ns,
    )
    for block in view.windows(step_ns=step_ns, start_ns=start.at_ns, end_ns=to_ns):
        for piece in replay.pieces(block):
            decision = replay.decide(piece)
            found.end_ns = piece.end_ns
            if piece.end_ns <= found.from_ns:
                continue
            found.transitions += decision.transitions
            found.pages += decision.pages
            on_decided(piece, decision)
    found.checked_count = replay.checked_count
    if view.damaged_count:
        found.doubts.append(f"{view.damaged_count} damaged pieces of the store were skipped")
    found.doubts += replay.doubts()
    return found


class _Replay:
    """Decides stored windows by what was in effect at each, and notes what was not at hand."""

    def __init__(
        self,
        start: RecordedState,
        *,
        fits: Sequence[RecordedFit],
        events: Events,
        settings: DecisionSettings | None,
        accepted: Sequence[Acceptance],
        keys: dict[int, SeriesKey],
        told_from_ns: int,
    ) -> None:
        self._state: DecisionState = start.state
        self._is_as_live = settings is None
        self._settings = start.settings if settings is None else settings
        self._changes = [] if settings is not None else list(events.settings)
        self._events = events
        self._accepted = accepted
        self._keys = keys
        self._told_from_ns = told_from_ns
        self._end_ns = start.at_ns
        # What was taken before the state was saved is in it.
        known = [fit for fit in fits if fit.at_ns < start.at_ns]
        self._fit = known[-1] if known and start.fit_version else None
        self._fits = [fit for fit in fits if fit.at_ns >= start.at_ns]
        # Live was judged by a fit of this version; versions only grow.
        self._version = start.fit_version
        self._taken = [(at_ns, version) for version, at_ns in events.fits if at_ns >= start.at_ns]
        self._starts = sorted(at_ns for at_ns in events.starts if at_ns >= start.at_ns)
        self._learned = sorted(at_ns for at_ns in events.learned if at_ns > start.at_ns)
        self.checked_count = 0
        self._agreed_ns = start.at_ns
        self._differs_ns: int | None = None
        self._judged_by_none: tuple[int, int] | None = None
        self._gap: tuple[int, int] | None = None

    def pieces(self, block: WindowBlock) -> Iterator[WindowBlock]:
        """The block's windows that are not decided yet, in pieces that one fit and one settings decide.

        Nothing that is told of shares a piece with what is not.
        """
        at = 0
        while at < block.window_count:
            start_ns = block.start_ns + at * block.step_ns
            if start_ns < self._state.detector.next_ns:
                at += 1
                continue
            self._adopt(start_ns)
            due_ns = min((due for due in self._due() if due > start_ns), default=block.end_ns)
            last = min(block.window_count, -(-(due_ns - block.start_ns) // block.step_ns))
            yield block.windows(at, last)
            at = last

    def decide(self, block: WindowBlock) -> Decision:
        """Decide the next piece."""
        if block.start_ns > self._end_ns and block.start_ns not in self._events.starts:
            self._gap = _widened(self._gap, self._end_ns, block.start_ns)
        if self._version and not self._is_judged(block):
            self._judged_by_none = _widened(self._judged_by_none, block.start_ns, block.end_ns)
        decision = decide(
            self._state,
            block,
            profile=None if self._fit is None else self._fit.profile,
            keys=self._keys,
            settings=self._settings,
            attach=self._events.evidence.attach,
            accepted=self._accepted,
        )
        self._state = decision.state
        self._end_ns = block.end_ns
        self._check()
        return decision

    def doubts(self) -> list[str]:
        """What was not at hand, a sentence each."""
        found: list[str] = []
        if self._gap is not None:
            found.append(
                f"windows are missing {_span_words(self._gap)} and no start explains it; were they decided, it is not replayed"
            )
        if self._judged_by_none is not None:
            found.append(
                f"the fit that live judged by {_span_words(self._judged_by_none)} is not recorded"
            )
        # By other settings other pages go out, of which nothing can be known.
        if self._is_as_live and (count := self._events.evidence.missing_count):
            found.append(f"what live put on {count} of the pages is not recorded")
        if self._differs_ns is not None:
            found.append(
                f"what was learned {_span_words((self._agreed_ns, self._differs_ns))} is not what live learned"
            )
        return found

    def _adopt(self, start_ns: int) -> None:
        while self._changes and self._changes[0][0] <= start_ns:
            self._settings = self._changes.pop(0)[1]
        while self._starts and self._starts[0] <= start_ns:
            if self._events.starts[self._starts.pop(0)] == 0:
                # The fit that was stored could not be used: nothing is expected until the next.
                self._fit, self._version = None, 0
        while self._taken and self._taken[0][0] <= start_ns:
            self._version = max(self._version, self._taken.pop(0)[1])
        while self._fits and self._fits[0].at_ns <= start_ns:
            self._fit = self._fits.pop(0)
            self._version = max(self._version, self._fit.version)
            self._state = self._state.hearing(self._fit.drifts)
            if self._fit.rows is not None:
                self._state = self._state.primed(self._fit.rows, settings=self._settings.scoring)

    def _due(self) -> Iterator[int]:
        """Instants at which a piece must end."""
        yield from (fit.at_ns for fit in self._fits[:1])
        yield from (at_ns for at_ns, _ in self._changes[:1])
        yield from (at_ns for at_ns, _ in self._taken[:1])
        yield from self._learned[:1]
        yield from self._starts[:1]
        yield self._told_from_ns
        if self._fit is not None:
            yield self._fit.until_ns

    def _is_judged(self, block: WindowBlock) -> bool:
        fit = self._fit
        return fit is not None and fit.version == self._version and block.end_ns <= fit.until_ns

    def _check(self) -> None:
        """Hold what was learned against what live had learned at the same instant."""
        while self._learned and self._learned[0] <= self._end_ns:
            at_ns = self._learned.pop(0)
            if at_ns != self._end_ns or not self._is_as_live or self._differs_ns is not None:
                continue
            if zlib.crc32(self._state.to_bytes()) == self._events.learned[at_ns]:
                self.checked_count += 1
                self._agreed_ns = at_ns
                # Live had decided no window in the gap either: the machine slept.
                self._gap = None
            else:
                # From here on it can only differ.
                self._differs_ns = at_ns


def _start(view: StoreView, from_ns: int) -> RecordedState:
    record = view.state_before(from_ns)
    if record is None:
        msg = (
            "the store holds no state to begin a preview from: a sidecar of this version "
            "has decided no window in it yet"
        )
        raise StoreError(msg)
    try:
        return read_state(record)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the recorded state of {time_words(record.at_ns)} cannot be used: {error}"
        raise StoreError(msg) from error


def _fits(view: StoreView, start_ns: int, to_ns: int, doubts: list[str]) -> list[RecordedFit]:
    found: list[RecordedFit] = []
    unusable_count = 0
    for part in view.fit_parts(start_ns=start_ns, end_ns=to_ns):
        try:
            found.append(read_fit(part))
        except (ValueError, KeyError, TypeError):
            unusable_count += 1
    if unusable_count:
        doubts.append(f"{unusable_count} recorded parts of fits cannot be used")
    return found


def _widened(span: tuple[int, int] | None, start_ns: int, end_ns: int) -> tuple[int, int]:
    return (start_ns, end_ns) if span is None else (span[0], end_ns)


def _span_words(span: tuple[int, int]) -> str:
    return f"from {time_words(span[0])} to {time_words(span[1])}"
