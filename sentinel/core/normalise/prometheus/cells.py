"""From the values of a page's samples to columns: which value goes into which cell, found out once for a layout."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    NO_BUCKET,
    DistributionPoint,
    Reading,
    RejectReason,
    ScrapedColumns,
    Temporality,
)
from sentinel.core.normalise.histogram_map import ExplicitMap
from sentinel.core.normalise.prometheus.streams import Histogram, Meaning, PageStreams, Part
from sentinel.core.stats import log_linear

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_COUNT_MAX = float(1 << 53)
_START_MAX_S = 9e9

Floats = NDArray[np.float64]

Placement: TypeAlias = tuple[Histogram, tuple[list[int], NDArray[np.int16]]]
"""A histogram, where its buckets' values are (-1 for one that is not there), and which buckets they are."""


class PageCells:
    """The cells of one layout; `columns` puts values into them."""

    def __init__(
        self, streams: PageStreams, meanings: Sequence[Meaning], bounds: ExplicitMap
    ) -> None:
        """Make it for samples with these meanings, each given once."""
        self._table = streams.table
        self._value_count = len(meanings)
        numbers = [
            (m.number, at)
            for at, m in enumerate(meanings)
            if m.part in (Part.NUMBER, Part.QUANTILE)
        ]
        self._number_at = np.array([at for _, at in numbers], np.intp)
        self._may_lack = np.array(
            [meanings[at].part is Part.QUANTILE for _, at in numbers], np.bool_
        )
        number_cell = np.array([cell for cell, _ in numbers], np.int32)
        of_number = self._table.stream_of_cell[number_cell]
        reading = self._table.reading[of_number]
        self._running = reading != Reading.LEVEL
        number_bucket = np.where(reading == Reading.CALLS, log_linear.UNTIMED, NO_BUCKET)
        running, self._levels, self.bad_shape_count = _histograms(streams, meanings, bounds)
        self._cumulative = _Cumulative(running, self._value_count)
        self.cell: NDArray[np.int32] = np.concatenate((number_cell, self._cumulative.cell))
        self.bucket = np.concatenate((number_bucket, self._cumulative.bucket)).astype(np.int16)
        self._level_cells = _Cumulative(self._levels, self._value_count)
        # Where the time of each cell is written: that of its own line, and of a histogram the one of its last.
        self._time_at = np.concatenate((self._number_at, self._cumulative.last_at))
        self._start_at = _start_places(streams, meanings, self._table.stream_of_cell[self.cell])

    @property
    def sample_count(self) -> int:
        """How many cells there are."""
        return len(self.cell) + len(self._level_cells.cell)

    def number_count(self, places: list[int]) -> int:
        """How many of some samples are numbers that are taken."""
        return int(np.isin(self._number_at, places).sum())

    def services(self) -> frozenset[str]:
        """Whose they are."""
        streams = np.unique(self._table.stream_of_cell[self.cell]).tolist()
        found = {self._table.placed[stream].scope.service for stream in streams}
        return frozenset(found.union(one.placed.scope.service for one, _ in self._levels))

    def columns(
        self,
        value: Floats,
        times_ns: NDArray[np.int64] | None,
        *,
        time_ns: int,
        is_whole: bool,
        rejected: Counter[RejectReason],
    ) -> tuple[tuple[ScrapedColumns, ...], tuple[DistributionPoint, ...]]:
        """What a page with these values brings.

        Args:
            value: float64[n], of each sample.
            times_ns: int64[n], its own time where it has one and that is to be honoured, else `time_ns`; None for all.
            time_ns: of the page.
            is_whole: as in `ScrapedColumns`.
            rejected: what cannot be kept is counted here.
        """
        cells = np.concatenate(
            (self._numbers(value, rejected), self._cumulative.counts(value, rejected))
        )
        start_ns = self._starts(value)
        points = self._level_points(value, times_ns, time_ns, rejected)
        if not len(cells):
            return (), points
        if times_ns is None:
            whole = ScrapedColumns(
                table=self._table,
                time_ns=time_ns,
                cell=self.cell,
                bucket=self.bucket,
                value=cells,
                start_ns=start_ns,
                is_whole=is_whole,
            )
            return (whole,), points
        time_of = times_ns[self._time_at]
        parts = []
        for each in np.unique(time_of).tolist():
            rows = time_of == each
            parts.append(
                ScrapedColumns(
                    table=self._table,
                    time_ns=each,
                    cell=self.cell[rows],
                    bucket=self.bucket[rows],
                    value=cells[rows],
                    start_ns=None if start_ns is None else start_ns[rows],
                    is_whole=False,
                )
            )
        return tuple(parts), points

    def _numbers(self, value: Floats, rejected: Counter[RejectReason]) -> Floats:
        number = value[self._number_at]
        if not len(number) or (number.min() >= 0 and number.max() <= _FLOAT32_MAX):
            # As nearly always; of NaN neither is true.
            return number
        wrong = ~(np.abs(number) <= _FLOAT32_MAX)
        if wrong.any():
            told = wrong & ~(self._may_lack & np.isnan(number))
            if told.any():
                rejected[RejectReason.NOT_FINITE] += int(told.sum())
            number[wrong] = np.nan
        negative = (number < 0) & self._running
        if negative.any():
            rejected[RejectReason.NEGATIVE] += int(negative.sum())
            number[negative] = np.nan
        return number

    def _starts(self, value: Floats) -> NDArray[np.int64] | None:
        if self._start_at is None:
            return None
        seconds = np.concatenate((value, [0.0]))[self._start_at]
        sane = (seconds > 0) & (seconds < _START_MAX_S)
        return nanoseconds_of(np.where(sane, seconds, 0.0))

    def _level_points(
        self,
        value: Floats,
        times_ns: NDArray[np.int64] | None,
        time_ns: int,
        rejected: Counter[RejectReason],
    ) -> tuple[DistributionPoint, ...]:
        if not self._levels:
            return ()
        cells = self._level_cells
        counts = cells.counts(value, rejected)
        points = []
        for (histogram, _), first, end in zip(
            self._levels, cells.offset[:-1].tolist(), cells.offset[1:].tolist(), strict=True
        ):
            count = counts[first:end]
            if np.isnan(count).any():
                continue
            bucket, whole = log_linear.in_order(
                cells.bucket[first:end], np.rint(count).astype(np.int64)
            )
            points.append(
                DistributionPoint(
                    stream=histogram.identity,
                    scope=histogram.placed.scope,
                    signal=histogram.placed.signal,
                    temporality=Temporality.GAUGE,
                    start_ns=0,
                    time_ns=time_ns if times_ns is None else int(times_ns[cells.last_at[first]]),
                    bucket=bucket,
                    count=whole,
                    total=math.nan,
                    is_calls=False,
                    error=False,
                )
            )
        return tuple(points)


def nanoseconds_of(seconds: Floats) -> NDArray[np.int64]:
    """Instants, to the microsecond: a float of seconds since 1970 knows no more."""
    return np.rint(seconds * 1e6).astype(np.int64) * 1000


class _Cumulative:
    """Buckets of histograms that are cumulative over their boundaries, as all text formats have them.

    A bucket that is not there holds what the next lower one holds: some exporters leave out the lower ones until
    something was counted in them.
    """

    def __init__(
        self,
        histograms: Sequence[Placement],
        absent: int,
    ) -> None:
        take: list[int] = []
        cell: list[int] = []
        bucket: list[NDArray[np.int16]] = []
        offset = [0]
        last_at: list[int] = []
        for histogram, (places, buckets) in histograms:
            lower = absent
            for place in places:
                lower = place if place >= 0 else lower
                take.append(lower)
            cell += [histogram.cells[bound] for bound in sorted(histogram.cells)]
            bucket.append(buckets)
            offset.append(len(take))
            last_at += [max(lower if lower != absent else 0, 0)] * len(places)
        self.cell = np.array(cell, np.int32)
        self.bucket = np.concatenate(bucket) if bucket else np.empty(0, np.int16)
        self.offset = np.array(offset, np.intp)
        self.last_at = np.array(last_at, np.intp)
        self._take = np.array(take, np.intp)
        self._first = self.offset[:-1]
        self._length = np.diff(self.offset)

    def counts(self, value: Floats, rejected: Counter[RejectReason]) -> Floats:
        """The observations of each bucket alone; NaN for all of a histogram that cannot be."""
        if not len(self._take):
            return np.empty(0)
        cumulative = np.concatenate((value, [0.0]))[self._take]
        count = cumulative.copy()
        # Of two counts without end there is no difference; it is found below, as what is no count.
        with np.errstate(invalid="ignore"):
            count[1:] -= cumulative[:-1]
        count[self._first] = cumulative[self._first]
        if count.min() >= 0 and count.max() < _COUNT_MAX:
            return count
        wrong = ~((count >= 0) & (count < _COUNT_MAX))
        if wrong.any():
            bad = np.logical_or.reduceat(wrong, self._first)
            rejected[RejectReason.BAD_SHAPE] += int(bad.sum())
            count[np.repeat(bad, self._length)] = np.nan
        return count


def _histograms(
    streams: PageStreams, meanings: Sequence[Meaning], bounds: ExplicitMap
) -> tuple[
    list[Placement],
    list[Placement],
    int,
]:
    """Histograms that run, those that are levels, and how many have boundaries that cannot be."""
    places: dict[int, dict[float, int]] = {}
    for at, meaning in enumerate(meanings):
        if meaning.part is Part.BUCKET:
            places.setdefault(meaning.number, {})[meaning.bound] = at
        elif meaning.part is Part.COUNT:
            # The count says what the bucket without a boundary says; that one's word is taken where it is there.
            places.setdefault(meaning.number, {}).setdefault(meaning.bound, at)
    running: list[Placement] = []
    levels: list[Placement] = []
    wrong = 0
    for number, place_of_bound in sorted(places.items()):
        histogram = streams.histograms[number]
        ordered = sorted(histogram.cells)
        finite = tuple(bound for bound in ordered if bound != math.inf)
        buckets = bounds.buckets(finite, scale=histogram.placed.scale)
        if buckets is None:
            wrong += 1
            continue
        found = [place_of_bound.get(bound, -1) for bound in ordered]
        own = (histogram, (found, buckets[: len(ordered)]))
        (levels if histogram.is_level else running).append(own)
    return running, levels, wrong


def _start_places(
    streams: PageStreams, meanings: Sequence[Meaning], stream_of_cell: NDArray[np.int32]
) -> NDArray[np.intp] | None:
    """Where in the values each cell's start is told, their end for those that have none; None when none has."""
    places = {
        stream: at
        for at, meaning in enumerate(meanings)
        if meaning.part is Part.START and (stream := streams.stream_of_start(meaning.number)) >= 0
    }
    if not places:
        return None
    return np.array([places.get(each, len(meanings)) for each in stream_of_cell.tolist()], np.intp)
