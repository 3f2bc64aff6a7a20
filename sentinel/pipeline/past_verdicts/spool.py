"""Slices on disk, written group of series by group of series and read back in order of time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sentinel.core.model.verdict_slices import VERDICT_COLUMNS, VerdictSlice


class SliceSpool:
    """A `SliceSink` with a file a slice of time; 20 bytes a window of a series."""

    def __init__(self, folder: Path, *, slice_ns: int) -> None:
        self._folder = folder
        self._slice_ns = slice_ns
        self.numbers: set[int] = set()
        self.size_bytes = 0

    def write(self, part: VerdictSlice) -> None:
        """Append a part to the file of its span of time."""
        number = (part.start_ns + part.step_ns) // self._slice_ns
        head = json.dumps([part.start_ns, part.step_ns, *part.columns.shape[1:]]).encode()
        self.numbers.add(number)
        with self._path(number).open("ab") as file:
            self.size_bytes += file.write(head + b"\n")
            self.size_bytes += file.write(np.ascontiguousarray(part.series).tobytes())
            self.size_bytes += file.write(np.ascontiguousarray(part.columns).tobytes())

    def read(self) -> Iterator[VerdictSlice]:
        """All parts in order of time, those of one span in the order they were written; each file is removed once it is read."""
        for number in sorted(self.numbers):
            with self._path(number).open("rb") as file:
                while head := file.readline():
                    start_ns, step_ns, windows, series = json.loads(head)
                    shape = (len(VERDICT_COLUMNS), windows, series)
                    ids = np.frombuffer(file.read(8 * series), np.int64)
                    cells = np.frombuffer(file.read(4 * int(np.prod(shape))), np.float32)
                    yield VerdictSlice(
                        start_ns=start_ns,
                        step_ns=step_ns,
                        series=ids,
                        columns=cells.reshape(shape),
                    )
            self._path(number).unlink()
        self.numbers.clear()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.slice"
