"""Whose turn it is when several incidents wait for a destination that tells alerts apart by their labels only.

Incidents of a service have the same labels, and to Alertmanager they are one alert: what it is told last is all it
knows, and an incident whose place was taken before anybody was notified of it was never told. So an incident counts
as told when its firing page was there for `settle`, and what was not told in an outage is told in one of two ways:

    newest is     turn               what was not told before it
    open          newest, at once    goes along on its page: nobody waits for what is over while something burns
    over          oldest not told    is told in its own right, one after another: firing, settle, resolved, settle

Of many that are over, the last three have a turn of their own and the others go along with the first of these: each
turn takes twice `settle`, and a night of pages about yesterday would be noise. What goes along stays on the page
for as long as that incident is told, because Alertmanager notifies late and with the words it was told last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentinel.core.model import PageStatus
from sentinel.pipeline.outbox_states import ALONG, DELIVERED
from sentinel.ports import OutboxEntry

_TURNS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whose turn it is.

    Attributes:
        entries: of the incident that is told now, oldest first; empty when there is none to tell.
        along: the last entry of every earlier incident that is told on its pages, oldest first.
        next_ns: when the turn may pass on, or None when that depends on what is sent.
    """

    entries: tuple[OutboxEntry, ...]
    along: tuple[OutboxEntry, ...]
    next_ns: int | None


def turn_of(entries: Sequence[OutboxEntry], *, settle_ns: int, now_ns: int) -> Turn:
    """Whose turn it is among the live entries with the same labels, oldest first."""
    by_incident: dict[str, list[OutboxEntry]] = {}
    for entry in entries:
        if entry.state != ALONG:
            by_incident.setdefault(entry.page.incident_id, []).append(entry)
    incidents = list(by_incident.values())
    if not incidents:
        return Turn(entries=(), along=(), next_ns=None)
    last = len(incidents) - 1
    at = last if _is_open(incidents[last]) else max(0, len(incidents) - _TURNS_MAX)
    while at < last and _is_through(incidents[at], settle_ns=settle_ns, now_ns=now_ns):
        at += 1
    untold = [
        incident
        for incident in incidents[:at]
        if _is_untold(incident, settle_ns=settle_ns, now_ns=now_ns)
    ]
    along = [incident[-1] for incident in untold]
    if len(untold) == at:
        # Whom these went along with was not told either.
        along = [*(entry for entry in entries if entry.state == ALONG), *along]
    return Turn(
        entries=tuple(incidents[at]),
        along=tuple(along),
        next_ns=_until(incidents[at], settle_ns=settle_ns) if at < last else None,
    )


def _is_open(incident: Sequence[OutboxEntry]) -> bool:
    return all(entry.page.status is PageStatus.FIRING for entry in incident)


def _is_untold(incident: Sequence[OutboxEntry], *, settle_ns: int, now_ns: int) -> bool:
    """Whether its beginning was not there for long enough to be sure that somebody was notified."""
    firing = [entry for entry in incident if entry.page.status is PageStatus.FIRING]
    taken_ns = [entry.delivered_ns for entry in firing if entry.delivered_ns is not None]
    return bool(firing) and not (
        taken_ns and has_settled(min(taken_ns), settle_ns=settle_ns, now_ns=now_ns)
    )


def _is_through(incident: Sequence[OutboxEntry], *, settle_ns: int, now_ns: int) -> bool:
    """Whether all of it that can be told was there for long enough."""
    if not _is_open(incident) and any(
        entry.page.status is PageStatus.FIRING for entry in incident
    ):
        return False
    until_ns = _until(incident, settle_ns=settle_ns)
    if until_ns is not None:
        return has_settled(until_ns - settle_ns, settle_ns=settle_ns, now_ns=now_ns)
    # Never taken: what begins is to be told, and of what has no beginning here there is nothing to tell.
    return not _is_open(incident)


def _until(incident: Sequence[OutboxEntry], *, settle_ns: int) -> int | None:
    """When what was taken of it will have been there for long enough."""
    taken_ns = [
        entry.delivered_ns
        for entry in incident
        if entry.state == DELIVERED and entry.delivered_ns is not None
    ]
    return min(taken_ns) + settle_ns if taken_ns else None


def has_settled(taken_ns: int, *, settle_ns: int, now_ns: int) -> bool:
    """Whether what was taken then was there for long enough.

    When that lies ahead the clock was set back, and waiting for it to catch up could take for ever.
    """
    return not 0 <= now_ns - taken_ns < settle_ns
