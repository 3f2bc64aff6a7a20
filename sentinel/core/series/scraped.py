"""Metrics pages to increases and levels, a whole page at a time: what `streams` does for points, for columns.

The table there holds here as well, for every stream, to the last bit. One line is of pages alone:

| the stream, against the page before | means | increase |
|---|---|---|
| counter or histogram that was not on it, though others of its metric were | it began at 0 since | its value |

A bucket that a known histogram had not before is one that nothing was counted in: some exporters leave those out.

The last numbers of a target's streams are arrays. They are numbered here as they come, in a `StreamTable` of our own: who
scrapes a target may begin a new one at any time, and the streams stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    NO_BUCKET,
    Placed,
    PointStream,
    Reading,
    RejectReason,
    ScrapedColumns,
    StreamTable,
)
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.streams import FALL_RATIO
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


class ScrapedStreams:
    """The last numbers of every target's streams; bounded by `cell_count_max` in all."""

    def __init__(self, *, cell_count_max: int) -> None:
        self._cell_count_max = cell_count_max
        self._targets: dict[str, _Target] = {}

    @property
    def cell_count(self) -> int:
        """How many numbers are remembered."""
        return sum(target.table.cell_count for target in self._targets.values())

    def gains(self, held: Iterable[ScrapedColumns], counts: SeriesCounts) -> list[ScrapedGains]:
        """What each target's streams came to by the pages of one window."""
        by_target: dict[str, list[ScrapedColumns]] = {}
        for columns in held:
            by_target.setdefault(columns.table.target, []).append(columns)
        found: list[ScrapedGains] = []
        for name, pages in sorted(by_target.items()):
            target = self._target(name, pages)
            if target is None:
                counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += sum(
                    len(page.value) for page in pages
                )
                continue
            target.begin_window()
            for page in _in_order(pages):
                target.take(page, counts)
            found.append(target.gains())
        return found

    def forget_idle(self, before_ns: int, held: Collection[ScrapedColumns]) -> None:
        """Forget streams whose last number is older and that are not held; they start anew if they come back."""
        for name, target in list(self._targets.items()):
            own = [columns for columns in held if columns.table.target == name]
            target.forget(target.last_ns < before_ns, own)
            if target.page_ns < before_ns and not own:
                del self._targets[name]
            elif target.is_mostly_gone:
                self._targets[name] = target.without_gone()

    def set_back(self, now_ns: int) -> None:
        """Forget streams whose last number is later than now: all that comes would look like an overlap with it."""
        for target in self._targets.values():
            target.forget(target.last_ns > now_ns, ())
            if target.page_ns > now_ns:
                target.page_ns, target.families = 0, frozenset()

    @property
    def targets(self) -> Collection[str]:
        """Whose streams are remembered."""
        return self._targets.keys()

    def _target(self, name: str, pages: list[ScrapedColumns]) -> _Target | None:
        target = self._targets.get(name)
        # A page may be new to the last cell.
        added = max(len(page.cell) for page in pages) if target is None else 0
        if self.cell_count + added > self._cell_count_max:
            return None
        if target is None:
            target = self._targets[name] = _Target(name)
        return target


def _in_order(pages: list[ScrapedColumns]) -> list[ScrapedColumns]:
    """Pages in order of time; two of one time in the same order however they came."""
    pages = sorted(pages, key=lambda page: page.time_ns)
    if all(one.time_ns < after.time_ns for one, after in pairwise(pages)):
        return pages
    return sorted(
        pages, key=lambda page: (page.time_ns, page.cell.tobytes(), page.value.tobytes())
    )


@dataclass(slots=True)
class _Shape:
    """What follows from which cells a page has; `page_cell` is the page's own array, by which it is known again."""

    page_cell: NDArray[np.int32]
    level_at: NDArray[np.intp]
    level: Ints
    running_at: NDArray[np.intp]
    running_cell: Ints
    running: Ints
    running_streams: Ints
    families: frozenset[object]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The numbers of a page that run: one row a cell, and the streams they are of, each once."""

    cell: Ints
    stream: Ints
    streams: Ints
    value: Floats
    bucket: log_linear.Buckets
    start_ns: Ints | None

    def without(self, left_out: NDArray[np.bool_]) -> _Rows:
        """These, without some streams; bool[all streams]."""
        kept = ~left_out[self.stream]
        return _Rows(
            self.cell[kept],
            self.stream[kept],
            self.streams[~left_out[self.streams]],
            self.value[kept],
            self.bucket[kept],
            None if self.start_ns is None else self.start_ns[kept],
        )

    def start_of(self, stream_count: int) -> Ints:
        """int64[all streams], when each began to count; 0 where that is not known."""
        found = np.zeros(stream_count, np.int64)
        if self.start_ns is not None:
            found[self.stream] = self.start_ns
        return found


@dataclass(slots=True)
class _Window:
    """What has been added up in the window at hand."""

    gain: Floats
    interval_ns: Ints
    points: Ints
    level: Floats
    level_points: Ints
    level_ns: Ints
    told: NDArray[np.bool_]


class _Target:
    """The streams of one target; columns by cell or by stream."""

    def __init__(self, name: str) -> None:
        self.table = StreamTable(name)
        self._stream: dict[tuple[PointStream, Placed], int] = {}
        self._cell: dict[tuple[int, float], int] = {}
        self._source: StreamTable | None = None
        self._own_cell: Ints = np.empty(0, np.int64)
        self._shape: _Shape | None = None
        self._window = _window_of(0, 0)
        self.page_ns = 0
        self.families: frozenset[object] = frozenset()
        self.last: Floats = np.empty(0)
        self.bucket: log_linear.Buckets = np.empty(0, np.int16)
        self.last_ns: Ints = np.zeros(0, np.int64)
        self.start_ns: Ints = np.zeros(0, np.int64)

    def begin_window(self) -> None:
        """Begin with nothing gained."""
        self._window = _window_of(len(self.last), len(self.last_ns))

    def take(self, page: ScrapedColumns, counts: SeriesCounts) -> None:
        """Take a page that is not older than the one before."""
        shape = self._shape_of(page)
        if len(shape.level_at):
            self._take_levels(page, shape, counts)
        if len(shape.running_at):
            self._take_running(page, shape, counts)
        if page.is_whole and page.time_ns > self.page_ns:
            self.families = shape.families
        elif not page.is_whole:
            # What is left out of a page did not begin after it.
            self.families = frozenset()
        self.page_ns = max(self.page_ns, page.time_ns)

    def forget(self, gone: NDArray[np.bool_], held: Iterable[ScrapedColumns]) -> None:
        """Know nothing more of some streams, but for those that pages speak of which are not taken yet."""
        gone = gone.copy()
        for page in held:
            gone[self.table.stream_of_cell[self._cells_of(page)]] = False
        self.last_ns[gone] = self.start_ns[gone] = 0
        self.last[gone[self.table.stream_of_cell]] = np.nan

    @property
    def is_mostly_gone(self) -> bool:
        """Whether more of its streams are forgotten than known; levels are of use for a window alone."""
        running = self.table.reading != Reading.LEVEL
        return 2 * int((running & (self.last_ns == 0)).sum()) > len(self.last_ns)

    def without_gone(self) -> _Target:
        """The same between two windows, without the numbers of streams that are forgotten."""
        slim = _Target(self.table.target)
        slim.page_ns, slim.families = self.page_ns, self.families
        stream_of_cell = self.table.stream_of_cell
        kept = np.flatnonzero(self.last_ns[stream_of_cell] > 0)
        cells = [slim.own(self.table, int(stream_of_cell[cell]), cell) for cell in kept.tolist()]
        slim.lengthen()
        slim.last[cells], slim.bucket[cells] = self.last[kept], self.bucket[kept]
        streams = slim.table.stream_of_cell[cells]
        slim.last_ns[streams] = self.last_ns[stream_of_cell[kept]]
        slim.start_ns[streams] = self.start_ns[stream_of_cell[kept]]
        return slim

    def gains(self) -> ScrapedGains:
        """What the window came to."""
        window, table = self._window, self.table
        reading = table.reading
        level = np.flatnonzero(window.level_points)
        rate = np.flatnonzero(
            (window.points > 0) & (window.interval_ns > 0) & (reading == Reading.RATE)
        )
        is_histogram = reading >= Reading.DISTRIBUTION
        histogram = np.flatnonzero((window.points > 0) & is_histogram)
        row_of_stream = np.full(len(self.last_ns), -1, np.int64)
        row_of_stream[histogram] = np.arange(len(histogram))
        row = row_of_stream[table.stream_of_cell]
        cell = np.flatnonzero((row >= 0) & (window.gain > 0))
        place, count = log_linear.sum_by_key(
            (row[cell] << 16) | self.bucket[cell].astype(np.int64),
            np.rint(window.gain[cell]).astype(np.int64),
        )
        offset = np.searchsorted(place >> 16, np.arange(len(histogram) + 1))
        told = np.flatnonzero(window.told & is_histogram)
        return ScrapedGains(
            table=table,
            level=level,
            level_value=window.level[level],
            level_points=window.level_points[level],
            rate=rate,
            rate_value=window.gain[table.first_cell[rate]] / (window.interval_ns[rate] / 1e9),
            rate_points=window.points[rate],
            histogram=histogram,
            gained=np.diff(np.concatenate(([0], np.cumsum(count)))[offset]).astype(np.float64),
            interval_ns=window.interval_ns[histogram],
            points=window.points[histogram],
            offset=offset.astype(np.int64),
            bucket=(place & 0xFFFF).astype(np.int16),
            count=count,
            told=told,
            told_ns=self.last_ns[told],
        )

    def _take_levels(self, page: ScrapedColumns, shape: _Shape, counts: SeriesCounts) -> None:
        window, stream, value = self._window, shape.level, page.value[shape.level_at]
        known = ~np.isnan(value)
        again = window.level_ns[stream] == page.time_ns
        if again.any():
            counts.duplicates += int((again & known).sum())
        if not known.all():
            stream, value, again = stream[known], value[known], again[known]
        window.level[stream] = value
        window.level_points[stream] += ~again
        window.level_ns[stream] = page.time_ns

    def _take_running(self, page: ScrapedColumns, shape: _Shape, counts: SeriesCounts) -> None:
        """Counters and histograms: what they gained since they were last told of."""
        rows = self._without_seen(page, _rows_of(page, shape), counts)
        window, streams = self._window, rows.streams
        last_ns, before = self.last_ns[streams], self.last[rows.cell]
        interval_ns = page.time_ns - last_ns
        counted = last_ns > 0
        # A cell that its stream had not before has counted nothing until now.
        diff = rows.value - np.nan_to_num(before)
        start_of = rows.start_of(len(self.last_ns))
        if not counted.all():
            self._begin(page, streams, start_of[streams], interval_ns, counted)
            diff[~_marked(streams[counted], len(self.last_ns))[rows.stream]] = 0.0
        began = self._restarted(page.time_ns, streams, start_of[streams], interval_ns)
        diff, value = self._settle_falls(rows, before, diff, start_of, began)
        counts.resets += int(began.sum())
        window.gain[rows.cell] += diff
        window.interval_ns[streams[counted]] += interval_ns[counted]
        window.points[streams[counted]] += 1
        window.told[streams] = True
        self.last[rows.cell] = value
        self.bucket[rows.cell] = rows.bucket
        self.last_ns[streams] = page.time_ns
        self.start_ns[streams] = start_of[streams]

    def _without_seen(self, page: ScrapedColumns, rows: _Rows, counts: SeriesCounts) -> _Rows:
        """Rows without those of streams that have no number, or whose time was told of already."""
        last_ns = self.last_ns[rows.streams]
        seen = last_ns >= page.time_ns
        absent = np.isnan(rows.value)
        if not seen.any() and not absent.any():
            return rows
        left_out = _marked(rows.stream[absent], len(self.last_ns))
        seen &= ~left_out[rows.streams]
        same = int((seen & (last_ns == page.time_ns)).sum())
        counts.duplicates += same
        if over := int(seen.sum()) - same:
            counts.dropped[SIGNAL_METRICS, RejectReason.OVERLAP] += over
        left_out[rows.streams[seen]] = True
        return rows.without(left_out)

    def _begin(
        self,
        page: ScrapedColumns,
        streams: Ints,
        start_ns: Ints,
        interval_ns: Ints,
        counted: NDArray[np.bool_],
    ) -> None:
        """Judge streams that are new: those that began since the last page count from then on, the others not yet."""
        for at in np.flatnonzero(~counted).tolist():
            family = self.table.identity[int(streams[at])].family
            if family in self.families and self.page_ns < page.time_ns:
                interval_ns[at] = page.time_ns - max(self.page_ns, int(start_ns[at]))
                counted[at] = True

    def _restarted(
        self, time_ns: int, streams: Ints, start_ns: Ints, interval_ns: Ints
    ) -> NDArray[np.bool_]:
        """bool[all streams], those that say themselves that they began anew; their interval is from then on."""
        last_ns = self.last_ns[streams]
        moved = (last_ns > 0) & (start_ns != self.start_ns[streams]) & (start_ns >= last_ns)
        if moved.any():
            since_ns = np.maximum(time_ns - start_ns, 0)
            interval_ns[moved] = np.where(since_ns > 0, since_ns, interval_ns)[moved]
        return _marked(streams[moved], len(self.last_ns))

    def _settle_falls(
        self, rows: _Rows, before: Floats, diff: Floats, start_of: Ints, began: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Gains and values once streams that fell count from 0, which `began` is told, and rounded sums stay."""
        value = rows.value
        fell = (diff < 0) & ~began[rows.stream]
        if fell.any():
            rounded = fell & (-diff < FALL_RATIO * before)
            rounded &= self.table.reading[rows.stream] == Reading.RATE
            rounded &= self.start_ns[rows.stream] == start_of[rows.stream]
            value = np.where(rounded, before, value)
            diff = np.where(rounded, 0.0, diff)
            began[rows.stream[fell & ~rounded]] = True
        if began.any():
            diff = np.where(began[rows.stream], value, diff)
        return diff, value

    def _shape_of(self, page: ScrapedColumns) -> _Shape:
        if self._shape is None or self._shape.page_cell is not page.cell:
            cell, table = self._cells_of(page), self.table
            stream = table.stream_of_cell[cell].astype(np.int64)
            is_level = table.reading[stream] == Reading.LEVEL
            level_at, running_at = np.flatnonzero(is_level), np.flatnonzero(~is_level)
            running_streams = np.unique(stream[running_at])
            families = {table.identity[each].family for each in running_streams.tolist()}
            self._shape = _Shape(
                page_cell=page.cell,
                level_at=level_at,
                level=stream[level_at],
                running_at=running_at,
                running_cell=cell[running_at],
                running=stream[running_at],
                running_streams=running_streams,
                families=frozenset(families),
            )
        return self._shape

    def _cells_of(self, page: ScrapedColumns) -> NDArray[np.int64]:
        """Own cells of a page's."""
        table = page.table
        if self._source is not table:
            self._source, self._own_cell = table, np.empty(0, np.int64)
        if len(self._own_cell) < table.cell_count:
            first = len(self._own_cell)
            stream_of_cell = table.stream_of_cell
            added = [
                self.own(table, int(stream_of_cell[cell]), cell)
                for cell in range(first, table.cell_count)
            ]
            self._own_cell = np.concatenate((self._own_cell, np.array(added, np.int64)))
            self.lengthen()
        return self._own_cell[page.cell]

    def own(self, table: StreamTable, stream: int, cell: int) -> int:
        """The own number of a cell of another table."""
        # A stream that is placed elsewhere, by other settings, is another one.
        key = (table.identity[stream], table.placed[stream])
        bound = table.bound[cell]
        own = self._stream.get(key)
        if own is None:
            own = self._stream[key] = self.table.add_stream(*key, bound=bound)
            self._cell[own, bound] = int(self.table.first_cell[own])
        if math.isnan(bound):
            return int(self.table.first_cell[own])
        found = self._cell.get((own, bound))
        if found is None:
            found = self._cell[own, bound] = self.table.add_cell(own, bound=bound)
        return found

    def lengthen(self) -> None:
        """Have room for what was added to the table."""
        cells, streams = self.table.cell_count, self.table.stream_count
        self.last = _longer(self.last, cells, np.nan)
        self.bucket = _longer(self.bucket, cells, NO_BUCKET)
        self.last_ns = _longer(self.last_ns, streams, 0)
        self.start_ns = _longer(self.start_ns, streams, 0)
        window = self._window
        window.gain = _longer(window.gain, cells, 0.0)
        window.level = _longer(window.level, streams, np.nan)
        window.interval_ns = _longer(window.interval_ns, streams, 0)
        window.points = _longer(window.points, streams, 0)
        window.level_points = _longer(window.level_points, streams, 0)
        window.level_ns = _longer(window.level_ns, streams, 0)
        window.told = _longer(window.told, streams, fill=False)


def _rows_of(page: ScrapedColumns, shape: _Shape) -> _Rows:
    at = shape.running_at
    return _Rows(
        shape.running_cell,
        shape.running,
        shape.running_streams,
        page.value[at],
        page.bucket[at],
        None if page.start_ns is None else page.start_ns[at],
    )


def _marked(streams: Ints, stream_count: int) -> NDArray[np.bool_]:
    found = np.zeros(stream_count, np.bool_)
    found[streams] = True
    return found


def _longer(column: NDArray[Any], length: int, fill: float) -> NDArray[Any]:
    added = np.full(length - len(column), fill, column.dtype)
    return np.concatenate((column, added))


def _window_of(cells: int, streams: int) -> _Window:
    return _Window(
        gain=np.zeros(cells),
        interval_ns=np.zeros(streams, np.int64),
        points=np.zeros(streams, np.int64),
        level=np.full(streams, np.nan),
        level_points=np.zeros(streams, np.int64),
        level_ns=np.zeros(streams, np.int64),
        told=np.zeros(streams, np.bool_),
    )
