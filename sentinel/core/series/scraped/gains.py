"""What the streams of one target came to in one window, while pages are added up and once it is closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Reading, StreamTable
from sentinel.core.stats import log_linear

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapedGains:
    """What the streams of one target came to in one window; streams by their numbers in `table`, ascending.

    Attributes:
        table: whose streams they are.
        level, level_value, level_points: streams that are levels, with their last value and how many readings came.
        rate, rate_value, rate_points: counters, with what they gained a second.
        histogram, gained, interval_ns, points: histograms that gained or stayed the same, with their observations, the
            time those took, and the number of readings.
        offset, bucket, count: the observations of each of these by bucket, as compressed rows.
        told, told_ns: all histograms that were told of, also for the first time, and when last.
    """

    table: StreamTable
    level: Ints
    level_value: Floats
    level_points: Ints
    rate: Ints
    rate_value: Floats
    rate_points: Ints
    histogram: Ints
    gained: Floats
    interval_ns: Ints
    points: Ints
    offset: Ints
    bucket: log_linear.Buckets
    count: log_linear.Counts
    told: Ints
    told_ns: Ints


@dataclass(slots=True)
class WindowSums:
    """What has been added up in the window at hand: `gain` by cell, all else by stream."""

    gain: Floats
    interval_ns: Ints
    points: Ints
    level: Floats
    level_points: Ints
    level_ns: Ints
    told: NDArray[np.bool_]

    @classmethod
    def of_nothing(cls, *, cells: int, streams: int) -> WindowSums:
        """Nothing was gained yet."""
        return cls(
            gain=np.zeros(cells),
            interval_ns=np.zeros(streams, np.int64),
            points=np.zeros(streams, np.int64),
            level=np.full(streams, np.nan),
            level_points=np.zeros(streams, np.int64),
            level_ns=np.zeros(streams, np.int64),
            told=np.zeros(streams, np.bool_),
        )

    def lengthen(self, *, cells: int, streams: int) -> None:
        """Have room for so many."""
        self.gain = longer(self.gain, cells, 0.0)
        self.level = longer(self.level, streams, np.nan)
        self.interval_ns = longer(self.interval_ns, streams, 0)
        self.points = longer(self.points, streams, 0)
        self.level_points = longer(self.level_points, streams, 0)
        self.level_ns = longer(self.level_ns, streams, 0)
        self.told = longer(self.told, streams, fill=False)

    def gains(
        self, table: StreamTable, cell_bucket: log_linear.Buckets, last_ns: Ints
    ) -> ScrapedGains:
        """What the window came to; `cell_bucket` is by cell, `last_ns` by stream when it was last told of."""
        reading = table.reading
        level = np.flatnonzero(self.level_points)
        rate = np.flatnonzero(
            (self.points > 0) & (self.interval_ns > 0) & (reading == Reading.RATE)
        )
        is_histogram = reading >= Reading.DISTRIBUTION
        histogram = np.flatnonzero((self.points > 0) & is_histogram)
        row_of_stream = np.full(len(last_ns), -1, np.int64)
        row_of_stream[histogram] = np.arange(len(histogram))
        row = row_of_stream[table.stream_of_cell]
        cell = np.flatnonzero((row >= 0) & (self.gain > 0))
        place, count = log_linear.sum_by_key(
            (row[cell] << 16) | cell_bucket[cell].astype(np.int64),
            np.rint(self.gain[cell]).astype(np.int64),
        )
        offset = np.searchsorted(place >> 16, np.arange(len(histogram) + 1))
        told = np.flatnonzero(self.told & is_histogram)
        return ScrapedGains(
            table=table,
            level=level,
            level_value=self.level[level],
            level_points=self.level_points[level],
            rate=rate,
            rate_value=self.gain[table.first_cell[rate]] / (self.interval_ns[rate] / 1e9),
            rate_points=self.points[rate],
            histogram=histogram,
            gained=np.diff(np.concatenate(([0], np.cumsum(count)))[offset]).astype(np.float64),
            interval_ns=self.interval_ns[histogram],
            points=self.points[histogram],
            offset=offset.astype(np.int64),
            bucket=(place & 0xFFFF).astype(np.int16),
            count=count,
            told=told,
            told_ns=last_ns[told],
        )


def longer(column: NDArray[Any], length: int, fill: float) -> NDArray[Any]:
    """A column with `fill` after its end."""
    added = np.full(length - len(column), fill, column.dtype)
    return np.concatenate((column, added))
