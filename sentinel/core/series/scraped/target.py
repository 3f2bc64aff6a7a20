"""The last numbers of one target's streams, and what its pages of the window at hand add to them; see `pages` for the table."""

from __future__ import annotations

import math
from collections.abc import Iterable

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
from sentinel.core.series.scraped.gains import Floats, Ints, ScrapedGains, WindowSums, longer
from sentinel.core.series.scraped.rows import PageShape, RunningRows, marked, rows_of
from sentinel.core.series.streams import FALL_RATIO, LEFT_OUT_RATIO
from sentinel.core.stats import log_linear


class ScrapedTarget:
    """The streams of one target; columns by cell or by stream."""

    def __init__(self, name: str) -> None:
        self.table = StreamTable(name)
        self._stream: dict[tuple[PointStream, Placed], int] = {}
        self._cell: dict[tuple[int, float], int] = {}
        self._source: StreamTable | None = None
        self._own_cell: Ints = np.empty(0, np.int64)
        self._shape: PageShape | None = None
        self._window = WindowSums.of_nothing(cells=0, streams=0)
        self._anew: set[object] = set()
        self.page_ns = 0
        self.families: frozenset[object] = frozenset()
        self.last: Floats = np.empty(0)
        self.bucket: log_linear.Buckets = np.empty(0, np.int16)
        self.last_ns: Ints = np.zeros(0, np.int64)
        self.start_ns: Ints = np.zeros(0, np.int64)
        self.interval_ns: Ints = np.zeros(0, np.int64)

    def begin_window(self) -> None:
        """Begin with nothing gained."""
        self._anew.clear()
        self._window = WindowSums.of_nothing(cells=len(self.last), streams=len(self.last_ns))

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
        self.last_ns[gone] = self.start_ns[gone] = self.interval_ns[gone] = 0
        self.last[gone[self.table.stream_of_cell]] = np.nan

    @property
    def is_mostly_gone(self) -> bool:
        """Whether more of its streams are forgotten than known; levels are of use for a window alone."""
        running = self.table.reading != Reading.LEVEL
        return 2 * int((running & (self.last_ns == 0)).sum()) > len(self.last_ns)

    def without_gone(self) -> ScrapedTarget:
        """The same between two windows, without the numbers of streams that are forgotten."""
        slim = ScrapedTarget(self.table.target)
        slim.page_ns, slim.families = self.page_ns, self.families
        stream_of_cell = self.table.stream_of_cell
        kept = np.flatnonzero(self.last_ns[stream_of_cell] > 0)
        cells = [slim.own(self.table, int(stream_of_cell[cell]), cell) for cell in kept.tolist()]
        slim.lengthen()
        slim.last[cells], slim.bucket[cells] = self.last[kept], self.bucket[kept]
        streams = slim.table.stream_of_cell[cells]
        slim.last_ns[streams] = self.last_ns[stream_of_cell[kept]]
        slim.start_ns[streams] = self.start_ns[stream_of_cell[kept]]
        slim.interval_ns[streams] = self.interval_ns[stream_of_cell[kept]]
        return slim

    def gains(self) -> ScrapedGains:
        """What the window came to."""
        if self._anew:
            gone = np.array([each.family in self._anew for each in self.table.identity], np.bool_)
            self._window.points[gone & (self.table.reading != Reading.LEVEL)] = 0
        return self._window.gains(self.table, self.bucket, self.last_ns)

    def _take_levels(self, page: ScrapedColumns, shape: PageShape, counts: SeriesCounts) -> None:
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

    def _take_running(self, page: ScrapedColumns, shape: PageShape, counts: SeriesCounts) -> None:
        """Counters and histograms: what they gained since they were last told of."""
        rows = self._without_seen(page, rows_of(page, shape), counts)
        window, streams = self._window, rows.streams
        last_ns, before = self.last_ns[streams], self.last[rows.cell]
        interval_ns = page.time_ns - last_ns
        counted = last_ns > 0
        since_last_ns = np.where(counted, interval_ns, 0)
        usual_ns = self.interval_ns[streams]
        left_out = (usual_ns > 0) & (interval_ns > LEFT_OUT_RATIO * usual_ns)
        # A cell that its stream had not before has counted nothing until now.
        diff = rows.value - np.nan_to_num(before)
        start_of = rows.start_of(len(self.last_ns))
        if not counted.all():
            self._begin(page, streams, start_of[streams], interval_ns, counted)
            diff[~marked(streams[counted], len(self.last_ns))[rows.stream]] = 0.0
        began = self._restarted(page.time_ns, streams, start_of[streams], interval_ns)
        said_so = began.copy()
        diff, value = self._settle_falls(rows, before, diff, start_of, began)
        counts.resets += int(began.sum())
        # Since when these have counted is not known.
        anew = marked(streams[left_out], len(self.last_ns)) & began & ~said_so
        if anew.any():
            found = np.flatnonzero(anew).tolist()
            self._anew.update(self.table.identity[stream].family for stream in found)
        window.gain[rows.cell] += diff
        window.interval_ns[streams[counted]] += interval_ns[counted]
        window.points[streams[counted]] += 1
        window.told[streams] = True
        self.last[rows.cell] = value
        self.bucket[rows.cell] = rows.bucket
        self.last_ns[streams] = page.time_ns
        self.start_ns[streams] = start_of[streams]
        self.interval_ns[streams] = since_last_ns

    def _without_seen(
        self, page: ScrapedColumns, rows: RunningRows, counts: SeriesCounts
    ) -> RunningRows:
        """Rows without those of streams that have no number, or whose time was told of already."""
        last_ns = self.last_ns[rows.streams]
        seen = last_ns >= page.time_ns
        absent = np.isnan(rows.value)
        if not seen.any() and not absent.any():
            return rows
        left_out = marked(rows.stream[absent], len(self.last_ns))
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
        return marked(streams[moved], len(self.last_ns))

    def _settle_falls(
        self,
        rows: RunningRows,
        before: Floats,
        diff: Floats,
        start_of: Ints,
        began: NDArray[np.bool_],
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

    def _shape_of(self, page: ScrapedColumns) -> PageShape:
        if self._shape is None or self._shape.page_cell is not page.cell:
            cell, table = self._cells_of(page), self.table
            stream = table.stream_of_cell[cell].astype(np.int64)
            is_level = table.reading[stream] == Reading.LEVEL
            level_at, running_at = np.flatnonzero(is_level), np.flatnonzero(~is_level)
            running_streams = np.unique(stream[running_at])
            families = {table.identity[each].family for each in running_streams.tolist()}
            self._shape = PageShape(
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
        self.last = longer(self.last, cells, np.nan)
        self.bucket = longer(self.bucket, cells, NO_BUCKET)
        self.last_ns = longer(self.last_ns, streams, 0)
        self.start_ns = longer(self.start_ns, streams, 0)
        self.interval_ns = longer(self.interval_ns, streams, 0)
        self._window.lengthen(cells=cells, streams=streams)
