"""The words for a verdict: how far a series is from what was expected of it, and which ways of looking agree.

Everything is read from the member, which holds the decision's own columns of its strangest window; nothing is
worked out again.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from sentinel.core.incidents.settings import MINUTE_NS, IncidentSettings
from sentinel.core.incidents.text import WEEK_BY_WEEK, possible, quantity
from sentinel.core.model import (
    HORIZON_VIEWS,
    SHARE_KINDS,
    Gate,
    Member,
    SeriesKey,
    View,
    kind_of_signal,
)

_VIEW_WORDS = {
    View.SEASON: "seasonal view",
    View.RECENT: "view of the last windows",
    View.MINUTE: "1-minute horizon",
    View.FIVE_MINUTES: "5-minute horizon",
    View.HALF_HOUR: "30-minute horizon",
}
_RATIO_TOLD_MAX = 1000.0
GATE_WORDS = {
    Gate.DIRECTION: "values on this side are never strange for this series",
    Gate.OWN_THRESHOLD: "this series often goes so far, so its own threshold is higher",
    Gate.SINGLE_WINDOW: "one window alone must be stranger than one that follows another",
    Gate.DEVIATION: "it is less than the least deviation that counts for this series",
    Gate.RETURN: "it may be the way back from an incident that has just ended",
    Gate.FEW_CALLS: "too few failed calls stand behind it",
    Gate.USUAL_AGAIN: "the value is back at what is usual at this hour, after a change that expectation had followed",
    Gate.OWED: "calls that could not come during a stop are coming late",
    Gate.UNCONFIRMED: "a fall of traffic counts when its source is heard once more",
    Gate.INCIDENT_OPEN: "its incident was told already",
    Gate.PAGE_CAP: "its incident is held back, because too many pages went out in a minute",
    Gate.TICKET: "of gauges alone it is not known which way is bad, so a ticket was opened",
}


def factors_of(member: Member, settings: IncidentSettings) -> str:
    """One sentence: distance from what was expected then, and what agrees; empty where nothing was expected.

    >>> from sentinel.core.model import SeriesKey
    >>> key = SeriesKey("pay", "edge", "POST /x", "traffic")
    >>> member = Member(series_id=1, key=key, direction=1, first_ns=0, last_ns=0, peak_score=2.0, value=650.0,
    ...     expected=210.0, lower=150.0, upper=300.0, views=View.SEASON | View.FIVE_MINUTES, peak_ns=375_000_000_000_000)
    >>> factors_of(member, IncidentSettings())
    '3.1x above the expected 210 calls/s for a Monday 08:10 UTC; seasonal view and 5-minute horizon agree'
    """
    if math.isnan(member.expected) or math.isnan(member.value):
        return ""
    if member.why.startswith(WEEK_BY_WEEK):
        # Its level of before is not what was expected of a moment.
        return ""
    parts = [f"{_apart(member)} for {_moment(member.peak_ns or member.first_ns, settings)}"]
    if agree := _agreeing(member.views):
        parts.append(agree)
    if member.views & View.GATHERED:
        parts.append(
            f"few calls come, so the last {member.weight:.0f} of them were judged together"
        )
    elif member.horizon_s:
        minutes = member.horizon_s * 1_000_000_000 // MINUTE_NS
        parts.append(f"the value is the mean of {minutes} min")
    return "; ".join(parts)


def gate_words(gate: Gate, *, edge: float, key: SeriesKey) -> str:
    """Why nobody was told, and which value would have passed where a band says so.

    Args:
        gate: the first that stopped it.
        edge: the edge of the band on its side; NaN or infinite where none would do.
        key: names the unit.
    """
    words = GATE_WORDS[gate]
    if gate <= Gate.FEW_CALLS and gate is not Gate.DIRECTION and math.isfinite(edge):
        return f"{words}; beyond {quantity(edge, key)} would have passed"
    return words


def _apart(member: Member) -> str:
    key = member.key
    expected, value = possible(member.expected, key.signal), possible(member.value, key.signal)
    above = value >= expected
    than = f"{'above' if above else 'below'} the expected {quantity(expected, key)}"
    if kind_of_signal(key.signal) in SHARE_KINDS:
        # Of shares a difference says more: from 0.01 % to 0.03 % is three times as much, and nothing.
        return f"{abs(value - expected) * 100:.3g} points {than}"
    if expected > 0 and value > 0:
        ratio = value / expected if above else expected / value
        if 1.05 <= ratio <= _RATIO_TOLD_MAX:
            return f"{ratio:.2g}x {than}" if ratio < 10 else f"{ratio:.0f}x {than}"
        if ratio > _RATIO_TOLD_MAX:
            return f"more than {_RATIO_TOLD_MAX:.0f}x {than}"
    return f"{quantity(abs(value - expected), key)} {than}"


def _moment(at_ns: int, settings: IncidentSettings) -> str:
    """The weekday and the time of day, by the clock on the wall where the zone is known."""
    instant = datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC)
    offsets = [offset_s for from_ns, offset_s in settings.zone_offsets if from_ns <= at_ns]
    zone = "UTC"
    if settings.zone_name and offsets:
        instant, zone = instant + timedelta(seconds=offsets[-1]), settings.zone_name
    return f"a {instant:%A %H:%M} {zone}"


def _agreeing(views: View) -> str:
    names = [words for view, words in _VIEW_WORDS.items() if views & view]
    if not names:
        return ""
    if len(names) == 1:
        only = not any(views & view for view in HORIZON_VIEWS)
        return f"only the {names[0]} says so" if only else f"the {names[0]} says so"
    return f"{', '.join(names[:-1])} and {names[-1]} agree"
