"""What was seen in an incident is kept and not learnt, until a person says that it was normal.

Of traffic, errors and latency each member's windows are left out, from the first that was strange to the last. Traffic that had
stopped before anything was expected of it is not: nothing says that such a pause is not usual. A gauge
may settle anywhere, and its tickets are often no faults: nothing of it is left out, as its last values do not stand
still for an incident either.

What comes again is a habit and no fault: the fit takes such windows back where the same time of day was left out on
several of the days it compares with (`fit_profile`). Otherwise a job that paged once would page for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.profile import DAY_NS
from sentinel.core.model import (
    BESIDE_KINDS,
    SIGNAL_TRAFFIC,
    Incident,
    Kind,
    Member,
    SeriesKey,
    WindowBlock,
)

LISTED_MAX = 50
"""An incident that lists so many members may have had more."""

HABIT_DAYS = 4
"""More than an outage that lasts for three nights, and fewer than the weeks that are learnt from."""

QUARANTINED = (Kind.TRAFFIC, Kind.ERRORS, Kind.LATENCY, Kind.SLOW)


def quarantined(
    incidents: Iterable[Incident],
    history: WindowBlock,
    keys: Mapping[int, SeriesKey],
    *,
    at_ns: int,
) -> NDArray[np.bool_] | None:
    """bool[T, S] of the history's windows that are not to be learnt; None when all are.

    Args:
        incidents: as they were last told of.
        history: windows of the past.
        keys: names by series id.
        at_ns: the present: an open incident lasts until then.
    """
    kept_kind = np.isin(history.kind, np.array(QUARANTINED, np.int8))
    column = {int(history.series[at]): int(at) for at in np.flatnonzero(kept_kind)}
    found: NDArray[np.bool_] | None = None
    for incident in incidents:
        if incident.kind in BESIDE_KINDS or incident.accepted_ns is not None:
            continue
        for series_id, (first_ns, last_ns) in _spans(incident, keys, column, at_ns).items():
            first = max(0, (first_ns - history.start_ns) // history.step_ns)
            last = min(history.window_count, -(-(last_ns - history.start_ns) // history.step_ns))
            if first < last:
                if found is None:
                    found = np.zeros(history.value.shape, np.bool_)
                found[first:last, column[series_id]] = True
    return found


def without_habits(
    left_out: NDArray[np.bool_], *, start_ns: int, step_ns: int
) -> NDArray[np.bool_]:
    """Those of `left_out` (bool[T, S]) whose time of day was left out on fewer than `HABIT_DAYS` days of the series.

    For models that compare no single days, as the profile does: what is left is a fault, the rest comes again and is learnt.
    """
    if DAY_NS % step_ns or not left_out.any():
        return left_out
    per_day = DAY_NS // step_ns
    first = start_ns // step_ns % per_day
    day_count = -(-(first + len(left_out)) // per_day)
    days = np.zeros((day_count * per_day, left_out.shape[1]), np.bool_)
    days[first : first + len(left_out)] = left_out
    often = days.reshape(day_count, per_day, -1).sum(axis=0) >= HABIT_DAYS
    habit = np.tile(often, (day_count, 1))[first : first + len(left_out)]
    return np.asarray(left_out & ~habit)


def _spans(
    incident: Incident, keys: Mapping[int, SeriesKey], column: Mapping[int, int], at_ns: int
) -> dict[int, tuple[int, int]]:
    """From when to when series were strange in an incident."""
    is_open = incident.resolved_ns is None
    if len(incident.members) >= LISTED_MAX:
        last_ns = at_ns if is_open else max(member.last_ns for member in incident.members) + 1
        return {
            series_id: (incident.opened_ns, last_ns)
            for series_id in column
            if series_id in keys and keys[series_id].service == incident.group
        }
    return {
        member.series_id: (member.first_ns, at_ns if is_open else member.last_ns + 1)
        for member in incident.members
        if member.series_id in column and _is_fault(member)
    }


def _is_fault(member: Member) -> bool:
    """Whether it was known what is usual, or a limit on errors or latency broke: a pause on the first day may be a habit."""
    return math.isfinite(member.expected) or member.key.signal != SIGNAL_TRAFFIC
