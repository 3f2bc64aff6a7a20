"""The numbers of a metrics page as rows: which are levels, which run, and what of that follows from its cells alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import ScrapedColumns
from sentinel.core.series.scraped.gains import Floats, Ints
from sentinel.core.stats import log_linear


@dataclass(slots=True)
class PageShape:
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
class RunningRows:
    """The numbers of a page that run: one row a cell, and the streams they are of, each once."""

    cell: Ints
    stream: Ints
    streams: Ints
    value: Floats
    bucket: log_linear.Buckets
    start_ns: Ints | None

    def without(self, left_out: NDArray[np.bool_]) -> RunningRows:
        """These, without some streams; bool[all streams]."""
        kept = ~left_out[self.stream]
        return RunningRows(
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


def rows_of(page: ScrapedColumns, shape: PageShape) -> RunningRows:
    """The rows of a page of this shape."""
    at = shape.running_at
    return RunningRows(
        shape.running_cell,
        shape.running,
        shape.running_streams,
        page.value[at],
        page.bucket[at],
        None if page.start_ns is None else page.start_ns[at],
    )


def marked(streams: Ints, stream_count: int) -> NDArray[np.bool_]:
    """bool[all streams], true for these."""
    found = np.zeros(stream_count, np.bool_)
    found[streams] = True
    return found
