"""After a restart the store says which incidents are open and which have paged: nobody was told of any other.

Stored windows are decided again without storing or sending anything. Mostly that leads to what it led to before. It does
not when the settings have changed, when what was learned cannot be read, or when windows are too old to be decided again:

| in the store | by the windows decided again | then |
|---|---|---|
| open | open | goes on |
| open | not open | is taken up, so that it does not page for ever |
| resolved, or not there | open | is left out; if it goes on, the next window opens it and pages |
| never paged | has paged | has not; the cap held it back, and it pages in its turn |
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.identity import page_id_of
from sentinel.core.incidents.pages import after_page
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.state import TrackerState
from sentinel.core.incidents.storm import Storm, storm_id
from sentinel.core.model import Incident, IncidentState, PageReason

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """The tracker as the store knows it.

    Attributes:
        state: to go on with.
        taken_up_count: open incidents that it did not know.
        left_out_count: incidents that it alone took for open.
    """

    state: TrackerState
    taken_up_count: int
    left_out_count: int


def first_and_next_pages(state: TrackerState, incidents: Sequence[Incident]) -> set[str]:
    """The names of the pages of which `taken_up` must know whether they are stored."""
    names = {page_id_of(one.incident_id, 0) for one in incidents}
    names |= {page_id_of(one.incident.incident_id, one.sequence) for one in state.entries}
    storm = storm_id(state.storm)
    return names | {page_id_of(storm, 0), page_id_of(storm, state.storm.sequence)}


def taken_up(
    state: TrackerState,
    incidents: Sequence[Incident],
    *,
    pages: Collection[str],
    at_ns: int,
    step_ns: int,
    settings: IncidentSettings,
) -> TakenUp:
    """The tracker with the stored open incidents, all of them and no others.

    Those that it did not know are taken for active: each resolves after the hold, or goes on with its series.
    How many pages an incident has had is not stored with it; its next page gets a number that no page before it can
    have, the seconds since it opened.

    Args:
        state: as the windows that were decided again left it.
        incidents: those that are stored.
        pages: of `first_and_next_pages`, those that are stored.
        at_ns: the present.
        step_ns: width of a window.
        settings: see there.
    """
    # With guards, the next window moves every hold on by the time the sidecar was away.
    active_until_ns = state.end_ns if state.end_ns and settings.guards.enabled else at_ns
    is_open = {one.incident_id: one for one in incidents if one.state is IncidentState.OPEN}
    confirmed = [entry for entry in state.entries if entry.incident.incident_id in is_open]
    known = {entry.incident.incident_id for entry in confirmed}
    strangers = [
        OpenIncident(
            incident=replace(incident, members=()),
            members={member.series_id: member for member in incident.members},
            active_until_ns=active_until_ns,
        )
        for incident_id, incident in is_open.items()
        if incident_id not in known
    ]
    entries = []
    for entry in (*confirmed, *strangers):
        incident_id = entry.incident.incident_id
        unused = max(1, (at_ns - entry.incident.opened_ns) // _SECOND_NS)
        if page_id_of(incident_id, 0) not in pages:
            entry = replace(entry, sequence=0)
        elif entry.sequence == 0:
            entry = after_page(
                replace(entry, sequence=unused),
                PageReason.OPENED,
                end_ns=at_ns,
                step_ns=step_ns,
                settings=settings,
            )
        elif page_id_of(incident_id, entry.sequence) in pages:
            # Another page by the name of one that is stored would be taken for the same, and not be sent.
            entry = replace(entry, sequence=entry.sequence + unused)
        entries.append(entry)
    entries.sort(
        key=lambda entry: (
            entry.incident.paged_ns,
            entry.incident.group,
            entry.incident.kind,
            entry.incident.incident_id,
        )
    )
    left_out_count = len(state.entries) - len(confirmed)
    storm = state.storm
    name = storm_id(storm)
    went_on = page_id_of(name, storm.sequence) in pages
    if storm.raging and (page_id_of(name, 0) not in pages or went_on):
        # Nobody was told of it, or it went otherwise and may be over. One that still holds pages back begins anew.
        storm = Storm(recent_ns=storm.recent_ns)
    if left_out_count:
        # Pages that nobody got must not hold back those that are due.
        storm = replace(storm, recent_ns=())
    return TakenUp(
        state=replace(state, entries=tuple(entries), storm=storm),
        taken_up_count=len(strangers),
        left_out_count=left_out_count,
    )
