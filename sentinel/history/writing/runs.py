"""Parts of slices as runs of samples for remote write, with a mark where a series ends.

A scrape that no longer finds a series marks it as stale, so that Prometheus stops drawing it at once and not five minutes
later. The same mark is written here with the first window of which nothing is known, unless a whole slice lies between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing.messages import Run
from sentinel.history.writing.samples import METRICS, SampleNames, as_scraped, shown

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The number that says a series has ended; a NaN unlike all others."""


class Runs:
    """Turns the parts of slices, in order of time, into runs; remembers which series had a sample at the end of theirs."""

    def __init__(self, names: SampleNames, *, from_ns: int, to_ns: int) -> None:
        """For the samples of `[from_ns, to_ns)`; what comes before only says what ends in it."""
        self._names = names
        self._from_ns, self._to_ns = from_ns, to_ns
        # By metric and series: the end and the width of the last window, where that has a sample.
        self._open: list[dict[int, tuple[int, int]]] = [{} for _ in METRICS]

    def of(self, part: VerdictSlice) -> Iterator[Run]:
        """The runs of a part, by metric and series."""
        times = part.times_ns
        is_written = (times >= self._from_ns) & (times < self._to_ns)
        times_ms = (times // 1_000_000).tolist()
        ids = part.series.tolist()
        for column, metric in enumerate(METRICS):
            mask = shown(part, column)
            was_open = self._open[column]
            last = [was_open.pop(one, (0, 0))[0] for one in ids]
            before = np.array(last, np.int64) == part.start_ns
            has_ended = np.vstack([before, mask[:-1]]) & ~mask
            told = (mask | has_ended) & is_written[:, None]
            for at in np.flatnonzero(mask[-1]).tolist():
                was_open[ids[at]] = (part.end_ns, part.step_ns)
            for at in np.flatnonzero(told.any(axis=0)).tolist():
                rows = np.flatnonzero(told[:, at])
                values = as_scraped(part.columns[column][rows, at])
                yield Run(
                    metric=metric,
                    labels=self._names.of(ids[at]),
                    times_ms=[times_ms[row] for row in rows.tolist()],
                    values=[
                        STALE if is_over else value
                        for value, is_over in zip(
                            values, has_ended[rows, at].tolist(), strict=True
                        )
                    ],
                )

    def ended(self, start_ns: int, end_ns: int) -> Iterator[Run]:
        """The marks of series that no part of the slice `[start_ns, end_ns)` had, all of whose parts were given."""
        for column, metric in enumerate(METRICS):
            was_open = self._open[column]
            for series_id in [one for one, (last_ns, _) in was_open.items() if last_ns < start_ns]:
                last_ns, step_ns = was_open.pop(series_id)
                at_ns = last_ns + step_ns
                if start_ns <= at_ns < end_ns and self._from_ns <= at_ns < self._to_ns:
                    yield Run(
                        metric=metric,
                        labels=self._names.of(series_id),
                        times_ms=[at_ns // 1_000_000],
                        values=[STALE],
                    )
