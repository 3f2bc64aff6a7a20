"""Means of series by hour of local days: what is kept of the days that special days are learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.calendar import DAY_NS, Calendar
from sentinel.core.model import WindowBlock

HOURS = 24
_HOUR_NS = DAY_NS // HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class HourMeans:
    """Of some local days, the mean of each hour.

    Attributes:
        days: int64[D], local days, ascending.
        series: int64[S], ids, ascending.
        kind: int8[S].
        mean: float32[D, 24, S]; NaN where nothing is known.
    """

    days: NDArray[np.int64]
    series: NDArray[np.int64]
    kind: NDArray[np.int8]
    mean: NDArray[np.float32]

    def before(self, day: int) -> HourMeans:
        """Those of the days before `day`."""
        return self.of_days(slice(0, int(np.searchsorted(self.days, day))))

    def of_days(self, wanted: NDArray[np.bool_] | slice) -> HourMeans:
        """Those of some of the days."""
        return replace(self, days=self.days[wanted], mean=self.mean[wanted])


class HourSums:
    """Takes windows in any order and any split, and gives the means of the hours of the wanted days."""

    def __init__(
        self, days: NDArray[np.int64], series: NDArray[np.int64], calendar: Calendar
    ) -> None:
        """For local days and series, both ascending."""
        self._days = days
        self._series = series
        self._calendar = calendar
        self._kind = np.zeros(len(series), np.int8)
        self._sum = np.zeros((len(days) * HOURS, len(series)), np.float32)
        self._count = np.zeros(self._sum.shape, np.uint8)

    def add(self, block: WindowBlock) -> None:
        """Add windows; those of other days or series are left out."""
        place = np.searchsorted(self._series, block.series)
        known = place < len(self._series)
        known[known] = self._series[place[known]] == block.series[known]
        if not known.any() or not block.window_count:
            return
        all_known = len(place) == len(self._series) and bool(known.all())
        wanted_columns = slice(None) if all_known else known
        columns = slice(None) if all_known else place[known]
        self._kind[columns] = block.kind[wanted_columns]
        starts_ns = block.start_ns + np.arange(block.window_count, dtype=np.int64) * block.step_ns
        hours = (starts_ns + self._calendar.offset_ns(starts_ns)) // _HOUR_NS
        days = hours // HOURS
        row = np.searchsorted(self._days, days)
        wanted = row < len(self._days)
        wanted[wanted] = self._days[row[wanted]] == days[wanted]
        target = row * HOURS + hours % HOURS
        first = 0
        for last in [*(np.flatnonzero(np.diff(hours)) + 1).tolist(), block.window_count]:
            if wanted[first]:
                self._add_hour(
                    int(target[first]), columns, block.value[first:last, wanted_columns]
                )
            first = last

    def _add_hour(
        self, row: int, place: slice | NDArray[np.intp], value: NDArray[np.float32]
    ) -> None:
        # What is too large for a sum is not known.
        with np.errstate(over="ignore", invalid="ignore"):
            total = value.sum(axis=0)
            if np.isfinite(total).all():
                self._sum[row, place] += total
                self._count[row, place] += np.uint8(len(value))
                return
            there = np.isfinite(value)
            self._sum[row, place] += np.where(there, value, np.float32(0)).sum(axis=0)
            self._count[row, place] += there.sum(axis=0, dtype=np.uint8)

    def means(self) -> HourMeans:
        """The means of what was added; nothing can be added afterwards."""
        # In place: of 10,000 series it is 100 MB.
        with np.errstate(invalid="ignore"):
            mean = np.divide(self._sum, self._count, out=self._sum, casting="unsafe")
        return HourMeans(
            days=self._days,
            series=self._series,
            kind=self._kind,
            mean=mean.reshape(len(self._days), HOURS, len(self._series)),
        )


def hour_means(block: WindowBlock, calendar: Calendar) -> HourMeans:
    """The means of all local days that a block touches."""
    last_ns = block.end_ns - block.step_ns
    days = np.arange(calendar.local_day(block.start_ns), calendar.local_day(last_ns) + 1)
    sums = HourSums(days, block.series, calendar)
    sums.add(block)
    return sums.means()
