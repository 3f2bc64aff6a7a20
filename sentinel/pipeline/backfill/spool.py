"""Past data into the store: rows of any resolution become windows of five minutes.

All rows are read before anything is stored, so that a file with a fault in its last line changes nothing.
Until then they are spooled: 13 bytes a row, in memory up to a bound and beyond it in files, one a chunk of the store. Where there is a store
these lie in its folder, with a note of how far the files were read (`checkpoint`), and a run after a kill goes on from there. Then
chunk by chunk the rows become windows, each chunk in one transaction, with a note of how far that got where a later run may go on from it.
Doing it twice leaves the same store. Nothing here decides, so nothing pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.pipeline.backfill.checkpoint import ReadCheckpoint, ReadNote
from sentinel.pipeline.backfill.progress import Progress, progress_of
from sentinel.pipeline.backfill.summary import BackfillSummary
from sentinel.pipeline.backfill.windows import (
    BINS_A_CHUNK,
    CHUNK_NS,
    ROW,
    STEP_NS,
    bins_of,
    block_of,
)
from sentinel.ports import PastStore
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
    @property
    def mark(self) -> Mapping[str, Any] | None: ...  # noqa: D102


class SeriesKeys(Protocol):
    """Who numbers series; see `sentinel.history.SeriesNumbers`."""

    @property
    def keys(self) -> list[SeriesKey]: ...  # noqa: D102  # said there


class Backfill:
    """One run: `add` all rows, then `store` them; a context manager, for its files.

    Attributes:
        now_ns: the present; that of the run that began, where this one goes on.
        resumed: what an earlier run read, or None.
    """

    def __init__(
        self, *, now_ns: int, keep_ns: int, folder: Path | None = None, source: str = ""
    ) -> None:
        """Make it.

        Args:
            now_ns: the present.
            keep_ns: how long the store keeps windows.
            folder: the store's, for a run that a later one may go on from; None for a temporary one.
            source: digest of what is read, and how.

        Raises:
            StoreLockedError: another backfill reads into the store.
        """
        self._keep_ns = keep_ns
        self._source = source
        self._spooled: dict[int, list[NDArray[np.void]]] = {}
        self._spooled_count = 0
        self._checkpoint = None if folder is None else ReadCheckpoint(folder, source)
        self._temporary = OwnFolder("sentinel-backfill-") if folder is None else None
        self.resumed = None if self._checkpoint is None else self._checkpoint.note
        self.now_ns = now_ns if self.resumed is None else self.resumed.now_ns
        self._is_unnoted = False
        self._skipped: dict[str, int] = dict(self.resumed.skipped) if self.resumed else {}
        self._spool: Path | None = None
        if self._temporary is not None:
            self._spool = self._temporary.path / "rows"
            self._spool.mkdir()
        elif self._checkpoint is not None and self.resumed is not None:
            self._spool = self._checkpoint.rows_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            self.forget()  # a full disk must get its room back
        if self._checkpoint is not None:
            self._checkpoint.close()
        if self._temporary is not None:
            self._temporary.remove()

    def forget(self) -> None:
        """Remove what was read, for good."""
        if self._checkpoint is not None:
            self._checkpoint.forget()
        self._spool = None

    def skip(self, reason: str, count: int) -> None:
        """Count rows that the reader left out."""
        if count:
            self._skipped[reason] = self._skipped.get(reason, 0) + count

    def add(
        self,
        batches: Iterable[Rows],
        *,
        numbers: SeriesKeys | None = None,
        file: int = 0,
    ) -> None:
        """Take rows; those too old to be kept, or in a bin that is not over, are counted and left out.

        Args:
            batches: of one file.
            numbers: who numbers the series; needed where a later run may go on.
            file: position of the file.
        """
        for rows in batches:
            number = rows.time_ns // STEP_NS
            is_old = rows.time_ns < self.now_ns - self._keep_ns
            is_open = (number + 1) * STEP_NS > self.now_ns
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
                if rows.mark is not None and numbers is not None:
                    self._note(numbers.keys, file=file, mark=rows.mark)

    def file_read(self, numbers: SeriesKeys, *, file: int, is_last: bool) -> None:
        """A file was read to its end; a run after a kill goes on behind it, or with storing. Small histories are just read again."""
        noted = self.resumed is not None and self.resumed.file > file
        if self._checkpoint is None or self._spool is None or noted:
            return
        if is_last or self._is_unnoted:
            self._spill()
            self._note(numbers.keys, file=file + 1, mark=None)

    def store(self, target: PastStore | None, keys: Sequence[SeriesKey]) -> BackfillSummary:
        """Reduce what was added and store it; with None, only say what would be stored.

        `keys` are the series' names by the number they have in the rows.

        Raises:
            StoreError: the store does not take it; what is stored until then stays.
        """
        goes_on = target is not None and self._checkpoint is not None and self._spool is not None
        progress = Progress(self._source)
        if target is not None and goes_on:
            progress = progress_of(target.past_progress(self._source), self._source)
        ids = np.arange(len(keys), dtype=np.int64)
        kinds = np.array([kind_of_signal(key.signal) for key in keys], dtype=np.int8)
        if target is not None:
            named = [(key, kind_of_signal(key.signal)) for key in keys]
            ids = np.array(target.register(named, now_ns=self.now_ns), dtype=np.int64)
        summary = progress.summary
        for chunk in sorted(self._spooled.keys() | self._spilled().keys()):
            span = (chunk * CHUNK_NS, (chunk + 1) * CHUNK_NS)
            if not progress.left(span):
                continue
            rows = self._rows_of(chunk)
            block = block_of(bins_of(rows, kinds=kinds), chunk, ids=ids, kinds=kinds)
            progress.series.update(block.series.tolist())
            summary.window_count += int(np.count_nonzero(block.heard))
            summary.row_count += rows.size
            summary.start_ns = summary.start_ns or block.start_ns
            summary.end_ns = block.end_ns
            progress.note(span)
            if target is not None:
                note = progress.to_bytes() if goes_on else b""
                target.append_past([block], source=self._source, progress=note, now_ns=self.now_ns)
        summary.series_count = len(progress.series)
        summary.skipped = dict(self._skipped)
        if target is not None and goes_on:
            target.append_past((), source=self._source, progress=b"", now_ns=self.now_ns)
            self.forget()
        return summary

    def _note(
        self, keys: Sequence[SeriesKey], *, file: int, mark: Mapping[str, Any] | None
    ) -> None:
        if self._checkpoint is None:
            return
        self._is_unnoted = False
        sizes = {chunk: path.stat().st_size for chunk, path in self._spilled().items()}
        self._checkpoint.write(
            ReadNote(
                source=self._source,
                now_ns=self.now_ns,
                file=file,
                mark=mark,
                keys=tuple(keys),
                sizes=sizes,
                skipped=self._skipped,
            )
        )

    def _spill(self) -> None:
        folder = self._spool
        if folder is None:
            if self._checkpoint is None:
                msg = "what was read is forgotten"
                raise RuntimeError(msg)
            folder = self._spool = self._checkpoint.rows_folder()
        for chunk, parts in self._spooled.items():
            with (folder / str(chunk)).open("ab") as file:
                for part in parts:
                    file.write(part.tobytes())
        self._spooled.clear()
        self._spooled_count = 0
        self._is_unnoted = True

    def _spilled(self) -> dict[int, Path]:
        if self._spool is None:
            return {}
        return {int(path.name): path for path in self._spool.iterdir()}

    def _rows_of(self, chunk: int) -> NDArray[np.void]:
        parts = list(self._spooled.get(chunk, []))
        path = self._spilled().get(chunk)
        if path is not None:
            # Mapped, not read: four hours of 10 s rows of 10,000 series are 190 MB.
            spilled: NDArray[np.void] = np.memmap(path, dtype=ROW, mode="r")
            if not parts:
                return spilled
            parts.insert(0, spilled)
        return np.concatenate(parts)
