"""Objects begin at the transition: an incident, what belongs on its page, the page itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sentinel.core.model.grounds import View
from sentinel.core.model.series import SeriesKey

BY_LENGTH_MAX = 60
"""Characters of the name of a person who says something of an incident."""


class IncidentKind(StrEnum):
    """What opened an incident.

    ANOMALY is outside the learned band; GUARD broke a static limit that holds from the first minute;
    BLIND is a source that is no longer heard; LATE is one whose data comes after its windows were closed.
    DRIFT is a level that has moved over weeks, which no window shows.
    """

    ANOMALY = "anomaly"
    GUARD = "guard"
    BLIND = "blind"
    LATE = "late"
    DRIFT = "drift"


SOURCE_KINDS = frozenset({IncidentKind.BLIND, IncidentKind.LATE})
"""Kinds that are about a source and not about what it measures."""
BESIDE_KINDS = SOURCE_KINDS | {IncidentKind.DRIFT}
"""Kinds of tickets that no strange window opens or joins: their series may page as if there were no ticket, are learnt on
and never settle."""


class IncidentState(StrEnum):
    """Open until every member has been quiet for the hold."""

    OPEN = "open"
    RESOLVED = "resolved"


class Resolution(StrEnum):
    """Why an incident is over.

    QUIET is the plain end: everything was quiet for the hold. ACCEPTED is a person's word that what is seen is the new
    normal; ADOPTED is the same taken for granted, because it has lasted so long.
    """

    QUIET = "quiet"
    ACCEPTED = "accepted"
    ADOPTED = "adopted"


class Severity(StrEnum):
    """Who must look: a person now, or a person in working hours."""

    PAGE = "page"
    TICKET = "ticket"


class PageReason(StrEnum):
    """Why a page goes out now."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"


class PageStatus(StrEnum):
    """Alertmanager's two states."""

    FIRING = "firing"
    RESOLVED = "resolved"


class TransitionKind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    JOINED = "joined"
    WORSENED = "worsened"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One series' part in an incident.

    Attributes:
        series_id: the store's id of the series.
        key: its name.
        direction: +1 above what was expected, -1 below.
        first_ns: start of its first anomalous window.
        last_ns: start of its latest anomalous window.
        peak_score: the score of the strangest window so far; see `rank`.
        value, expected, lower, upper: of that window; NaN where unknown.
        weight: calls behind that value.
        why: one clause on what makes it strange, such as "static guard: half of the calls fail".
        horizon_s: length of the horizon whose mean the value is, 0 for a window itself.
        views: what agreed in that window that it is strange.
        peak_ns: start of that window; 0 where that is not known.
        beside: what people know the series by besides that value, such as a quantile in seconds; "" for nothing.
    """

    series_id: int
    key: SeriesKey
    direction: int
    first_ns: int
    last_ns: int
    peak_score: float
    value: float
    expected: float
    lower: float
    upper: float
    weight: float = 0.0
    why: str = ""
    horizon_s: int = 0
    views: View = View.NONE
    peak_ns: int = 0
    beside: str = ""

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts the strangest first; see `strangeness`."""
        return strangeness(self.horizon_s, self.peak_score)


def strangeness(horizon_s: int, score: float) -> tuple[int, float]:
    """Sorts what is strange, strangest first: a window before any mean, a mean before that of a longer horizon, then by score.

    Scores of different horizons are in different units, the half of each one's own band, which is the narrower the longer
    the horizon. How far a value is off is what they share: no mean is farther off than the farthest of its windows, and
    what is strange by a wide band is farther off than what is ordinary by it.

    >>> windows, mean = strangeness(0, 8.4), strangeness(300, 38.0)
    >>> sorted([mean, windows]) == [windows, mean]
    True
    """
    return horizon_s, -score


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """A trace to look at: a call that failed or was slow while the incident was open."""

    trace_id: str
    key: SeriesKey
    time_ns: int
    duration_s: float
    error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A log line worth reading, redacted.

    Attributes:
        service: who wrote it.
        time_ns: when it was written.
        severity: OTLP's severity number.
        event: the event's name, or "".
        body: its text.
        trace_id: 32 hexadecimal digits, or "".
        template: what lines without an event are told apart by, or "".
        is_new: nothing like it was written in the hour before; otherwise it is one of the newest of its event.
    """

    service: str
    time_ns: int
    severity: int
    event: str
    body: str
    trace_id: str = ""
    template: str = ""
    is_new: bool = False

    @property
    def about(self) -> str:
        """What it is one of many of."""
        return self.event or self.template or self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstMover:
    """The stage that left its band first, and by how long; precedence, never cause."""

    service: str
    stage: str
    route: str
    signal: str
    at_ns: int
    lead_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Anomalies of one service, grouped from open to resolved.

    Attributes:
        incident_id: stable and derived from group and opening window, so that a replay makes the same.
        group: the service.
        kind, severity, state: see the enumerations.
        opened_ns: start of the first anomalous window.
        paged_ns: end of the window at which it opened, when the first page was due.
        resolved_ns: when it resolved, or None.
        members: every series that took part, strangest first.
        resolution: why it resolved; QUIET while it is open.
        settled: where its level went, such as "210/s -> 120/s"; "" where it is not the new normal.
        accepted_ns, accepted_by: when a person said that it was normal, and who; None and "" when nobody did.
            Until then what its series did in it is not learnt by the profile.
        first_mover: the stage that moved first, or None when there is no clear one.
        exemplars: at most 3 traces.
        log_lines: at most 3 lines.
    """

    incident_id: str
    group: str
    kind: IncidentKind
    severity: Severity
    state: IncidentState
    opened_ns: int
    paged_ns: int
    resolved_ns: int | None = None
    resolution: Resolution = Resolution.QUIET
    settled: str = ""
    accepted_ns: int | None = None
    accepted_by: str = ""
    members: tuple[Member, ...] = ()
    first_mover: FirstMover | None = None
    exemplars: tuple[Exemplar, ...] = ()
    log_lines: tuple[LogLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A person's word that what an open incident shows is the new normal.

    Attributes:
        incident_id: which incident.
        by: who says so.
        at_ns: it holds from the first window on that does not end before; 0 for the next one.
    """

    incident_id: str
    by: str
    at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Something happened to an incident at the end of a window."""

    kind: TransitionKind
    at_ns: int
    incident: Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One message that an incident opened, changed or resolved.

    Attributes:
        page_id: incident id and sequence, the receiver's key for removing duplicates.
        incident_id: the incident it is about.
        sequence: 0 for the first page of the incident.
        reason: why it goes out now.
        status: firing or resolved.
        labels: identity only: the same for every page of an incident, nothing measured.
        annotations: everything that may change.
        starts_ns: true start of the incident; the same on every resend.
        ends_ns: when it resolved, or None while firing.
    """

    page_id: str
    incident_id: str
    sequence: int
    reason: PageReason
    status: PageStatus
    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    starts_ns: int
    ends_ns: int | None = None
