"""One history fitted again and again, each time as if no more of it were known than by then.

Whoever looks at how a past was judged day by day asks for a fit a day. Two thirds of the work of each is the same as for the
day before: the smoothing, and the means of the hours. Both are made here once, and each fit takes its share of them:

    smoothed at t    needs the bins beside it     the last bin known then has none on its right, and is made anew
    mean of an hour  is asked for a week back      the last hour, in which that bin lies, is not asked for
    a first value    has no smoothed bin before    where a fit's four weeks begin in a gap, the series is fitted by itself

The result is that of `fit_on_wall_clock` with `fit_profile`, to the bit. Whatever makes two fits differ in more than
that is left to those: days that are not like others, a clock that is moved, windows that are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.profile import (
    BIN_NS,
    DAY_NS,
    HORIZON_NS,
    LAG_DAYS,
    Profile,
    lag_rows,
    smoothed,
    tile_width,
)
from sentinel.core.baseline.special_days import SpecialDays
from sentinel.core.baseline.wall_clock import fit_on_wall_clock
from sentinel.core.baseline.weekdays import hour_width, misleading_of_hours, whole_hour_means
from sentinel.core.model import WindowBlock
from sentinel.core.stats.ordering import median_of_rows

_HORIZON_DAYS_MAX = 2


class Refits:
    """Called as `fit_profile` is; what the fits of one history share is kept until another history comes."""

    def __init__(self, special: SpecialDays) -> None:
        self._special = special
        self._shared: _Shared | None = None

    def __call__(
        self,
        history: WindowBlock,
        *,
        at_ns: int,
        version: int,
        horizon_ns: int = HORIZON_NS,
        left_out: NDArray[np.bool_] | None = None,
    ) -> Profile:
        """As `fit_on_wall_clock` with `fit_profile`."""
        start_ns = at_ns - at_ns % history.step_ns
        if not self._is_plain(history, start_ns, horizon_ns):
            return self._by_itself(history, at_ns, version, horizon_ns, left_out)
        if self._shared is None or self._shared.history is not history:
            self._shared = _Shared(history)
        row = (start_ns - history.start_ns) // history.step_ns
        odd = self._shared.begins_in_a_gap(row)
        if left_out is not None:
            odd |= left_out[:row].any(axis=0)
        grid = np.full(
            (-(-horizon_ns // history.step_ns), history.series_count), np.nan, np.float32
        )
        self._shared.fill(grid, row)
        calendar = self._special.calendar
        profile = Profile(
            version=version,
            start_ns=start_ns,
            step_ns=history.step_ns,
            series=history.series,
            grid=grid,
        )
        if not calendar.is_utc:
            profile = replace(profile, clock=calendar.local_hours)
        if odd.any():
            out = None if left_out is None else left_out[:, odd]
            apart = self._by_itself(history.select(odd), at_ns, version, horizon_ns, out)
            grid[:, odd] = apart.grid
        return profile

    def _by_itself(
        self,
        history: WindowBlock,
        at_ns: int,
        version: int,
        horizon_ns: int,
        left_out: NDArray[np.bool_] | None,
    ) -> Profile:
        return fit_on_wall_clock(
            history,
            at_ns=at_ns,
            version=version,
            special=self._special,
            horizon_ns=horizon_ns,
            left_out=left_out,
        )

    def _is_plain(self, history: WindowBlock, start_ns: int, horizon_ns: int) -> bool:
        """Whether all that two fits differ in is where they end."""
        calendar = self._special.calendar
        step_ns = history.step_ns
        ends_ns = start_ns + horizon_ns
        return (
            not self._special.matters
            and calendar.offset_at(history.start_ns) % step_ns == 0
            and not any(history.start_ns < at_ns < ends_ns for at_ns, _ in calendar.offsets)
            and step_ns <= BIN_NS
            and DAY_NS % step_ns == 0
            and horizon_ns <= _HORIZON_DAYS_MAX * DAY_NS
            and history.start_ns + DAY_NS <= start_ns <= history.end_ns
        )


class _Shared:
    """What all fits of a history have in common."""

    def __init__(self, history: WindowBlock) -> None:
        self.history = history
        self._per_day = DAY_NS // history.step_ns
        self._hour_width = hour_width(self._per_day)
        self._tile = tile_width(LAG_DAYS[-1] * self._per_day + 2 * self._per_day)
        value = history.value
        self._smooth = np.empty_like(value)
        for first in range(0, history.series_count, self._tile):
            tile = slice(first, first + self._tile)
            self._smooth[:, tile] = smoothed(value[:, tile], step_ns=history.step_ns)
        there = np.isfinite(value)
        self._first = np.where(there.any(axis=0), there.argmax(axis=0), len(value))
        self._hours: NDArray[np.float32] | None = None
        self._phase = -1

    def begins_in_a_gap(self, row: int) -> NDArray[np.bool_]:
        """bool[S], series whose first value among those that a fit at `row` looks at is not their first of all."""
        oldest = self._oldest(row)
        if not oldest:
            return np.zeros(self.history.series_count, np.bool_)
        return np.asarray(np.isnan(self.history.value[oldest]) & (self._first < oldest))

    def fill(self, grid: NDArray[np.float32], row: int) -> None:
        """Put the usual values of the bins from `row` on into a grid, float32[B, S]."""
        value, step_ns = self.history.value, self.history.step_ns
        oldest, bin_count = self._oldest(row), len(grid)
        hours = self._hours_before(row)[-((row - oldest) // self._hour_width) :]
        for first in range(0, value.shape[1], self._tile):
            tile = slice(first, first + self._tile)
            rows = lag_rows(
                self._smooth[oldest:row, tile],
                np.float32(np.nan),
                offset=row - oldest,
                bin_count=bin_count,
                step_ns=step_ns,
            )
            last = smoothed(value[row - 2 : row, tile], step_ns=step_ns)[-1]
            for of_lag, days in zip(rows, LAG_DAYS, strict=True):
                if days * self._per_day <= bin_count:
                    of_lag[days * self._per_day - 1] = last
            wrong = misleading_of_hours(
                hours[:, tile],
                bin_count=bin_count,
                per_day=self._per_day,
                lag_days=LAG_DAYS,
            )
            rows[wrong] = np.nan
            # Lags that reach behind the beginning say nothing; sorted along, they cost most of the time.
            rows = rows[
                : sum(days * self._per_day < row - oldest + bin_count for days in LAG_DAYS)
            ]
            grid[:, tile] = median_of_rows(rows)[0]

    def _oldest(self, row: int) -> int:
        return max(0, row - LAG_DAYS[-1] * self._per_day - 1)

    def _hours_before(self, row: int) -> NDArray[np.float32]:
        """Means of the whole hours, counted back from `row`."""
        phase = row % self._hour_width
        if self._hours is None or phase != self._phase:
            value = self._smooth
            whole = (len(value) - phase) // self._hour_width
            self._hours = np.empty((whole, value.shape[1]), np.float32)
            self._phase = phase
            for first in range(0, value.shape[1], self._tile):
                tile = slice(first, first + self._tile)
                self._hours[:, tile] = whole_hour_means(
                    value[:, tile], offset=phase + whole * self._hour_width, width=self._hour_width
                )
        return self._hours[: (row - phase) // self._hour_width]
