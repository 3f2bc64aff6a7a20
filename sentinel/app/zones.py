"""Time zones as plain data, because the core may not read the zone database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sentinel.runtime.settings import Zone

_YEARS_BEFORE, _YEARS_AFTER = 2, 3


def zone_offsets(
    zone: Zone, *, now_ns: int, first_ns: int | None = None
) -> tuple[tuple[int, int], ...]:
    """The offsets of a zone from two years before `now_ns` to three years after, as (from this instant, seconds).

    With `first_ns` they begin there, if that is earlier.

    Found by asking day after day and then halving the day of a change: zone data has no public list of its changes.

    >>> [seconds for _, seconds in zone_offsets(Zone("Asia/Tokyo"), now_ns=0)]
    [32400]
    """
    info = ZoneInfo(zone)
    now = datetime.fromtimestamp(max(now_ns // 10**9, 0), tz=UTC)
    start = now - timedelta(days=366 * _YEARS_BEFORE)
    if first_ns is not None:
        start = min(start, datetime.fromtimestamp(max(first_ns // 10**9, 0), tz=UTC))
    end = now + timedelta(days=366 * _YEARS_AFTER)
    found = [(_unix_ns(start), _offset_s(info, start))]
    for day in range((end - start).days):
        low, high = start + timedelta(days=day), start + timedelta(days=day + 1)
        after_s = _offset_s(info, high)
        if after_s == found[-1][1]:
            continue
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (low, middle) if _offset_s(info, middle) == after_s else (middle, high)
        found.append((_unix_ns(high), after_s))
    return tuple(found)


def _offset_s(info: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(info).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _unix_ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9
