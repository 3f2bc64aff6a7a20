"""Which stage left its band first, over everything that is open, and by how long.

Precedence, never cause. One window is the resolution of what is known, so a lead of one window or less is no
lead at all; and a stage that moved alone has not moved first, because nothing has followed.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.core.model import FirstMover, Incident, Member

TOGETHER_NS = 5 * 60 * 1_000_000_000
"""Members that moved within this time of the incident's own first move may be one event."""

NOT_STAGES = frozenset({"logs"})
"""Log rates describe a stage; they are not one."""


def first_mover(
    incident: Incident, open_incidents: Iterable[Incident], *, step_ns: int
) -> FirstMover | None:
    """The stage that moved first, or None when there is no clear one.

    Args:
        incident: the one that is about to page, with every member.
        open_incidents: all that are open, of any service.
        step_ns: width of a window.
    """
    own = [member for member in incident.members if member.key.stage not in NOT_STAGES]
    if not own:
        return None
    began_ns = min(member.first_ns for member in own)
    earliest: dict[tuple[str, str], Member] = {}
    others = (
        member
        for other in open_incidents
        if other.incident_id != incident.incident_id
        for member in other.members
        if member.key.stage not in NOT_STAGES
    )
    for member in (*own, *others):
        if abs(member.first_ns - began_ns) > TOGETHER_NS:
            continue
        place = (member.key.service, member.key.stage)
        known = earliest.get(place)
        if known is None or _order(member) < _order(known):
            earliest[place] = member
    ranked = sorted(earliest.values(), key=_order)
    if len(ranked) < 2 or ranked[1].first_ns - ranked[0].first_ns <= step_ns:
        return None
    first = ranked[0]
    return FirstMover(
        service=first.key.service,
        stage=first.key.stage,
        route=first.key.route,
        signal=first.key.signal,
        at_ns=first.first_ns,
        lead_s=(ranked[1].first_ns - first.first_ns) / 1e9,
    )


def _order(member: Member) -> tuple[int, float, int]:
    return (member.first_ns, -member.peak_score, member.series_id)
