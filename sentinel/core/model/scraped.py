"""What a scrape of a metrics page brings: columns, because a page says the same of the same streams again and again.

A page of 5,000 samples is 5,000 streams that were on it ten seconds ago as well. So a stream is looked at once, when it
is new, and has a number in its target's table from then on; what comes each time is an array of numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model.series import Scope
from sentinel.core.model.streams import PointStream

NO_BUCKET = -1
"""The bucket of a cell that is no histogram's."""

_CAPACITY = 256

Number = TypeVar("Number", np.int8, np.int32)


class Reading(IntEnum):
    """What a stream's numbers become.

    LEVEL is taken as it is. RATE never falls but by a reset, and becomes what it gains a second. DISTRIBUTION is a
    cumulative histogram of anything. CALLS is one of the durations of calls, or a counter of calls whose durations are not known.
    """

    LEVEL = 0
    RATE = 1
    DISTRIBUTION = 2
    CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a stream is to us.

    Attributes:
        scope: place the resulting series have.
        signal: name of their signal.
        reading: what its numbers become.
        scale: turns a histogram's boundaries into the unit that is wanted; 0.001 for milliseconds of calls.
        error: True when the calls it counts failed.
        newer_signal, times_only, complete, yields, bare: as of `DistributionPoint`.
    """

    scope: Scope
    signal: str
    reading: Reading
    scale: float = 1.0
    error: bool = False
    newer_signal: str = ""
    times_only: bool = False
    complete: bool = False
    yields: bool = False
    bare: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            msg = "a scale must be above 0"
            raise ValueError(msg)


class StreamTable:
    """The streams of one target, and their cells, numbered in the order they were first seen.

    A stream has one cell, or one a bucket when it is a histogram. The table only grows: a number keeps its meaning for as
    long as the table lives, so that a batch that waits in a queue may refer to it. Who owns it begins a new one of the
    same target when too many of its streams are gone; streams are the same in both when their identity is.

    Attributes:
        target: whose streams they are; unique in the process.
        identity: of each stream.
        placed: of each stream.
        first_cell: of each stream.
        bound: of each cell, the upper boundary of its bucket; NaN for a number's.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.identity: list[PointStream] = []
        self.placed: list[Placed] = []
        self.bound: list[float] = []
        self._stream_of_cell: NDArray[np.int32] = np.zeros(_CAPACITY, np.int32)
        self._first_cell: NDArray[np.int32] = np.zeros(_CAPACITY, np.int32)
        self._reading: NDArray[np.int8] = np.zeros(_CAPACITY, np.int8)

    @property
    def stream_count(self) -> int:
        """How many streams it has."""
        return len(self.placed)

    @property
    def cell_count(self) -> int:
        """How many cells it has."""
        return len(self.bound)

    @property
    def stream_of_cell(self) -> NDArray[np.int32]:
        """int32[cells], to be read only."""
        return self._stream_of_cell[: len(self.bound)]

    @property
    def first_cell(self) -> NDArray[np.int32]:
        """int32[streams], the cell each stream was added with; to be read only."""
        return self._first_cell[: len(self.placed)]

    @property
    def reading(self) -> NDArray[np.int8]:
        """int8[streams], `Reading` of each; to be read only."""
        return self._reading[: len(self.placed)]

    def add_stream(self, identity: PointStream, placed: Placed, *, bound: float = math.nan) -> int:
        """Add a stream with its first cell; its number."""
        stream = len(self.placed)
        if stream >= len(self._reading):
            self._reading = _longer(self._reading)
            self._first_cell = _longer(self._first_cell)
        self._reading[stream] = placed.reading
        self._first_cell[stream] = len(self.bound)
        self.identity.append(identity)
        self.placed.append(placed)
        self.add_cell(stream, bound=bound)
        return stream

    def add_cell(self, stream: int, *, bound: float) -> int:
        """Add a cell to a histogram's stream; its number."""
        cell = len(self.bound)
        if cell >= len(self._stream_of_cell):
            self._stream_of_cell = _longer(self._stream_of_cell)
        self._stream_of_cell[cell] = stream
        self.bound.append(bound)
        return cell


def _longer(column: NDArray[Number]) -> NDArray[Number]:
    # A new array: views of the old one that others hold stay as they are.
    longer = np.zeros(2 * len(column), column.dtype)
    longer[: len(column)] = column
    return longer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScrapedColumns:
    """The numbers of one page, or of those of its samples that have one time.

    `cell` and `bucket` are the same objects for as long as a page has the same samples; who reads them may remember what
    follows from them.

    Attributes:
        table: whose numbers they are.
        time_ns: when they were true.
        cell: int32[n], in the table; each once, and all of a histogram together.
        bucket: int16[n], log-linear bucket of each cell of a histogram, else `NO_BUCKET`.
        value: float64[n], number of each; of a histogram's cell the observations in it, not cumulative over buckets.
            NaN where there is none.
        start_ns: int64[n], when each cell's stream began to count, 0 where that is not known; None for all.
        is_whole: whether all of a page is here, so that what was not on the one before began since.
    """

    table: StreamTable
    time_ns: int
    cell: NDArray[np.int32]
    bucket: NDArray[np.int16]
    value: NDArray[np.float64]
    start_ns: NDArray[np.int64] | None = None
    is_whole: bool = True
