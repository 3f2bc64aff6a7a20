"""Messages and gates of a replay as rows for people and programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sentinel.core.incidents import IncidentSettings, factors_of, gate_words, primary
from sentinel.core.incidents.text import possible
from sentinel.core.model import (
    Gate,
    IncidentKind,
    Page,
    PageReason,
    PageStatus,
    SeriesKey,
    Severity,
    Transition,
    TransitionKind,
)
from sentinel.pipeline.replay.stops import StopLog

_KINDS_OF = {
    PageReason.OPENED: (TransitionKind.OPENED, TransitionKind.JOINED),
    PageReason.WORSENED: (TransitionKind.WORSENED,),
    PageReason.REMINDER: (TransitionKind.REMINDED,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedPage:
    """A message that would have gone out.

    Attributes:
        series: name of the series a person should read first.
        start_s: instant of the sample that tripped (Unix seconds).
        end_s: when it resolved, the hold included, or the last sample.
        score, direction, expected, value: of the strangest window so far; direction is +1 or -1, expected is
            NaN where a guard tripped before anything was. All are NaN where it is about a source that is blind or late.
        severity: a page wakes a person, a ticket does not.
        reason: opened, worsened or reminder.
        kind: anomaly, guard, drift, blind or late.
        horizon_s: length of the horizon whose mean the value is, 0 for a window of the series.
        factors: how far it is from what was expected, and what agrees; in words.
    """

    series: str
    start_s: float
    end_s: float
    score: float
    direction: int
    expected: float
    value: float
    severity: Severity
    reason: PageReason
    kind: IncidentKind
    horizon_s: int = 0
    factors: str = ""

    @property
    def is_reminder(self) -> bool:
        """Whether it tells nothing that was not told before."""
        return self.reason is PageReason.REMINDER


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedStop:
    """An excursion that stood out and of which nobody would have been told.

    Attributes:
        series: name of the series.
        start_s, end_s: instants of its first and its last sample that stood out (Unix seconds).
        gate: the first that stopped it.
        score, direction, expected, value: of its strangest window; direction is +1 or -1.
        edge: of the band on its side: beyond it the window would have passed; NaN where that is not known.
        words: all of that in a sentence.
    """

    series: str
    start_s: float
    end_s: float
    gate: Gate
    score: float
    direction: int
    expected: float
    value: float
    edge: float
    words: str


class Names(Protocol):
    """How a row calls series and instants."""

    def series(self, series_id: int) -> str:
        """A series."""
        ...

    def source(self, group: str) -> str:
        """A source of which nothing was heard, or that was late."""
        ...

    def instant_s(self, at_ns: int, series_id: int | None, group: str) -> float:
        """The sample in the window that begins at `at_ns`, of a series or any of a source (Unix seconds)."""
        ...

    def last_s(self, group: str) -> float:
        """When what is known of a source ends (Unix seconds)."""
        ...


def page_rows(
    pages: Sequence[Page],
    transitions: Sequence[Transition],
    *,
    step_ns: int,
    settings: IncidentSettings,
    names: Names,
) -> Iterator[ReplayedPage]:
    """The messages that would have gone out, in order of time; summaries of held pages and resolves left out."""
    changes: dict[str, list[Transition]] = {}
    resolved: dict[str, int] = {}
    for change in transitions:
        incident_id = change.incident.incident_id
        changes.setdefault(incident_id, []).append(change)
        if change.kind is TransitionKind.RESOLVED:
            resolved[incident_id] = change.at_ns
    for page in pages:
        told = _of(page, changes.get(page.incident_id, []))
        if told is None:
            continue
        incident = told.incident
        member = primary(incident)
        series_id = None if member is None else member.series_id
        last_s = names.last_s(incident.group)
        end_ns = resolved.get(page.incident_id)
        # The window that decided. A fall of traffic may need the one after it, and that wait is part of the delay.
        start_s = names.instant_s(told.at_ns - step_ns, series_id, incident.group)
        end_s = (
            last_s
            if end_ns is None
            else min(names.instant_s(end_ns, series_id, incident.group), last_s)
        )
        end_s = max(end_s, start_s)
        if member is None:
            # Of a source, and not of what it measures.
            yield ReplayedPage(
                series=names.source(incident.group),
                start_s=start_s,
                end_s=end_s,
                score=math.nan,
                direction=-1,
                expected=math.nan,
                value=math.nan,
                severity=incident.severity,
                reason=page.reason,
                kind=incident.kind,
            )
            continue
        peak_s = names.instant_s(member.peak_ns or member.first_ns, series_id, incident.group)
        yield ReplayedPage(
            series=names.series(member.series_id),
            start_s=start_s,
            end_s=end_s,
            score=member.peak_score,
            direction=member.direction,
            expected=possible(member.expected, member.key.signal),
            value=member.value,
            horizon_s=member.horizon_s,
            severity=incident.severity,
            reason=page.reason,
            kind=incident.kind,
            factors=factors_of(replace(member, peak_ns=round(peak_s * 1e9)), settings),
        )


def summary_count(pages: Sequence[Page], transitions: Sequence[Transition]) -> int:
    """Pages that stand for incidents which a ceiling held back, each renewal counted."""
    known = {change.incident.incident_id for change in transitions}
    return sum(
        page.status is PageStatus.FIRING and page.incident_id not in known for page in pages
    )


def stop_rows(
    log: StopLog, *, step_ns: int, keys: Mapping[int, SeriesKey], names: Names
) -> Iterator[ReplayedStop]:
    """What stood out and was not told, by series and time."""
    for run in log.close():
        key = keys[run.series_id]
        yield ReplayedStop(
            series=names.series(run.series_id),
            start_s=names.instant_s(run.first_window * step_ns, run.series_id, key.service),
            end_s=names.instant_s(run.last_window * step_ns, run.series_id, key.service),
            gate=run.gate,
            score=run.score,
            direction=run.direction,
            expected=run.expected,
            value=run.value,
            edge=run.edge,
            words=gate_words(run.gate, edge=run.edge, key=key),
        )


def _of(page: Page, changes: list[Transition]) -> Transition | None:
    """The change that the page tells of, taken out of `changes`; None for a resolve, or a summary of held pages."""
    if page.status is not PageStatus.FIRING:
        return None
    for at, change in enumerate(changes):
        if change.kind in _KINDS_OF.get(page.reason, ()):
            return changes.pop(at)
    return None
