"""Latency histograms merged by the hour.

They serve people and reports, not decisions, so they are gathered in memory and written every few
minutes: a process that is killed loses those minutes of an hour's histogram, and nothing else.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from sentinel.core.model import HistogramBlock, WindowBlock
from sentinel.errors import StoreCorruptError

HOUR_NS = 3_600_000_000_000
_MERGE_AT = 6  # windows gathered before they are merged, which bounds the memory they take
_HOURS_HELD = 24  # while the store takes no windows
_BUCKET_BITS = 16
_BUCKET_OFFSET = 1 << (_BUCKET_BITS - 1)
_SIZE_BYTES_MAX = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class HourHistograms:
    """The histograms of one hour; row r of `histograms` is the series `series[r]`.

    Attributes:
        start_ns: start of the hour (UTC).
        series: int64[R], ids of the series that have one, ascending.
        histograms: their counts.
    """

    start_ns: int
    series: NDArray[np.int64]
    histograms: HistogramBlock


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts by cell, where a cell is a series and a bucket in one number; ascending."""

    cell: NDArray[np.int64]
    count: NDArray[np.int64]


class HistogramGatherer:
    """Counts of the hours that are not written yet."""

    def __init__(self) -> None:
        self._pending: dict[int, list[_Counts]] = {}

    def add(self, block: WindowBlock) -> int:
        """Take the histograms of a block, if it has any; how many hours had to be given up for it."""
        histograms = block.histograms
        if histograms is None or histograms.row.size == 0:
            return 0
        window, column = np.divmod(histograms.row.astype(np.int64), block.series_count)
        hour = (block.start_ns + window * block.step_ns) // HOUR_NS
        lengths = np.diff(histograms.offset)
        cell = (np.repeat(block.series[column], lengths) << _BUCKET_BITS) + (
            histograms.bucket.astype(np.int64) + _BUCKET_OFFSET
        )
        hour_of_count = np.repeat(hour, lengths)
        for number in np.unique(hour):
            here = hour_of_count == number
            pending = self._pending.setdefault(int(number) * HOUR_NS, [])
            pending.append(_Counts(cell[here], histograms.count[here]))
            if len(pending) > _MERGE_AT:
                pending[:] = [_merged(pending)]
        surplus = sorted(self._pending)[:-_HOURS_HELD]
        for start_ns in surplus:
            del self._pending[start_ns]
        return len(surplus)

    def flush(self, connection: sqlite3.Connection) -> None:
        """Add what was gathered to the stored hours; inside a transaction."""
        for start_ns, pending in self._pending.items():
            row = connection.execute(
                "SELECT crc, payload FROM histograms WHERE start_ns = ?", (start_ns,)
            ).fetchone()
            stored = []
            if row is not None:
                try:
                    stored = [_decoded(start_ns, row[0], row[1])]
                except StoreCorruptError:
                    stored = []  # the hour starts anew; reading has counted the damage or will not see it
            payload = _encoded(_merged([*stored, *pending]))
            connection.execute(
                "INSERT OR REPLACE INTO histograms (start_ns, crc, payload) VALUES (?, ?, ?)",
                (start_ns, zlib.crc32(payload), payload),
            )

    def clear(self) -> None:
        """Forget what was gathered, once it is committed."""
        self._pending.clear()


def histogram_hours(connection: sqlite3.Connection, *, start_ns: int, end_ns: int) -> list[int]:
    """Starts of the stored hours that begin in `[start_ns, end_ns)`."""
    rows = connection.execute(
        "SELECT start_ns FROM histograms WHERE start_ns >= ? AND start_ns < ? ORDER BY start_ns",
        (start_ns, end_ns),
    )
    return [hour for (hour,) in rows]


def read_hour(connection: sqlite3.Connection, start_ns: int) -> HourHistograms | None:
    """The histograms of one hour, None when there are none.

    Raises:
        StoreCorruptError: they do not match their checksum.
    """
    row = connection.execute(
        "SELECT crc, payload FROM histograms WHERE start_ns = ?", (start_ns,)
    ).fetchone()
    if row is None:
        return None
    counts = _decoded(start_ns, row[0], row[1])
    series_of_cell = counts.cell >> _BUCKET_BITS
    series, first = np.unique(series_of_cell, return_index=True)
    return HourHistograms(
        start_ns=start_ns,
        series=series,
        histograms=HistogramBlock(
            row=np.arange(series.size, dtype=np.int32),
            offset=np.append(first, series_of_cell.size).astype(np.int32),
            bucket=((counts.cell & ((1 << _BUCKET_BITS) - 1)) - _BUCKET_OFFSET).astype(np.int16),
            count=counts.count,
        ),
    )


def _merged(parts: Sequence[_Counts]) -> _Counts:
    cell = np.concatenate([part.cell for part in parts])
    count = np.concatenate([part.count for part in parts])
    cells, position = np.unique(cell, return_inverse=True)
    total = np.zeros(cells.size, dtype=np.int64)
    np.add.at(total, position, count)
    return _Counts(cells, total)


def _encoded(counts: _Counts) -> bytes:
    steps = np.diff(counts.cell, prepend=np.int64(0)).astype("<i8")
    return zstandard.ZstdCompressor(level=3).compress(
        steps.tobytes() + counts.count.astype("<i8").tobytes()
    )


def _decoded(start_ns: int, crc: int, payload: object) -> _Counts:
    if not isinstance(payload, bytes) or zlib.crc32(payload) != crc:
        msg = f"the histograms of hour {start_ns} do not match their checksum"
        raise StoreCorruptError(msg)
    plain = zstandard.ZstdDecompressor().decompress(payload, max_output_size=_SIZE_BYTES_MAX)
    numbers = np.frombuffer(plain, dtype="<i8").reshape(2, -1)
    return _Counts(np.cumsum(numbers[0]), numbers[1].astype(np.int64))
