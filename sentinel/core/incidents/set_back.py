"""Time that was ahead is put back: open incidents stay open, and their instants come back with it.

Left as they were, holds would run for as long as the clock was ahead, the cap on pages would count pages of the future
against every new one, and a resolve would end before its incident began. What happened before the present instant keeps
its time; so do names, which are identity and not time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.state import TrackerState
from sentinel.core.model import Member


def set_back(state: TrackerState, at_ns: int) -> TrackerState:
    """The tracker, its next window beginning at `at_ns` instead of later."""
    lead_ns = state.end_ns - at_ns
    if lead_ns <= 0:
        return state

    def moved(instant_ns: int) -> int:
        return instant_ns - lead_ns if instant_ns > at_ns else instant_ns

    guards = replace(
        state.guards,
        over_first_ns=_moved_rows(state.guards.over_first_ns, at_ns, lead_ns),
        stops=replace(
            state.guards.stops,
            first_ns=_moved_rows(state.guards.stops.first_ns, at_ns, lead_ns),
            owed_until_ns=_moved_rows(state.guards.stops.owed_until_ns, at_ns, lead_ns),
        ),
    )
    storm = replace(
        state.storm,
        recent_ns=tuple(moved(page_ns) for page_ns in state.storm.recent_ns),
        told_ns=moved(state.storm.told_ns),
    )
    return replace(
        state,
        guards=guards,
        entries=tuple(_moved_entry(entry, moved) for entry in state.entries),
        # A fall that waits for the next window waits for one that does not follow it.
        pending=(),
        drifting=replace(
            state.drifting,
            told_ns={one: moved(told_ns) for one, told_ns in state.drifting.told_ns.items()},
        ),
        storm=storm,
        end_ns=at_ns,
    )


def _moved_rows(
    instants: np.ndarray[tuple[int, ...], np.dtype[np.int64]], at_ns: int, lead_ns: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.where(instants > at_ns, instants - lead_ns, instants)


def _moved_entry(entry: OpenIncident, moved: Callable[[int], int]) -> OpenIncident:
    incident = entry.incident
    mover = incident.first_mover
    return replace(
        entry,
        incident=replace(
            incident,
            opened_ns=moved(incident.opened_ns),
            paged_ns=moved(incident.paged_ns),
            first_mover=None if mover is None else replace(mover, at_ns=moved(mover.at_ns)),
        ),
        members={
            series_id: _moved_member(member, moved) for series_id, member in entry.members.items()
        },
        active_until_ns=moved(entry.active_until_ns),
        last_page_ns=moved(entry.last_page_ns),
        next_reminder_ns=moved(entry.next_reminder_ns),
    )


def _moved_member(member: Member, moved: Callable[[int], int]) -> Member:
    return replace(member, first_ns=moved(member.first_ns), last_ns=moved(member.last_ns))
