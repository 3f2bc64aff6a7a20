"""Which earlier days foretell a day: where the week does it better than the days before, those days are left out.

Half of a profile's lags are the last days, half the same weekday of the last weeks. On a Saturday of a business that rests at
weekends the last days say the wrong thing, and a median of both lies between the two. So for each hour and each of the last
days it is asked, on the last three weeks: how far was the value of this weekday from that of so many days before it,
and how far from the week before?

    err(d, t) = median over k = 1, 2, 3 of |mean(t - 7k days) - mean(t - 7k - d days)|      of hours, over five of them

A last day counts no more where its err is more than `1 + 5 / n` times that of the week, n the number of weeks
that say so: six times after two weeks, 2.67 times after four. Of a series without a week the two are alike, and all stays as it is.
Incidents are in these means; that the median is taken over weeks keeps one of them out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.stats.ordering import median_of_rows

_WEEKS = (1, 2, 3)
_WEEK_DAYS = 7
_HOURS_A_DAY = 24
_HOURS_BESIDE = 2
_FIRST_FACTOR = 5.0


def misleading(
    past: NDArray[np.float32],
    *,
    offset: int,
    bin_count: int,
    per_day: int,
    lag_days: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Where a lag of less than a week is not to be asked.

    Args:
        past: float32[T, S], the history on bins; NaN where missing.
        offset: of the first bin that is foretold, counted from past's first row.
        bin_count: how many bins are foretold.
        per_day: bins a day; what is called an hour here is a whole number of them, and a day of those.
        lag_days: the lags of a profile.

    Returns:
        bool[len(lag_days), bin_count, S]; False for whole weeks.
    """
    width = hour_width(per_day)
    if offset < width:
        return np.zeros((len(lag_days), bin_count, past.shape[1]), np.bool_)
    hours = whole_hour_means(past, offset=offset, width=width)
    return misleading_of_hours(hours, bin_count=bin_count, per_day=per_day, lag_days=lag_days)


def misleading_of_hours(
    hours: NDArray[np.float32], *, bin_count: int, per_day: int, lag_days: tuple[int, ...]
) -> NDArray[np.bool_]:
    """As `misleading`, by the means of the whole hours up to the first bin that is foretold, float32[H, S]."""
    width = hour_width(per_day)
    hour_count = -(-bin_count // width)
    a_day = per_day // width

    def at(days: int) -> NDArray[np.float32]:
        first = len(hours) - days * a_day
        found = np.full((hour_count, hours.shape[1]), np.nan, np.float32)
        low, high = max(first, 0), min(first + hour_count, len(hours))
        if low < high:
            found[low - first : high - first] = hours[low:high]
        return found

    def err(days: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        apart = np.stack([np.abs(at(7 * k) - at(7 * k + days)) for k in _WEEKS])
        said = np.isfinite(apart).sum(axis=0).astype(np.float32)
        return _over_neighbours(median_of_rows(apart)[0]), said

    of_week, weeks = err(_WEEK_DAYS)
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = of_week * (1 + _FIRST_FACTOR / weeks)
        found = [
            err(days)[0] > bound if days < _WEEK_DAYS else np.zeros_like(bound, np.bool_)
            for days in lag_days
        ]
    return np.repeat(np.stack(found), width, axis=1)[:, :bin_count]


def hour_width(per_day: int) -> int:
    """How many bins are called an hour: about one, and a whole share of a day.

    >>> hour_width(288), hour_width(7)
    (12, 1)
    """
    return next(w for w in range(max(1, per_day // _HOURS_A_DAY), 0, -1) if per_day % w == 0)


def whole_hour_means(past: NDArray[np.float32], *, offset: int, width: int) -> NDArray[np.float32]:
    """Means of `width` bins each, of those that are known, up to the bin at `offset`."""
    whole = offset // width
    lead = offset - whole * width
    rows = np.full((whole * width, past.shape[1]), np.nan, np.float32)
    there = past[lead : lead + len(rows)]
    rows[: len(there)] = there
    parts = rows.reshape(whole, width, past.shape[1])
    known = np.isfinite(parts)
    count = known.sum(axis=1)
    total = np.where(known, parts, np.float32(0)).sum(axis=1, dtype=np.float64)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means.astype(np.float32)


def _over_neighbours(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each hour with those beside it, of those that are known."""
    total = np.zeros_like(values)
    count = np.zeros_like(values)
    for shift in range(-_HOURS_BESIDE, _HOURS_BESIDE + 1):
        source = values[max(0, shift) : len(values) + min(0, shift)]
        known = np.isfinite(source)
        place = slice(max(0, -shift), len(values) - max(0, shift))
        total[place] += np.where(known, source, np.float32(0))
        count[place] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))
