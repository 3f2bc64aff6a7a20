"""Open incidents that the tracker does not know are taken up again, so that none pages for ever.

That happens when the sidecar was killed after an incident opened and too much time passed, or too much was lost, to
decide those windows again: the store and Alertmanager know the incident, the state of before it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.pages import after_page
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.state import TrackerState
from sentinel.core.model import Incident, IncidentState, PageReason

_SECOND_NS = 1_000_000_000


def taken_up(
    state: TrackerState,
    incidents: Sequence[Incident],
    *,
    at_ns: int,
    step_ns: int,
    settings: IncidentSettings,
) -> tuple[TrackerState, int]:
    """The tracker with every open one of the stored incidents, and how many it did not know.

    They are taken for active and paged at `at_ns`: each resolves after the hold, or goes on with its series.
    How many pages an incident has had is not stored with it; its next page gets a number that no page before it can
    have, the seconds since it opened.
    """
    # With guards, the next window moves every hold on by the time the sidecar was away.
    active_until_ns = state.end_ns if state.end_ns and settings.guards.enabled else at_ns
    known = {entry.incident.incident_id for entry in state.entries}
    strangers = [
        incident
        for incident in incidents
        if incident.state is IncidentState.OPEN and incident.incident_id not in known
    ]
    entries = [
        after_page(
            OpenIncident(
                incident=replace(incident, members=()),
                members={member.series_id: member for member in incident.members},
                active_until_ns=active_until_ns,
                sequence=max(1, (at_ns - incident.opened_ns) // _SECOND_NS),
            ),
            PageReason.OPENED,
            end_ns=at_ns,
            step_ns=step_ns,
            settings=settings,
        )
        for incident in strangers
    ]
    together = sorted(
        (*state.entries, *entries),
        key=lambda entry: (entry.incident.paged_ns, entry.incident.incident_id),
    )
    return replace(state, entries=tuple(together)), len(entries)
