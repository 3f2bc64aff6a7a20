"""Tickets about sources: one that is not heard, one whose data comes too late, and all of them at once.

    what is known of the source          the ticket
    not heard, others are                "blind", one a service
    nothing is heard of any              "blind" of all sources, one: their common way here is broken, or all are down
    who tells of several is not reached  "blind" of all that are behind it, one; each other source is told of by itself
    its data comes after its windows     "late", one a service; it lives, and nothing is known of what it does now

Nothing else is said of a source while it has one: no hold of its incidents runs, so none resolves for want of data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sentinel.core.incidents.grouping import OpenIncident, ticketed
from sentinel.core.incidents.guards import GuardState, Watched
from sentinel.core.incidents.identity import ALL_SOURCES, BEHIND_ANOTHER
from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.settings import GuardSettings
from sentinel.core.model import SOURCE_KINDS, IncidentKind

_Entries = dict[str, list[OpenIncident]]


def open_tickets(
    by_service: _Entries, layout: Layout, watched: Watched, *, step_ns: int, end_ns: int
) -> set[str]:
    """Open in `by_service` what this window calls for; ids of the tickets that are new."""
    opened: set[str] = set()

    def open_one(group: str, kind: IncidentKind, count: int) -> None:
        entries = by_service.setdefault(group, [])
        if not _has(entries, kind):
            ticket = ticketed(group, kind, first_ns=end_ns - count * step_ns, end_ns=end_ns)
            entries.append(ticket)
            opened.add(ticket.incident.incident_id)

    guards = watched.state
    if watched.all_blind:
        since = int(guards.unheard_count[watched.known].min())
        open_one(ALL_SOURCES, IncidentKind.BLIND, since)
    elif not _has(by_service.get(ALL_SOURCES, ()), IncidentKind.BLIND):
        behind = np.flatnonzero(watched.blind & watched.behind)
        together = behind.size > 1 or _has(by_service.get(BEHIND_ANOTHER, ()), IncidentKind.BLIND)
        if together and behind.size:
            open_one(BEHIND_ANOTHER, IncidentKind.BLIND, int(guards.unheard_count[behind].min()))
        for at in (
            np.flatnonzero(watched.blind & ~watched.behind)
            if together
            else np.flatnonzero(watched.blind)
        ):
            open_one(layout.services[at], IncidentKind.BLIND, int(guards.unheard_count[at]))
    for at in np.flatnonzero(watched.late):
        open_one(layout.services[at], IncidentKind.LATE, int(guards.late_count[at]))
    return opened


def hold_unheard(
    by_service: _Entries,
    layout: Layout,
    watched: Watched,
    *,
    step_ns: int,
    end_ns: int,
    settings: GuardSettings,
) -> None:
    """Let no hold run while nothing is known: a source that is not heard is not quiet, it is unheard.

    A pause, not a new start: a source that is heard in every other window must still come to an end.
    """
    for service, entries in by_service.items():
        if service in (ALL_SOURCES, BEHIND_ANOTHER):
            is_blind = watched.all_blind or not watched.any_heard
            if service == BEHIND_ANOTHER:
                is_blind |= bool((watched.blind & watched.behind).any())
            unheard_ns = (
                end_ns - min(entry.incident.opened_ns for entry in entries) if entries else 0
            )
            is_late = False
        else:
            at = layout.place_of(service)
            is_blind = at is None or bool(watched.blind[at])
            is_late = at is not None and bool(watched.late[at])
            unheard_ns = _unheard_ns(entries, watched.state, at, step_ns=step_ns, end_ns=end_ns)
        if not 0 < unheard_ns < settings.forget_after_ns:
            continue
        for index, entry in enumerate(entries):
            kind = entry.incident.kind
            until_ns = min(entry.active_until_ns + step_ns, end_ns)
            if kind in SOURCE_KINDS:
                holds = is_blind if kind is IncidentKind.BLIND else is_late
                ends = service in (ALL_SOURCES, BEHIND_ANOTHER) or (
                    kind is IncidentKind.LATE and is_blind
                )
                until_ns = end_ns if holds else entry.active_until_ns if ends else until_ns
            entries[index] = replace(entry, active_until_ns=until_ns)


def _unheard_ns(
    entries: Sequence[OpenIncident],
    guards: GuardState,
    at: int | None,
    *,
    step_ns: int,
    end_ns: int,
) -> int:
    if at is not None:
        return int(guards.unheard_count[at]) * step_ns
    # A source that was dropped from the block because it was silent so long is no less blind.
    since = [e.incident.opened_ns for e in entries if e.incident.kind is IncidentKind.BLIND]
    return end_ns - since[0] if since else 0


def _has(entries: Sequence[OpenIncident], kind: IncidentKind) -> bool:
    return any(entry.incident.kind is kind for entry in entries)
