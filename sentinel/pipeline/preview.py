"""The stored windows decided once more, exactly as live: same state to begin from, same fits at the same windows, same settings.

Nothing is written. Where the store does not hold what exactness needs, the result says so in a sentence, never silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sentinel.core.decide import Decision, DecisionSettings, DecisionState, decide
from sentinel.core.model import (
    Acceptance,
    Incident,
    Page,
    Resolution,
    SeriesKey,
    Transition,
    WindowBlock,
)
from sentinel.errors import StoreError
from sentinel.pipeline.plain_settings import settings_of_plain
from sentinel.pipeline.recording import (
    Evidence,
    RecordedFit,
    RecordedState,
    read_fit,
    read_state,
)
from sentinel.ports import SeriesRow, Snapshot

_DAY_NS = 86_400_000_000_000
_INCIDENTS_MAX = 10_000

OnDecided = Callable[[WindowBlock, Decision], None]
"""Told of each piece: windows in order, and what they led to."""


class StoreView(Protocol):
    """What of a store a preview reads."""

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
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Events:
    """Stored events of the span, by what they mean for a replay."""

    settings: list[tuple[int, DecisionSettings]]
    evidence: list[dict[str, Any]]
    doubts: list[str]


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
        from_ns: where the preview begins; it replays from the recorded state before that. None for the first one.
        to_ns: where it ends.
        on_decided: told of what was previewed, piece by piece.
        settings: what to decide by instead of what live decided by.

    Raises:
        StoreError: there is no usable state to begin from.
    """
    start = _start(view, from_ns or 0)
    step_ns = start.state.detector.step_ns
    events = _events(view, start.at_ns, to_ns, step_ns=step_ns, decided_by=start.settings)
    incidents = view.incidents(limit=_INCIDENTS_MAX)
    found = StorePreview(
        keys={row.series_id: row.key for row in view.series()},
        step_ns=step_ns,
        from_ns=max(from_ns or 0, start.at_ns),
        begun_ns=start.at_ns,
        end_ns=start.at_ns,
        settings=start.settings if settings is None else settings,
        doubts=list(events.doubts),
    )
    if from_ns is not None and start.at_ns > from_ns:
        found.doubts.append(
            f"what live began from is recorded from {_time(start.at_ns)} on; the preview begins there"
        )
    if settings is not None:
        found.doubts.append("it was decided by other settings than live")
    replay = _Replay(
        start,
        fits=[
            read_fit(part) for part in view.fit_parts(start_ns=start.at_ns - _DAY_NS, end_ns=to_ns)
        ],
        settings=None if settings is not None else events.settings,
        decided_by=start.settings if settings is None else settings,
        accepted=_acceptances(incidents),
        evidence=Evidence(events.evidence),
        keys=found.keys,
    )
    for block in view.windows(step_ns=step_ns, start_ns=start.at_ns, end_ns=to_ns):
        for piece in replay.pieces(block):
            decision = replay.decide(piece)
            found.end_ns = piece.end_ns
            if piece.end_ns <= found.from_ns:
                continue
            found.transitions += [one for one in decision.transitions if one.at_ns > found.from_ns]
            found.pages += decision.pages
            on_decided(piece, decision)
    return found


class _Replay:
    """Decides stored windows by what was in effect at each."""

    def __init__(
        self,
        start: RecordedState,
        *,
        fits: Sequence[RecordedFit],
        settings: Sequence[tuple[int, DecisionSettings]] | None,
        decided_by: DecisionSettings,
        accepted: Sequence[Acceptance],
        evidence: Evidence,
        keys: dict[int, SeriesKey],
    ) -> None:
        self._state: DecisionState = start.state
        self._settings = decided_by
        self._changes = list(settings or ())
        self._accepted = accepted
        self._evidence = evidence
        self._keys = keys
        # What was taken before the state was saved is in it.
        known = [fit for fit in fits if fit.at_ns < start.at_ns]
        self._profile = known[-1].profile if known and start.fit_version else None
        self._fits = [fit for fit in fits if fit.at_ns >= start.at_ns]

    def pieces(self, block: WindowBlock) -> Iterator[WindowBlock]:
        """The block's windows that are not decided yet, in pieces that one fit and one settings decide."""
        at = 0
        while at < block.window_count:
            start_ns = block.start_ns + at * block.step_ns
            if start_ns < self._state.detector.next_ns:
                at += 1
                continue
            self._adopt(start_ns)
            due = [fit.at_ns for fit in self._fits[:1]] + [at_ns for at_ns, _ in self._changes[:1]]
            last = min(
                [block.window_count]
                + [-(-(due_ns - block.start_ns) // block.step_ns) for due_ns in due]
            )
            yield block.windows(at, last)
            at = last

    def decide(self, block: WindowBlock) -> Decision:
        """Decide the next piece."""
        decision = decide(
            self._state,
            block,
            profile=self._profile,
            keys=self._keys,
            settings=self._settings,
            attach=self._evidence.attach,
            accepted=self._accepted,
        )
        self._state = decision.state
        return decision

    def _adopt(self, start_ns: int) -> None:
        while self._changes and self._changes[0][0] <= start_ns:
            self._settings = self._changes.pop(0)[1]
        while self._fits and self._fits[0].at_ns <= start_ns:
            fit = self._fits.pop(0)
            if fit.rows is not None:
                self._state = self._state.primed(fit.rows, settings=self._settings.scoring)
            self._profile = fit.profile


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
        msg = f"the recorded state of {_time(record.at_ns)} cannot be used: {error}"
        raise StoreError(msg) from error


def _events(
    view: StoreView, start_ns: int, to_ns: int, *, step_ns: int, decided_by: DecisionSettings
) -> _Events:
    found = _Events(settings=[], evidence=[], doubts=[])
    # An event is stored with the end of the window before which it happened.
    for end_ns, text in view.notes(start_ns=start_ns + 1, end_ns=to_ns + step_ns):
        note = json.loads(text)
        event = note.get("event")
        if event == "settings" and "decides" in note:
            changed = settings_of_plain(note["decides"])
            found.settings.append((end_ns - step_ns, changed))
            if changed != decided_by and "digest" not in note:
                # After a start the windows since the last saved state were decided again, by the new settings.
                found.doubts.append(
                    f"the settings were others from a start at {_time(end_ns - step_ns)} on"
                )
            decided_by = changed
        elif event == "evidence":
            found.evidence.append(note)
        elif event == "set_back":
            found.doubts.append(
                f"the clock was put back at {_time(end_ns)}; what was decided by it before is not replayed"
            )
        elif event == "taken_up":
            found.doubts.append(
                f"after a start at {_time(end_ns)} incidents were taken up from the store that its windows did not lead to"
            )
    return found


def _acceptances(incidents: Sequence[Incident]) -> list[Acceptance]:
    return [
        Acceptance(incident_id=one.incident_id, by=one.accepted_by, at_ns=one.resolved_ns)
        for one in incidents
        if one.resolution is Resolution.ACCEPTED and one.resolved_ns is not None
    ]


def _time(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
