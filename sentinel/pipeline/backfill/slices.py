"""Past data that comes in slices of time, in order: stored chunk by chunk as it comes, and gone on with after an end at any moment.

A slice is a part of a chunk of the store, or whole chunks of it, and is stored in one transaction with a note of how far that got.
What is held is the windows of the chunk that is not whole yet. The same data in other slices leaves the same store: series are registered chunk by chunk in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.pipeline.backfill.progress import Span, progress_of
from sentinel.pipeline.backfill.summary import BackfillSummary
from sentinel.pipeline.backfill.windows import (
    BINS_A_CHUNK,
    CHUNK_NS,
    ROW,
    STEP_NS,
    Bin,
    bins_of,
    block_of,
)
from sentinel.ports import KeyedRows, PastStore


class SliceBackfill:
    """One run over `[start_ns, end_ns)`; calls block.

    Attributes:
        resumed: whether an earlier run had stored a part of it.
    """

    def __init__(self, target: PastStore | None, *, digest: str, span: Span, now_ns: int) -> None:
        """Make it; with None for the store it is only said what would be stored.

        Args:
            target: the store, open.
            digest: what it is a backfill of; see `Progress`.
            span: windows from the first until before the second, both at multiples of `STEP_NS`.
            now_ns: the present, for what is registered.
        """
        self._target = target
        self._now_ns = now_ns
        self._span = span
        payload = target.past_progress(digest) if target is not None else b""
        self._progress = progress_of(payload, digest)
        self._progress.summary.series_count = len(self._progress.series)
        self.resumed = bool(self._progress.done)
        self._number_of: dict[SeriesKey, int] = {}
        self._kinds: list[int] = []
        self._ids: list[int] = []
        self._bins: dict[int, list[Bin]] = {}
        self._row_count = 0
        self._skipped: dict[str, int] = {}
        self._from_ns: int | None = None

    @property
    def left(self) -> list[Span]:
        """What is to be read still, in order; a chunk that was not whole is read from its start."""
        return self._progress.left(self._span)

    @property
    def summary(self) -> BackfillSummary:
        """Of what is stored, in this run and in those before it."""
        return self._progress.summary

    def skip(self, reason: str, count: int) -> None:
        """Count rows of the slice that comes next that the reader left out."""
        if count:
            self._skipped[reason] = self._skipped.get(reason, 0) + count

    def add(self, rows: Sequence[KeyedRows], span: Span) -> None:
        """Take all rows of the next slice, and store what is whole with them.

        Raises:
            StoreError: the store does not take it; what is stored until then stays.
        """
        numbered = [(one, self._numbers(one.keys)[one.key_index]) for one in rows if one.keys]
        start_ns, end_ns = span
        if self._from_ns is None:
            self._from_ns = start_ns
        for chunk in range(start_ns // CHUNK_NS, -(-end_ns // CHUNK_NS)):
            packed = _packed(
                numbered, max(start_ns, chunk * CHUNK_NS), min(end_ns, (chunk + 1) * CHUNK_NS)
            )
            if packed.size:
                kinds = np.array(self._kinds, dtype=np.int8)
                self._bins.setdefault(chunk, []).extend(bins_of(packed, kinds=kinds))
                self._row_count += packed.size
        if end_ns % CHUNK_NS == 0 or any(end_ns == last for _, last in self.left):
            self._store((self._from_ns, end_ns))
            self._from_ns = None

    def _numbers(self, keys: tuple[SeriesKey, ...]) -> NDArray[np.int32]:
        for key in keys:
            if key not in self._number_of:
                self._number_of[key] = len(self._number_of)
                self._kinds.append(int(kind_of_signal(key.signal)))
                self._ids.append(-1)
        return np.array([self._number_of[key] for key in keys], dtype=np.int32)

    def _store(self, span: Span) -> None:
        progress, summary = self._progress, self._progress.summary
        blocks = []
        for chunk, bins in sorted(self._bins.items()):
            self._register(np.unique(np.concatenate([one.series for one in bins])).tolist())
            block = block_of(
                bins,
                chunk,
                ids=np.array(self._ids, dtype=np.int64),
                kinds=np.array(self._kinds, dtype=np.int8),
            )
            blocks.append(block)
            progress.series.update(block.series.tolist())
            summary.window_count += int(np.count_nonzero(block.heard))
            summary.start_ns = min(summary.start_ns or block.start_ns, block.start_ns)
            summary.end_ns = max(summary.end_ns, block.end_ns)
        summary.series_count = len(progress.series)
        summary.row_count += self._row_count
        for reason, count in self._skipped.items():
            summary.skip(reason, count)
        progress.note(span)
        if self._target is not None:
            self._target.append_past(
                blocks, source=progress.digest, progress=progress.to_bytes(), now_ns=self._now_ns
            )
        self._bins, self._row_count, self._skipped = {}, 0, {}

    def _register(self, numbers: list[int]) -> None:
        """Ids for those that have none, in the order of their names, so that it does not matter how they were read."""
        by_number = list(self._number_of)
        new = sorted((by_number[number], number) for number in numbers if self._ids[number] < 0)
        if self._target is None:
            for _, number in new:
                self._ids[number] = number
            return
        named = [(key, kind_of_signal(key.signal)) for key, _ in new]
        if named:
            ids = self._target.register(named, now_ns=self._now_ns)
            for (_, number), series_id in zip(new, ids, strict=True):
                self._ids[number] = series_id


def finish(target: PastStore, digests: Iterable[str], *, now_ns: int) -> None:
    """All of these is stored: the next backfill of them begins anew."""
    for digest in digests:
        target.append_past((), source=digest, progress=b"", now_ns=now_ns)


def _packed(
    numbered: Sequence[tuple[KeyedRows, NDArray[np.int32]]], first_ns: int, last_ns: int
) -> NDArray[np.void]:
    """The rows of one chunk within `[first_ns, last_ns)`."""
    parts = []
    for rows, number in numbered:
        inside = (rows.time_ns >= first_ns) & (rows.time_ns < last_ns)
        packed = np.empty(int(np.count_nonzero(inside)), dtype=ROW)
        packed["series"] = number[inside]
        packed["bin"] = rows.time_ns[inside] // STEP_NS % BINS_A_CHUNK
        packed["value"] = rows.value[inside]
        packed["weight"] = rows.weight[inside]
        parts.append(packed)
    return np.concatenate(parts) if parts else np.empty(0, dtype=ROW)
