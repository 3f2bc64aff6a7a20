"""Windows of the past that were missed and are told after all: kept for what is learned, and never decided on.

A window that was decided without a value stays so: what people were told does not change afterwards. But a day without a
Prometheus should be no day without a past.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey
from sentinel.pipeline.backfill import STEP_NS, Backfill
from sentinel.pipeline.deciding import StoreThread
from sentinel.ports import Clock, KeyedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    series: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    mark: None = None


class PastWindows:
    """The `PastSink` of the program."""

    def __init__(self, store: StoreThread, clock: Clock, *, keep_ns: Callable[[int], int]) -> None:
        """Store what is needed; `keep_ns` says how long windows of a width are kept."""
        self._store = store
        self._clock = clock
        self._keep_ns = keep_ns

    async def gaps(
        self, keys: Collection[SeriesKey], *, start_ns: int, end_ns: int
    ) -> list[tuple[int, int]]:
        """See `PastSink.gaps`."""
        return await self._store.run(self._gaps, frozenset(keys), start_ns, end_ns)

    async def put(self, rows: Sequence[KeyedRows]) -> int:
        """See `PastSink.put`."""
        return await self._store.run(self._put, rows)

    def _gaps(
        self, keys: frozenset[SeriesKey], start_ns: int, end_ns: int
    ) -> list[tuple[int, int]]:
        store = self._store.sync
        ids = sorted(row.series_id for row in store.series() if row.key in keys)
        first, last = -(-start_ns // STEP_NS), end_ns // STEP_NS
        told = np.zeros(max(last - first, 0), np.bool_)
        if ids and told.size:
            for block in store.windows(
                step_ns=STEP_NS, start_ns=first * STEP_NS, end_ns=last * STEP_NS, series=ids
            ):
                at = block.start_ns // STEP_NS - first
                told[at : at + block.window_count] |= np.isfinite(block.value).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate(([True], told, [True])).astype(np.int8)))
        return [
            ((first + begin) * STEP_NS, (first + end) * STEP_NS)
            for begin, end in edges.reshape(-1, 2).tolist()
        ]

    def _put(self, rows: Sequence[KeyedRows]) -> int:
        number_of: dict[SeriesKey, int] = {}
        parts: list[_Rows] = []
        for one in rows:
            numbers = [number_of.setdefault(key, len(number_of)) for key in one.keys]
            parts.append(
                _Rows(
                    series=np.array(numbers, np.int32)[one.key_index],
                    time_ns=one.time_ns,
                    value=one.value,
                    weight=one.weight,
                )
            )
        now_ns = self._clock.now_ns()
        with Backfill(now_ns=now_ns, keep_ns=self._keep_ns(STEP_NS)) as backfill:
            backfill.add(parts)
            return backfill.store(self._store.sync, list(number_of)).window_count
