"""Tickets about levels that moved over weeks: one a service, told when a fit takes effect that found the drift.

    a fit says that a series has drifted    then
    nobody was told of it                   it opens the ticket of its service, or joins the open one, which tells of it
    told less than four weeks ago           nothing, but its ticket stays open
    told longer ago                         it is told again, with the numbers of now
    no fit has said so for two days         nothing holds the ticket open any more; it resolves with its last series

No window has to do with it: nothing that is strange joins such a ticket, and its series may page beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentinel.core.incidents.grouping import OpenIncident, ticketed
from sentinel.core.incidents.settings import HOUR_NS
from sentinel.core.incidents.text import WEEK_BY_WEEK, one_line, quantity
from sentinel.core.model import SIGNAL_ERRORS, Drift, IncidentKind, Member, SeriesKey

TOLD_FOR_NS = 28 * 24 * HOUR_NS
"""So long nothing more is said of a drift that was told."""
HOLD_NS = 48 * HOUR_NS
"""Fits are hourly, and a level at the edge of what counts as far is found by some and not by others."""
NEWS_GAP_NS = 24 * HOUR_NS
"""Routes of one service that drift together are found over some days: their ticket tells of more of them once a day."""
_STRENGTH_TOLD_MAX = 1000.0
_LISTED_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting:
    """What is remembered of drifts between windows.

    Attributes:
        pending: what a fit said that takes effect with the next window.
        told_ns: when each series was told last, by its id; never changed in place.
    """

    pending: tuple[Drift, ...] = ()
    told_ns: Mapping[int, int] = field(default_factory=dict)


def open_drifts(
    by_service: dict[str, list[OpenIncident]],
    drifting: Drifting,
    keys: Mapping[int, SeriesKey],
    *,
    end_ns: int,
    step_ns: int,
) -> tuple[Drifting, set[str], set[str]]:
    """Put what a fit said into the tickets of `by_service`.

    Returns:
        What is remembered now, ids of the tickets that are new, and of those that have more to tell.
    """
    opened: set[str] = set()
    grown: set[str] = set()
    told = {one: at_ns for one, at_ns in drifting.told_ns.items() if end_ns - at_ns < TOLD_FOR_NS}
    for drift in drifting.pending:
        key = keys.get(drift.series_id)
        if key is None:
            continue
        entries = by_service.setdefault(key.service, [])
        at = _place_of(entries)
        known = entries[at].members.get(drift.series_id) if at is not None else None
        told_ns = told.get(drift.series_id, known.first_ns if known is not None else None)
        is_told = told_ns is not None and end_ns - told_ns < TOLD_FOR_NS
        if at is None:
            if is_told:
                continue
            entries.append(
                ticketed(key.service, IncidentKind.DRIFT, first_ns=end_ns - step_ns, end_ns=end_ns)
            )
            at = len(entries) - 1
            opened.add(entries[at].incident.incident_id)
        entry = entries[at]
        members = entry.members
        if not is_told:
            members = {**members, drift.series_id: _member(drift, key, end_ns - step_ns)}
            entry = replace(entry, paged_whys=entry.paged_whys - {str(drift.series_id)})
            told[drift.series_id] = end_ns
            if entry.incident.incident_id not in opened:
                grown.add(entry.incident.incident_id)
        if known is not None or not is_told:
            entries[at] = replace(entry, members=members, active_until_ns=end_ns)
    return Drifting(told_ns=told), opened, grown


def _place_of(entries: Sequence[OpenIncident]) -> int | None:
    return next(
        (at for at, one in enumerate(entries) if one.incident.kind is IncidentKind.DRIFT), None
    )


def _member(drift: Drift, key: SeriesKey, start_ns: int) -> Member:
    return Member(
        series_id=drift.series_id,
        key=key,
        direction=1 if drift.factor >= 1 else -1,
        first_ns=start_ns,
        last_ns=start_ns,
        peak_score=min(drift.strength, _STRENGTH_TOLD_MAX),
        value=drift.now,
        expected=drift.before,
        lower=math.nan,
        upper=math.nan,
        why=week_by_week(drift, key),
        peak_ns=start_ns,
    )


def week_by_week(drift: Drift, key: SeriesKey) -> str:
    """The way a level went.

    >>> key = SeriesKey("pay", "edge", "POST /x", "latency")
    >>> week_by_week(Drift(series_id=1, before=0.12, weeks=(0.128, float("nan"), 0.146, 0.157)), key)
    'week by week 1.07x ? 1.22x 1.31x'
    """
    told = [
        "?"
        if math.isnan(level)
        else times(level / drift.before)
        if drift.before > 0
        else quantity(level, key)
        for level in drift.weeks
    ]
    return f"{WEEK_BY_WEEK} {' '.join(told)}"


def drifted(member: Member, *, past: bool = False) -> str:
    """What a drift's ticket says of a series.

    >>> key = SeriesKey("pay", "edge", "POST /x", "latency")
    >>> drifted(Member(series_id=1, key=key, direction=1, first_ns=0, last_ns=0, peak_score=1.31, value=0.157,
    ...     expected=0.12, lower=math.nan, upper=math.nan, why="week by week 1.07x 1.15x 1.22x 1.31x"))
    'edge POST /x: latency has drifted, 1.31x what it was 28 days ago (120 ms -> 157 ms, week by week 1.07x 1.15x 1.22x 1.31x)'
    """
    key = member.key
    are_many = key.signal == SIGNAL_ERRORS
    has = "had" if past else "have" if are_many else "has"
    ago = "28 days before" if past else "28 days ago"
    far = f"from nothing {ago}"
    if member.expected > 0:
        it_was = "they were" if are_many else "it was"
        far = f"{times(member.value / member.expected)} what {it_was} {ago}"
    place = one_line(f"{key.stage} {key.route}", characters_max=100)
    signal = one_line(key.signal, characters_max=60)
    then, now = quantity(member.expected, key), quantity(member.value, key)
    return f"{place}: {signal} {has} drifted, {far} ({then} -> {now}, {member.why})"


def lines_of_drifts(others: Sequence[Member], other_count: int, *, past: bool) -> list[str]:
    """The rest of what a drift's ticket says: its other series, those told last first, and what it means."""
    ranked = sorted(
        others, key=lambda member: (-member.first_ns, -member.peak_score, member.series_id)
    )
    listed = [f"Also: {drifted(member, past=past)}" for member in ranked[:_LISTED_MAX]]
    if other_count > len(listed):
        listed.append(f"And {other_count - len(listed)} more series.")
    listed.append(
        "Each of them is near its level of four weeks before again, or has stood where it came to."
        if past
        else "No window of it is strange, because what is expected follows a level that moves slowly. Held against the same "
        "weekdays and times four weeks ago, the last seven days differ. It is told once in four weeks."
    )
    return listed


def times(factor: float) -> str:
    """A factor for people.

    >>> times(1.3083), times(0.7), times(34.26)
    ('1.31x', '0.70x', '34.3x')
    """
    return f"{factor:.2f}x" if factor < 10 else f"{factor:.3g}x"
