"""Past data into the store: rows of any resolution become windows of five minutes.

All rows are read before anything is stored, so that a file with a fault in its last line changes nothing.
Until then they are spooled: 13 bytes a row, in memory up to a bound and beyond it in temporary files, one a
chunk of the store. Then chunk by chunk the rows become windows (the median of a bin's values, or of errors the share of
all calls, and the sum of its weights), and each chunk is one transaction: what was interrupted is done again by the same command,
and doing it twice leaves the same store. Nothing here decides, so nothing pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.pipeline.backfill.summary import BackfillSummary
from sentinel.pipeline.backfill.windows import BINS_A_CHUNK, ROW, STEP_NS, bins_of, block_of
from sentinel.ports import SeriesStore
from sentinel.runtime.own_folder import OwnFolder

_SPOOLED_ROWS_MAX = 4_000_000  # 52 MB


class Rows(Protocol):
    """Rows of past data as columns; see `sentinel.history.HistoryRows`."""

    @property
    def series(self) -> NDArray[np.int32]: ...  # noqa: D102  # said above
    @property
    def time_ns(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def value(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def weight(self) -> NDArray[np.float64]: ...  # noqa: D102


class Backfill:
    """One run: `add` all rows, then `store` them; a context manager, for its temporary files."""

    def __init__(self, *, now_ns: int, keep_ns: int) -> None:
        self._now_ns = now_ns
        self._keep_ns = keep_ns
        self._spooled: dict[int, list[NDArray[np.void]]] = {}
        self._spooled_count = 0
        self._folder = OwnFolder("sentinel-backfill-")
        self._spool = self._folder.path / "rows"
        self._spool.mkdir()
        self._skipped: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._folder.remove()

    def skip(self, reason: str, count: int) -> None:
        """Count rows that the reader left out."""
        if count:
            self._skipped[reason] = self._skipped.get(reason, 0) + count

    def add(self, batches: Iterable[Rows]) -> None:
        """Take rows; those too old to be kept, or in a bin that is not over, are counted and left out."""
        for rows in batches:
            number = rows.time_ns // STEP_NS
            is_old = rows.time_ns < self._now_ns - self._keep_ns
            is_open = (number + 1) * STEP_NS > self._now_ns
            self.skip("older than the store keeps", int(np.count_nonzero(is_old)))
            self.skip("in a window that is not over", int(np.count_nonzero(is_open & ~is_old)))
            wanted = ~(is_old | is_open)
            packed = np.empty(int(np.count_nonzero(wanted)), dtype=ROW)
            packed["series"] = rows.series[wanted]
            packed["value"] = rows.value[wanted]
            packed["weight"] = rows.weight[wanted]
            chunk, packed["bin"] = np.divmod(number[wanted], BINS_A_CHUNK)
            for one in np.unique(chunk):
                self._spooled.setdefault(int(one), []).append(packed[chunk == one])
            self._spooled_count += packed.size
            if self._spooled_count > _SPOOLED_ROWS_MAX:
                self._spill()

    def store(self, target: SeriesStore | None, keys: Sequence[SeriesKey]) -> BackfillSummary:
        """Reduce what was added and store it; with None, only say what would be stored.

        `keys` are the series' names by the number they have in the rows.

        Raises:
            StoreError: the store does not take it; what is stored until then stays.
        """
        summary = BackfillSummary(skipped=dict(self._skipped))
        ids = np.arange(len(keys), dtype=np.int64)
        kinds = np.array([kind_of_signal(key.signal) for key in keys], dtype=np.int8)
        if target is not None:
            named = [(key, kind_of_signal(key.signal)) for key in keys]
            ids = np.array(target.register(named, now_ns=self._now_ns), dtype=np.int64)
        seen = np.zeros(len(keys), dtype=np.bool_)
        for chunk in sorted(self._spooled.keys() | self._spilled().keys()):
            rows = self._rows_of(chunk)
            block = block_of(bins_of(rows, kinds=kinds), chunk, ids=ids, kinds=kinds)
            seen[np.unique(rows["series"])] = True
            if target is not None:
                target.append_history(block)
            summary.window_count += int(np.count_nonzero(block.heard))
            summary.row_count += rows.size
            summary.start_ns = summary.start_ns or block.start_ns
            summary.end_ns = block.end_ns
        summary.series_count = int(np.count_nonzero(seen))
        return summary

    def _spill(self) -> None:
        for chunk, parts in self._spooled.items():
            with (self._spool / str(chunk)).open("ab") as file:
                for part in parts:
                    file.write(part.tobytes())
        self._spooled.clear()
        self._spooled_count = 0

    def _spilled(self) -> dict[int, Path]:
        return {int(path.name): path for path in self._spool.iterdir()}

    def _rows_of(self, chunk: int) -> NDArray[np.void]:
        parts = list(self._spooled.get(chunk, []))
        path = self._spool / str(chunk)
        if path.exists():
            # Mapped, not read: four hours of 10 s rows of 10,000 series are 190 MB.
            spilled: NDArray[np.void] = np.memmap(path, dtype=ROW, mode="r")
            if not parts:
                return spilled
            parts.insert(0, spilled)
        return np.concatenate(parts)
