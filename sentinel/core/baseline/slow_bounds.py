"""How long the slowest hundredth of calls takes at each hour of the day, from merged histograms.

A quantile of one window is noisy: of fifty calls the 95th percentile is the third slowest. The share of calls beyond a fixed
bound is not, it spreads as any share of so many calls does. The bound is the season's own: the 99th percentile of all
calls of this hour of the day over the last weeks, those of incidents left out. Histograms merge exactly, so it is one of the
whole, and no mean of quantiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import HistogramBlock
from sentinel.core.stats.log_linear import UNTIMED, sum_by_key

HOURS = 24
QUANTILE = 0.99
CALLS_MIN = 500
"""Of fewer calls the slowest hundredth is fewer than five."""
NO_BOUND = np.uint16(65_535)
HOUR_NS = 3_600_000_000_000
_BUCKET_BITS = 12
_HELD_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowBounds:
    """What counts as slow, by series and hour.

    Attributes:
        start_ns: start of the first hour (UTC).
        series: int64[L], ids of latency series, ascending.
        bucket: uint16[H, L], a call in a higher bucket is slow; `NO_BOUND` where too few calls are known.
    """

    start_ns: int
    series: NDArray[np.int64]
    bucket: NDArray[np.uint16]

    def at(self, at_ns: int) -> NDArray[np.uint16]:
        """The bounds of the hour of an instant, uint16[L]; `NO_BOUND` everywhere outside the hours that are known."""
        hour = (at_ns - self.start_ns) // HOUR_NS
        if 0 <= hour < len(self.bucket):
            row: NDArray[np.uint16] = self.bucket[hour]
            return row
        return np.full(len(self.series), NO_BOUND, np.uint16)


def bounds_of_hours(
    by_hour: Iterable[tuple[int, NDArray[np.int64], HistogramBlock]],
    *,
    series: NDArray[np.int64],
) -> NDArray[np.uint16]:
    """The bound of each hour of the local day, uint16[24, L]; of all hours together where one has too few calls.

    Args:
        by_hour: hour of the local day, ids of the rows, and histograms of one hour of the past after the other; those of
            one hour of the day in a row, so that few are held at once.
        series: int64[L], ids, ascending.
    """
    found = np.full((HOURS, len(series)), NO_BOUND, np.uint16)
    total, here, now = _Counts(), _Counts(), -1
    for hour, ids, histograms in by_hour:
        if hour != now:
            if now >= 0:
                found[now] = here.bounds(len(series))
                total.take(*here.merged())
            here, now = _Counts(), hour
        here.take(*_cells(series, ids, histograms))
    if now >= 0:
        found[now] = here.bounds(len(series))
        total.take(*here.merged())
    return np.where(found == NO_BOUND, total.bounds(len(series)), found)


def slow_shares(
    histograms: HistogramBlock, bound: NDArray[np.uint16]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share of slow calls and number of calls of each row, float32[R]; NaN and 0 where there is no bound or no call.

    Args:
        histograms: of one window.
        bound: uint16[R], of each row.
    """
    rows = len(histograms.row)
    share, calls = np.full(rows, np.nan, np.float32), np.zeros(rows, np.float32)
    if rows == 0:
        return share, calls
    lengths = np.diff(histograms.offset)
    owner = np.repeat(np.arange(rows), lengths)
    timed = histograms.bucket < UNTIMED
    count = np.where(timed, histograms.count, 0)
    total = np.bincount(owner, weights=count, minlength=rows)
    slow = np.bincount(
        owner, weights=count * (histograms.bucket > bound[owner].astype(np.int32)), minlength=rows
    )
    known = (bound != NO_BOUND) & (total > 0)
    share[known] = (slow[known] / total[known]).astype(np.float32)
    calls[known] = total[known].astype(np.float32)
    return share, calls


class _Counts:
    """Counts of many series' buckets, as cells that hold both numbers."""

    def __init__(self) -> None:
        self._cells: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []

    def take(self, cell: NDArray[np.int64], count: NDArray[np.int64]) -> None:
        """Add counts; what is held is merged now and then, so that it stays small."""
        self._cells.append(cell)
        self._counts.append(count)
        if len(self._cells) > _HELD_PARTS:
            self.merged()

    def merged(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Distinct cells, ascending, and their counts."""
        if not self._cells:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        cell, count = sum_by_key(np.concatenate(self._cells), np.concatenate(self._counts))
        self._cells, self._counts = [cell], [count]
        return cell, count

    def bounds(self, series_count: int) -> NDArray[np.uint16]:
        """Bucket of the call of rank `QUANTILE` of each series, uint16[L]; `NO_BOUND` of too few calls."""
        cell, count = self.merged()
        found = np.full(series_count, NO_BOUND, np.uint16)
        place = cell >> _BUCKET_BITS
        offset = np.searchsorted(place, np.arange(series_count + 1))
        running = np.concatenate(([0], np.cumsum(count)))
        before = running[offset[:-1]]
        calls = running[offset[1:]] - before
        enough = np.flatnonzero(calls >= CALLS_MIN)
        # As for quantiles elsewhere: the rank is a whole number, and rounding must not add one to it.
        rank = np.ceil(QUANTILE * calls[enough] - 1e-9).astype(np.int64)
        at = np.searchsorted(running[1:], before[enough] + rank, side="left")
        found[enough] = cell[at] & ((1 << _BUCKET_BITS) - 1)
        return found


def _cells(
    series: NDArray[np.int64], ids: NDArray[np.int64], histograms: HistogramBlock
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells and counts of the rows that are of these series; what has no duration is left out."""
    place = np.minimum(np.searchsorted(series, ids), max(0, len(series) - 1))
    known = series[place] == ids if len(series) else np.zeros(len(ids), np.bool_)
    lengths = np.diff(histograms.offset)
    taken = np.repeat(known, lengths) & (histograms.bucket < UNTIMED)
    cell = (np.repeat(place, lengths)[taken].astype(np.int64) << _BUCKET_BITS) + histograms.bucket[
        taken
    ]
    return cell, histograms.count[taken]
