"""What a replay decided, cut into slices of time that are handed on one after another.

A slice holds the samples of an hour, or of whatever is asked for, of all series that were decided in it; so
whoever writes them holds no more than that. A sample belongs to the slice that its time lies in, and its time is the end of its
window: the first instant at which a scrape could have seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.decide import Decision
from sentinel.core.model import VerdictBlock, WindowBlock
from sentinel.core.model.verdict_slices import VERDICT_COLUMNS, VerdictSlice


class SliceSink(Protocol):
    """Where slices go."""

    def write(self, part: VerdictSlice) -> None:
        """Take one, in order of time; one span of time may come in several parts, each of other series."""
        ...


class SliceCutter:
    """Collects decisions in order of time, and hands on each slice when the next one begins."""

    def __init__(
        self,
        sink: SliceSink,
        *,
        slice_ns: int,
        from_ns: int,
        to_ns: int,
        series: NDArray[np.int64],
        ids: Mapping[int, int] | None = None,
    ) -> None:
        """Make one.

        Args:
            sink: where slices go.
            slice_ns: their length; they begin at multiples of it.
            from_ns: no sample before it is handed on.
            to_ns: every sample is before it.
            series: int64[S], ascending, the ids that are wanted.
            ids: the id of each series by the number it has in the decisions; None where that is its id.
        """
        self._sink = sink
        self._slice_ns = slice_ns
        self._from_ns, self._to_ns = from_ns, to_ns
        self._wanted = series
        self._ids = None if ids is None else _table(ids)
        self._number: int | None = None
        self._parts: list[tuple[VerdictBlock, NDArray[np.int64]]] = []

    def note(self, block: WindowBlock, decision: Decision) -> None:
        """Take what a piece of windows led to; `OnDecided` of a replay."""
        del block
        verdicts = decision.verdicts
        step_ns, count = verdicts.step_ns, len(verdicts.score)
        # The sample of window n is at the end of that.
        first = max(0, -(-(self._from_ns - verdicts.start_ns) // step_ns) - 1)
        last = min(count, -(-(self._to_ns - verdicts.start_ns) // step_ns) - 1)
        ids = verdicts.series if self._ids is None else self._ids[verdicts.series]
        while first < last:
            number = (verdicts.start_ns + (first + 1) * step_ns) // self._slice_ns
            end_ns = (number + 1) * self._slice_ns
            # The windows that end before the slice does.
            until = min(last, -(-(end_ns - verdicts.start_ns) // step_ns) - 1)
            if number != self._number:
                self.finish()
                self._number = number
            self._parts.append((verdicts.windows(first, until), ids))
            first = until

    def finish(self) -> None:
        """Hand on what is left."""
        parts, self._parts = self._parts, []
        if self._number is None or not parts:
            return
        found = self._joined(parts, self._number)
        if found is not None:
            self._sink.write(found)

    def _joined(
        self, parts: list[tuple[VerdictBlock, NDArray[np.int64]]], number: int
    ) -> VerdictSlice | None:
        step_ns = parts[0][0].step_ns
        ids = np.unique(np.concatenate([own for _, own in parts]))
        series = np.asarray(ids[np.isin(ids, self._wanted)], np.int64)
        first = -(-number * self._slice_ns // step_ns)
        count = -(-(number + 1) * self._slice_ns // step_ns) - first
        start_ns = (first - 1) * step_ns
        columns = np.full((len(VERDICT_COLUMNS), count, len(series)), np.nan, np.float32)
        for verdicts, own in parts:
            at = (verdicts.start_ns - start_ns) // step_ns
            windows = slice(at, at + len(verdicts.score))
            is_wanted = np.isin(own, series)
            places = np.searchsorted(series, own[is_wanted])
            for column, name in enumerate(VERDICT_COLUMNS):
                columns[column][windows, places] = getattr(verdicts, name)[:, is_wanted]
        known = ~np.isnan(columns).all(axis=(0, 1))
        if not known.any():
            return None
        return VerdictSlice(
            start_ns=start_ns,
            step_ns=step_ns,
            series=series[known],
            columns=np.ascontiguousarray(columns[:, :, known]),
        )


def _table(ids: Mapping[int, int]) -> NDArray[np.int64]:
    found = np.full(max(ids, default=0) + 1, -1, np.int64)
    for number, series_id in ids.items():
        found[number] = series_id
    return found
