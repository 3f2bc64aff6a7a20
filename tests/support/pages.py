"""Metrics pages as columns, made by hand for the tests of the reduction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sentinel.core.model import (
    NO_BUCKET,
    Placed,
    PointStream,
    Reading,
    SampleBatch,
    Scope,
    ScrapedColumns,
    StreamTable,
)
from sentinel.core.stats import log_linear
from tests.support.batches import at

Numbers = Mapping[str, float | tuple[float, ...]]
"""A page: a number for each of its series, or the counts of a histogram's buckets."""

BOUNDS_S = (0.1, 1.0, float("inf"))
BUCKETS = log_linear.bucket_of(np.array([0.05, 0.5, 1.0]))
READINGS = {"l": Reading.LEVEL, "r": Reading.RATE, "d": Reading.DISTRIBUTION, "c": Reading.CALLS}


class PageMaker:
    """Makes the pages of one target; what a series is, its first letter says: level, rate, distribution or calls."""

    def __init__(self, target: str = "t", *, service: str = "ledger") -> None:
        self._target = target
        self._service = service
        self.table = StreamTable(target)
        self._stream: dict[str, int] = {}

    def begin_new_table(self) -> None:
        """Number the series anew."""
        self.table = StreamTable(self._target)
        self._stream = {}

    def placed(self, name: str) -> Placed:
        """What a series is."""
        metric, _, route = name.partition("/")
        reading = READINGS[name[0]]
        stage = "edge" if reading is Reading.CALLS else "metrics"
        return Placed(
            scope=Scope(self._service, stage, route or "all"), signal=metric, reading=reading
        )

    def identity(self, name: str) -> PointStream:
        """The stream of a series; what stands before a slash names its metric."""
        return PointStream((self._target, "", name.partition("/")[0], "", name))

    def columns(
        self,
        time_s: float,
        numbers: Numbers,
        *,
        starts_s: Mapping[str, float] | None = None,
        is_whole: bool = True,
    ) -> ScrapedColumns:
        """A page's columns."""
        cell: list[int] = []
        bucket: list[int] = []
        value: list[float] = []
        start_ns: list[int] = []
        for name, number in numbers.items():
            counts = number if isinstance(number, tuple) else (number,)
            stream = self._stream_of(name)
            first = int(self.table.first_cell[stream])
            cell += range(first, first + len(counts))
            bucket += BUCKETS.tolist() if isinstance(number, tuple) else [NO_BUCKET]
            value += counts
            told = (starts_s or {}).get(name)
            start_ns += [0 if told is None else at(told)] * len(counts)
        return ScrapedColumns(
            table=self.table,
            time_ns=at(time_s),
            cell=np.array(cell, np.int32),
            bucket=np.array(bucket, np.int16),
            value=np.array(value, np.float64),
            start_ns=None if starts_s is None else np.array(start_ns, np.int64),
            is_whole=is_whole,
        )

    def batch(
        self, time_s: float, numbers: Numbers, *, starts_s: Mapping[str, float] | None = None
    ) -> SampleBatch:
        """The same as a batch."""
        columns = self.columns(time_s, numbers, starts_s=starts_s)
        return SampleBatch(scraped=(columns,), services=frozenset({self._service}))

    def _stream_of(self, name: str) -> int:
        if name not in self._stream:
            placed = self.placed(name)
            is_histogram = placed.reading >= Reading.DISTRIBUTION
            stream = self._stream[name] = self.table.add_stream(
                self.identity(name), placed, bound=BOUNDS_S[0] if is_histogram else float("nan")
            )
            for bound in BOUNDS_S[1:] if is_histogram else ():
                self.table.add_cell(stream, bound=bound)
        return self._stream[name]
