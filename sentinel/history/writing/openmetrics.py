"""Verdicts as files of OpenMetrics text, as `promtool tsdb create-blocks-from openmetrics` reads them.

promtool reads a file once for each two hours in it, and fills a block in memory each time. So the past is cut into
files at midnights, or as often as is asked for, and before one grows too large; no two share two hours of blocks. In a file
the metrics come one after another, in each the series, in each the samples by time: that is what the format demands, and why a file is
written when its span is over, never line by line. A file takes its name once it is whole, and the same past gives the same files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing.samples import METRICS, SampleNames, Written
from sentinel.runtime.verdict_metrics import SERIES_METRICS, has_sample, number_text, quoted

BLOCK_NS = 7_200_000_000_000
"""Prometheus' own blocks begin at multiples of two hours."""

_CELLS_A_FILE = 4_000_000
SUFFIX = ".om"


class OpenMetricsFiles:
    """Writes parts of slices of two hours, each span of time in files of its own."""

    def __init__(
        self,
        folder: Path,
        names: SampleNames,
        *,
        split_ns: int,
        cells_a_file: int = _CELLS_A_FILE,
    ) -> None:
        """Make one.

        Args:
            folder: an existing one that takes the files.
            names: what series are called.
            split_ns: the longest span of a file, a multiple of two hours; files begin at multiples of it.
            cells_a_file: how many windows of series a file may have before the next two hours begin another one.
        """
        self._folder = folder
        self._names = names
        self._split_ns = split_ns
        self._cells_a_file = cells_a_file
        self._parts: list[VerdictSlice] = []
        self._cells = 0
        self.written = Written()
        self.files: list[Path] = []
        self.size_bytes = 0

    def write(self, part: VerdictSlice) -> None:
        """Take a part, in order of time; OSError when a file cannot be written."""
        if self._parts and self._is_over(part):
            self._write_file()
        self._parts.append(part)
        self._cells += part.columns[0].size

    def finish(self) -> None:
        """Write what is left; OSError when a file cannot be written."""
        if self._parts:
            self._write_file()

    def _is_over(self, part: VerdictSlice) -> bool:
        before, now = _first_ns(self._parts[-1]), _first_ns(part)
        if before // BLOCK_NS == now // BLOCK_NS:
            return False
        return before // self._split_ns != now // self._split_ns or (
            self._cells + part.columns[0].size > self._cells_a_file
        )

    def _write_file(self) -> None:
        parts, self._parts, self._cells = self._parts, [], 0
        before = self.written.samples
        for part in parts:
            self.written.note(part)
        if self.written.samples == before:
            return
        begin_ns = _first_ns(parts[0]) // BLOCK_NS * BLOCK_NS
        stamp = datetime.fromtimestamp(begin_ns // 10**9, tz=UTC).strftime("%Y%m%dT%H%MZ")
        path = self._folder / f"sentinel-{stamp}{SUFFIX}"
        draft = path.with_suffix(f"{SUFFIX}.part")
        try:
            with draft.open("wb") as file:
                _write_text(file, parts, self._names)
                file.flush()
                os.fsync(file.fileno())
                self.size_bytes += file.tell()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self.files.append(path)


def _first_ns(part: VerdictSlice) -> int:
    """When the first samples of a part would be."""
    return part.start_ns + part.step_ns


def _write_text(file: BinaryIO, parts: list[VerdictSlice], names: SampleNames) -> None:
    by_width: dict[int, list[VerdictSlice]] = {}
    for part in parts:
        by_width.setdefault(part.step_ns, []).append(part)
    for column, name in enumerate(METRICS):
        file.write(f"# HELP {name} {SERIES_METRICS[name]}\n# TYPE {name} gauge\n".encode())
        for same_width in by_width.values():
            for text in _texts(same_width, column, names):
                file.write(text.encode())
    file.write(b"# EOF\n")


def _texts(parts: list[VerdictSlice], column: int, names: SampleNames) -> Iterator[str]:
    """The lines of each series of one metric, by id."""
    name = METRICS[column]
    series, times_ns, values = _joined(parts, column)
    known = has_sample(name, values)
    ends = [f" {_seconds(at_ns)}\n" for at_ns in times_ns.tolist()]
    for at in np.flatnonzero(known.any(axis=0)).tolist():
        labels = ",".join(f"{label}={quoted(value)}" for label, value in names.of(int(series[at])))
        begin = f"{name}{{{labels}}} "
        rows = np.flatnonzero(known[:, at])
        yield "".join(
            [
                f"{begin}{number_text(value)}{ends[row]}"
                for row, value in zip(rows.tolist(), values[rows, at].tolist(), strict=True)
            ]
        )


def _joined(
    parts: list[VerdictSlice], column: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """One metric of all parts as one block: ids int64[S], times int64[T], values float32[T, S]."""
    series = np.unique(np.concatenate([part.series for part in parts]))
    times_ns = np.unique(np.concatenate([part.times_ns for part in parts]))
    values = np.full((len(times_ns), len(series)), np.nan, np.float32)
    for part in parts:
        first = int(np.searchsorted(times_ns, _first_ns(part)))
        places = np.searchsorted(series, part.series)
        values[first : first + part.window_count, places] = part.columns[column]
    return series, times_ns, values


def _seconds(at_ns: int) -> str:
    """An instant in seconds, to the millisecond that Prometheus keeps.

    >>> _seconds(1_500_000_000), _seconds(1_000_000_000)
    ('1.5', '1')
    """
    whole, rest = divmod(at_ns // 1_000_000, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)
