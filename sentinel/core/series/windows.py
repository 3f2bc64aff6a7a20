"""Closed windows, by the names of their series; the shell turns names into ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    Exemplar,
    HistogramBlock,
    Kind,
    LogLine,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.stats import log_linear

Window = TypeVar("Window")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedWindow:
    """One window of every live series.

    Attributes:
        start_ns: its start (Unix, a multiple of step_ns).
        step_ns: its width.
        keys: the series; the same tuple object as in the window before when the set did not change.
        kind: int8[S], `Kind` of each.
        value, weight: float32[S], as in `WindowBlock`.
        heard: bool[S].
        histograms: of the latency series, rows by position in `keys`; None when no calls came.
        exemplars: of each place, the first and the slowest of the calls worth naming, failed and not.
        logs: error lines not seen in the last hour, a few at most.
    """

    start_ns: int
    step_ns: int
    keys: tuple[SeriesKey, ...]
    kind: NDArray[np.int8]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    heard: NDArray[np.bool_]
    histograms: HistogramBlock | None = None
    exemplars: tuple[Exemplar, ...] = ()
    logs: tuple[LogLine, ...] = ()

    @property
    def end_ns(self) -> int:
        """Its end."""
        return self.start_ns + self.step_ns

    @property
    def series_counts(self) -> dict[Kind, int]:
        """How many series of each kind there are."""
        counts = np.bincount(self.kind, minlength=len(Kind))
        return {kind: int(counts[kind]) for kind in Kind}

    def named(self) -> list[tuple[SeriesKey, Kind]]:
        """The series as `SeriesStore.register` takes them."""
        return [(key, Kind(int(kind))) for key, kind in zip(self.keys, self.kind, strict=True)]

    def without(self, left_out: Collection[SeriesKey]) -> ClosedWindow:
        """The same window without some of its series."""
        kept = np.array([key not in left_out for key in self.keys], np.bool_)
        return replace(
            self,
            keys=tuple(key for key in self.keys if key not in left_out),
            kind=self.kind[kept],
            value=self.value[kept],
            weight=self.weight[kept],
            heard=self.heard[kept],
            histograms=_kept(self.histograms, kept),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Generic[Window]):
    """What one call of `Reduction.close` closed, in order of time.

    Attributes:
        windows: the windows.
        watermark_ns: where time stands.
        faults: what ended the reduction of a window each; those windows are lost, and counted.
    """

    windows: tuple[Window, ...] = ()
    watermark_ns: int = 0
    faults: tuple[Exception, ...] = ()


ClosedWindows = Closed[ClosedWindow]


def to_block(window: ClosedWindow, ids: Mapping[SeriesKey, int]) -> WindowBlock:
    """The window as a block of one, its series in ascending order of their ids.

    Raises:
        KeyError: a series of the window has no id.
    """
    unordered = np.fromiter((ids[key] for key in window.keys), np.int64, len(window.keys))
    order = np.argsort(unordered, kind="stable")
    return WindowBlock(
        start_ns=window.start_ns,
        step_ns=window.step_ns,
        series=unordered[order],
        kind=window.kind[order],
        value=window.value[order][np.newaxis],
        weight=window.weight[order][np.newaxis],
        heard=window.heard[order][np.newaxis],
        histograms=_reordered(window.histograms, order),
    )


def _kept(histograms: HistogramBlock | None, kept: NDArray[np.bool_]) -> HistogramBlock | None:
    if histograms is None:
        return None
    rows = np.flatnonzero(kept[histograms.row])
    position = np.cumsum(kept) - 1
    offset, source = log_linear.rows_in_order(histograms.offset, rows)
    return HistogramBlock(
        row=position[histograms.row[rows]].astype(np.int32),
        offset=offset.astype(np.int32),
        bucket=histograms.bucket[source],
        count=histograms.count[source],
    )


def _reordered(
    histograms: HistogramBlock | None, order: NDArray[np.intp]
) -> HistogramBlock | None:
    if histograms is None:
        return None
    position = np.empty(len(order), np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    row = position[histograms.row]
    by_row = np.argsort(row, kind="stable")
    offset, source = log_linear.rows_in_order(histograms.offset, by_row)
    return HistogramBlock(
        row=row[by_row],
        offset=offset.astype(np.int32),
        bucket=histograms.bucket[source],
        count=histograms.count[source],
    )
