"""Which incident a sighting belongs to: one page a service, however many of its series are strange.

    what is sighted                        goes to
    a member of an open page               that page
    a gauge at its limit, in a ticket      a page, by the rules below; its ticket stays open as long
    any other member of an open ticket     that ticket
    anything, a page is open               the open page of the service, whichever kind opened it
    a symptom, no page is open             a new page: anomaly, or guard when only guards tripped
    only gauges, a ticket is open          the open ticket of the service
    only gauges, nothing is open           a new incident of the gauges' severity

Severity is part of an alert's identity and never changes, so a ticket does not become a page: the symptom
opens a page beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sentinel.core.incidents.guards import STATIC
from sentinel.core.incidents.hysteresis import Sighting, joined, seen_again
from sentinel.core.incidents.identity import incident_id_of
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.model import (
    BESIDE_KINDS,
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    Severity,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """An open incident and all that decides what happens to it next.

    Attributes:
        incident: identity and evidence; its `members` are those of when it was last published.
        members: by series id, every one; never changed in place.
        active_until_ns: end of the latest window in which something was strange, or its source blind.
        sequence: of its next page; 0 until it has paged.
        last_page_ns: when it last paged.
        paged_peak_score, paged_horizon_s, paged_stages, paged_whys: what the pages have told: of the strangest window
            its score, and of which horizon's mean that was; of guards, their clauses.
        next_reminder_ns, reminder_gap_ns: when the next reminder is due, and the wait it had.
    """

    incident: Incident
    members: dict[int, Member] = field(default_factory=dict)
    active_until_ns: int
    sequence: int = 0
    last_page_ns: int = 0
    paged_peak_score: float = 0.0
    paged_horizon_s: int = 0
    paged_stages: frozenset[str] = frozenset()
    paged_whys: frozenset[str] = frozenset()
    next_reminder_ns: int = 0
    reminder_gap_ns: int = 0

    @property
    def strangest(self) -> Member | None:
        """The member with the strangest window so far."""
        return min(self.members.values(), key=lambda member: member.rank, default=None)

    @property
    def stages(self) -> frozenset[str]:
        """The stages that take part."""
        return frozenset(member.key.stage for member in self.members.values())

    @property
    def whys(self) -> frozenset[str]:
        """What a page must tell: the clauses of the static guards that tripped; of a drift's ticket, each of its series."""
        if self.incident.kind is IncidentKind.DRIFT:
            return frozenset(str(series_id) for series_id in self.members)
        return frozenset(
            member.why for member in self.members.values() if member.why.startswith(STATIC)
        )


def published(entry: OpenIncident, *, members_max: int) -> Incident:
    """The incident as others see it: its strangest members first, a bounded number of them."""
    ranked = sorted(
        entry.members.values(),
        key=lambda member: (member.rank, member.first_ns, member.series_id),
    )
    return replace(entry.incident, members=tuple(ranked[:members_max]))


def placed(
    entries: Sequence[OpenIncident],
    sightings: Sequence[Sighting],
    *,
    service: str,
    end_ns: int,
    settings: IncidentSettings,
) -> tuple[list[OpenIncident], list[int], list[int]]:
    """Put one service's sightings of one window where they belong.

    Returns:
        The service's open incidents, positions of those that opened, positions of those that were joined
        by a series they did not have.
    """
    result = list(entries)
    homes: dict[int, list[Sighting]] = {}
    strangers: list[Sighting] = []
    for sighting in sightings:
        having = _having(sighting.series_id, result)
        home = _home_of(sighting, having, result)
        if home is None:
            strangers.append(sighting)
        else:
            homes.setdefault(home, []).append(sighting)
        for at in having:
            if at != home:  # a ticket is not over while a page has its series
                result[at] = replace(result[at], active_until_ns=end_ns)
    opened: list[int] = []
    grown: list[int] = []
    if strangers:
        symptom = any(sighting.symptom for sighting in strangers)
        severity = Severity.PAGE if symptom else settings.gauge_severity
        home = _open_for(result, severity)
        if home is None:
            result.append(_opened(strangers, service=service, severity=severity, end_ns=end_ns))
            opened.append(len(result) - 1)
        else:
            homes.setdefault(home, []).extend(strangers)
            grown.append(home)
    for at, seen in homes.items():
        result[at] = _with(result[at], seen, end_ns=end_ns)
    return result, opened, grown


def _having(series_id: int, entries: Sequence[OpenIncident]) -> list[int]:
    return [
        at
        for at, entry in enumerate(entries)
        if series_id in entry.members and entry.incident.kind not in BESIDE_KINDS
    ]


def _home_of(
    sighting: Sighting, having: Sequence[int], entries: Sequence[OpenIncident]
) -> int | None:
    """Of the open incidents that have the series the page, or else a ticket, unless it is now what somebody is woken for."""
    for at in having:
        if entries[at].incident.severity is Severity.PAGE:
            return at
    return None if sighting.symptom else next(iter(having), None)


def _open_for(entries: Sequence[OpenIncident], severity: Severity) -> int | None:
    # Tickets of these kinds are not about what is strange in a window: nothing joins them.
    candidates = {
        entry.incident.severity: at
        for at, entry in enumerate(entries)
        if entry.incident.kind not in BESIDE_KINDS
    }
    if Severity.PAGE in candidates:
        return candidates[Severity.PAGE]
    return candidates.get(severity)


def _opened(
    sightings: Sequence[Sighting], *, service: str, severity: Severity, end_ns: int
) -> OpenIncident:
    guarded = all(sighting.why.startswith(STATIC) for sighting in sightings)
    kind = IncidentKind.GUARD if guarded else IncidentKind.ANOMALY
    opened_ns = min(sighting.first_ns for sighting in sightings)
    incident = Incident(
        incident_id=incident_id_of(group=service, kind=kind, severity=severity, at_ns=end_ns),
        group=service,
        kind=kind,
        severity=severity,
        state=IncidentState.OPEN,
        opened_ns=opened_ns,
        paged_ns=end_ns,
    )
    return _with(OpenIncident(incident=incident, active_until_ns=end_ns), sightings, end_ns=end_ns)


def _with(entry: OpenIncident, sightings: Sequence[Sighting], *, end_ns: int) -> OpenIncident:
    members = dict(entry.members)
    for sighting in sightings:
        known = members.get(sighting.series_id)
        members[sighting.series_id] = (
            joined(sighting) if known is None else seen_again(known, sighting)
        )
    return replace(entry, members=members, active_until_ns=end_ns)


def ticketed(service: str, kind: IncidentKind, *, first_ns: int, end_ns: int) -> OpenIncident:
    """A ticket that no strange window opened: a source is not heard, its data comes too late, or levels have drifted."""
    incident = Incident(
        incident_id=incident_id_of(
            group=service,
            kind=kind,
            severity=Severity.TICKET,
            at_ns=end_ns,
        ),
        group=service,
        kind=kind,
        severity=Severity.TICKET,
        state=IncidentState.OPEN,
        opened_ns=first_ns,
        paged_ns=end_ns,
    )
    return OpenIncident(incident=incident, active_until_ns=end_ns)
