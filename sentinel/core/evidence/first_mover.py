"""Which stage left its band first, over everything that is open, and by how long.

Precedence, never cause. What is known of a place is the first window in which it was strange and, where a call of
it was named, the moment the first strange call ended. Moments order places within a window; without them a lead of
one window or less is no lead at all. A stage that moved alone has not moved first, because nothing has followed.

A call that lies inside another of the same service is what that other one waited for: the inner place moved first,
however short the time between their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sentinel.core.model import BESIDE_KINDS, FirstMover, Incident, Member

TOGETHER_NS = 5 * 60 * 1_000_000_000
"""Members that moved within this time of the incident's own first move may be one event."""

NOT_STAGES = frozenset({"logs", "metrics"})
"""Log rates and other metrics describe a stage; they are not one."""

LEAD_MIN_NS = 500_000_000
"""A shorter lead between two moments may be two machines' clocks."""

_SLACK_NS = 20_000_000
"""How far the inner of two nested calls may seem to stick out, because they were not of the same trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """The first strange call of a place that was named."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    member: Member
    onset: Onset | None

    @property
    def stage(self) -> str:
        return self.member.key.stage

    @property
    def order(self) -> tuple[int, bool, int, tuple[int, float], int]:
        # Within a window, a place with a known moment stands before one without: the latter cannot be placed.
        moment_ns = 0 if self.onset is None else self.onset.end_ns
        return (
            self.member.first_ns,
            self.onset is None,
            moment_ns,
            self.member.rank,
            self.member.series_id,
        )


def first_mover(
    incident: Incident,
    open_incidents: Iterable[Incident],
    *,
    step_ns: int,
    onset_of: Callable[[Member], Onset | None] = lambda _: None,
) -> FirstMover | None:
    """The stage that moved first, or None when there is no clear one.

    Args:
        incident: the one that is about to page, with every member.
        open_incidents: all that are open, of any service.
        step_ns: width of a window.
        onset_of: the first strange call of a member's place, where one is known.
    """
    own = [member for member in incident.members if member.key.stage not in NOT_STAGES]
    if not own:
        return None
    began_ns = min(member.first_ns for member in own)
    earliest: dict[tuple[str, str], _Move] = {}
    others = (
        member
        for other in open_incidents
        if other.incident_id != incident.incident_id and other.kind not in BESIDE_KINDS
        for member in other.members
        if member.key.stage not in NOT_STAGES
    )
    for member in (*own, *others):
        if abs(member.first_ns - began_ns) > TOGETHER_NS:
            continue
        place = (member.key.service, member.key.stage)
        move = _Move(member=member, onset=onset_of(member))
        known = earliest.get(place)
        if known is None or move.order < known.order:
            earliest[place] = move
    ranked = sorted(earliest.values(), key=lambda move: move.order)
    if len(ranked) < 2:
        return None
    first, followers = ranked[0], ranked[1:]
    # One stage of several services, moving together, is one stage that moved: a database that both write and read.
    together = [first, *(move for move in followers if move.stage == first.stage)]
    leads = [
        _lead_ns(together, follower, step_ns=step_ns)
        for follower in followers
        if follower.stage != first.stage
    ]
    if not leads or None in leads:
        return None
    at_ns = first.member.first_ns if first.onset is None else first.onset.end_ns
    return FirstMover(
        service=first.member.key.service,
        stage=first.member.key.stage,
        route=first.member.key.route,
        signal=first.member.key.signal,
        at_ns=at_ns,
        lead_s=min(lead for lead in leads if lead is not None) / 1e9,
    )


def _lead_ns(together: Sequence[_Move], follower: _Move, *, step_ns: int) -> int | None:
    """How long the first stage was ahead of the follower; None when that cannot be told."""
    first = together[0]
    windows_ns = follower.member.first_ns - first.member.first_ns
    if first.onset is not None and follower.onset is not None:
        lead_ns = follower.onset.end_ns - first.onset.end_ns
        if lead_ns >= LEAD_MIN_NS:
            return lead_ns
        for inner in together:
            if inner.onset is not None and _lies_inside(inner, follower):
                return max(follower.onset.end_ns - inner.onset.end_ns, 0)
    return windows_ns if windows_ns > step_ns else None


def _lies_inside(inner: _Move, outer: _Move) -> bool:
    if inner.onset is None or outer.onset is None:
        return False
    same_service = inner.member.key.service == outer.member.key.service
    starts_after = inner.onset.start_ns >= outer.onset.start_ns - _SLACK_NS
    ends_before = inner.onset.end_ns <= outer.onset.end_ns + _SLACK_NS
    shorter = (
        inner.onset.end_ns - inner.onset.start_ns <= outer.onset.end_ns - outer.onset.start_ns
    )
    return same_service and starts_after and ends_before and shorter
