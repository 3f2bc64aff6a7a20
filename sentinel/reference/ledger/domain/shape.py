"""The shape of a payments company's load: day, week and month-end.

`load_factor` is a pure function of local time. It is 1 on average over an ordinary week, so a rate
times the factor keeps its meaning, and it is continuous: the day's weight glides from one noon to
the next instead of jumping at midnight.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400.0
# 8 June 2026, a Monday whose week has no turn of a month near it.
_ORDINARY_MONDAY_S: Final = 1_780_876_800.0

# Share of an average hour, by local hour: quiet at four, busiest at midday, a smaller evening hump.
_HOURS: Final = np.array(
    [
        0.42, 0.32, 0.26, 0.22, 0.21, 0.26, 0.45, 0.78, 1.10, 1.38, 1.52, 1.60,
        1.62, 1.55, 1.48, 1.44, 1.42, 1.45, 1.50, 1.48, 1.30, 1.05, 0.80, 0.58,
    ]
)  # fmt: skip
# Monday to Sunday.
_WEEKDAYS: Final = np.array([1.08, 1.06, 1.05, 1.08, 1.18, 0.85, 0.70])
# Days from the end of the month (0 is the last) and from its beginning: salaries and standing
# orders are paid around the turn.
_MONTH_END: Final = {0: 1.60, 1: 1.35, 2: 1.15}
_MONTH_START: Final = {0: 1.40, 1: 1.15}


def load_factor(local_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the load at each instant as a multiple of the average.

    Args:
        local_s: Unix seconds plus the zone's UTC offset at that instant, that is, the wall clock
            of the place whose people pay.

    >>> import numpy as np
    >>> monday_noon = 1_767_610_800.0  # 2026-01-05 11:00
    >>> night, noon = load_factor(np.array([monday_noon - 8 * 3600, monday_noon]))
    >>> bool(noon > 4 * night)
    True
    """
    days = np.floor(local_s / DAY_S).astype(np.int64)
    hours = (local_s - days * DAY_S) / 3600.0
    of_day = np.interp(hours, np.arange(25), np.append(_HOURS, _HOURS[0])) / _HOURS.mean()
    # Noon to noon: before noon the day before still weighs in.
    noons = local_s / DAY_S - 0.5
    left = np.floor(noons).astype(np.int64)
    share = noons - left
    of_date = (1.0 - share) * _date_factor(left) + share * _date_factor(left + 1)
    return np.asarray(of_day * of_date, dtype=np.float64)


def load_factor_at(local_s: float) -> float:
    """Return the load at one instant; see `load_factor`."""
    return float(load_factor(np.array([local_s]))[0])


def ordinary_week(local_s: NDArray[np.float64], *, day_s: float) -> NDArray[np.float64]:
    """Return the clock of an ordinary week, the same again and again, whose days take `day_s` seconds, for `load_factor`.

    With a seventh of a day a whole week goes by in a day, so what is usual at a time of day is usual at that time of every day.

    >>> import numpy as np
    >>> at = np.array([1_000_000.0])
    >>> bool(load_factor(ordinary_week(at, day_s=DAY_S / 7)) == load_factor(ordinary_week(at + DAY_S, day_s=DAY_S / 7)))
    True
    """
    return np.asarray(
        _ORDINARY_MONDAY_S + (local_s * (DAY_S / day_s)) % (7 * DAY_S), dtype=np.float64
    )


def _date_factor(days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of whole days counted from 1970-01-01, which was a Thursday."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    from_start = (dates - months.astype("datetime64[D]")).astype(np.int64)
    to_end = ((months + 1).astype("datetime64[D]") - dates).astype(np.int64) - 1
    factor: NDArray[np.float64] = (_WEEKDAYS / _WEEKDAYS.mean())[(days + 3) % 7]
    for offset, weight in _MONTH_END.items():
        factor = np.where(to_end == offset, factor * weight, factor)
    for offset, weight in _MONTH_START.items():
        factor = np.where(from_start == offset, factor * weight, factor)
    return factor


def local_s(unix_s: float, zone: str) -> float:
    """Return the wall clock of `zone` at an instant, as seconds, for the load's shape."""
    offset = datetime.fromtimestamp(unix_s, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return unix_s + (offset.total_seconds() if offset is not None else 0.0)
