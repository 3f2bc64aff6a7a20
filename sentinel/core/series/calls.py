"""Calls as counted keys: which place, which duration bucket, failed or not.

A key is `slot << 13 | bucket << 1 | failed`. Counting equal keys is all that a window keeps of its calls; traffic,
failures and the latency histogram of every place fall out of the counts at the end. Counts add up in any order to
the same sum, which is why the order inside a window cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import HistogramBlock
from sentinel.core.stats import log_linear

_BUCKET_BITS = 12
_BUCKET_MASK = (1 << _BUCKET_BITS) - 1
_SLOT_SHIFT = _BUCKET_BITS + 1
_PENDING_MAX = 65_536

assert log_linear.UNTIMED < 1 << _BUCKET_BITS

Keys = NDArray[np.int64]


def key_of(slot: NDArray[np.int64], bucket: NDArray[np.int16], failed: NDArray[np.bool_]) -> Keys:
    """The key of each call."""
    return (slot << _SLOT_SHIFT) | (bucket.astype(np.int64) << 1) | failed


def slot_of(key: Keys) -> NDArray[np.int64]:
    """The slot of the place that each key is about."""
    return key >> _SLOT_SHIFT


def bucket_number_of(key: Keys) -> NDArray[np.int64]:
    """The number of the bucket that each key is about."""
    return (key >> 1) & _BUCKET_MASK


class CallCounts:
    """Counts of keys; grows with the number of distinct keys, not of calls."""

    __slots__ = ("_count", "_key", "_pending", "_pending_size")

    def __init__(self) -> None:
        self._key: Keys = np.empty(0, np.int64)
        self._count: log_linear.Counts = np.empty(0, np.int64)
        self._pending: list[tuple[Keys, log_linear.Counts | None]] = []
        self._pending_size = 0

    def add(self, key: Keys, count: log_linear.Counts | None = None) -> None:
        """Count keys, once each or `count` times; keys may repeat."""
        self._pending.append((key, count))
        self._pending_size += len(key)
        if self._pending_size > _PENDING_MAX:
            self.totals()

    def totals(self) -> tuple[Keys, log_linear.Counts]:
        """Distinct keys, ascending, and how often each was counted; valid until more is added."""
        if self._pending:
            single = [key for key, count in self._pending if count is None]
            parts = [(key, count) for key, count in self._pending if count is not None]
            if single:
                key, count = np.unique(np.concatenate(single), return_counts=True)
                parts.append((key, count.astype(np.int64)))
            self._fold(
                *log_linear.sum_by_key(
                    np.concatenate([key for key, _ in parts]),
                    np.concatenate([count for _, count in parts]),
                )
            )
            self._pending.clear()
            self._pending_size = 0
        return self._key, self._count

    def leave_out(self, slots: NDArray[np.int64]) -> None:
        """Forget what was counted at some places."""
        key, count = self.totals()
        kept = ~np.isin(slot_of(key), slots)
        self._key, self._count = key[kept], count[kept]

    def _fold(self, key: Keys, count: log_linear.Counts) -> None:
        """Add distinct keys to the sums, in place where they are known.

        Sorting everything anew would take, for an hour of 10,000 series, five times the memory of the sums.
        """
        at = np.searchsorted(self._key, key)
        known = np.zeros(len(key), np.bool_)
        inside = at < len(self._key)
        known[inside] = self._key[at[inside]] == key[inside]
        self._count[at[known]] += count[known]
        if not known.all():
            self._key = np.insert(self._key, at[~known], key[~known])
            self._count = np.insert(self._count, at[~known], count[~known])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSums:
    """What the calls of a window come to, one row a slot.

    Attributes:
        calls: float64[n], how many.
        failed: float64[n], how many of them failed.
        timed: float64[n], how many of them have a duration that is known.
        slot: int64[r], slots that had such calls, ascending.
        offset: int64[r + 1], where each one's buckets begin in `bucket` and `count`.
        bucket: int16[k].
        count: int64[k].
    """

    calls: NDArray[np.float64]
    failed: NDArray[np.float64]
    timed: NDArray[np.float64]
    slot: NDArray[np.int64]
    offset: NDArray[np.int64]
    bucket: log_linear.Buckets
    count: log_linear.Counts

    def quantile(self, q: float) -> NDArray[np.float64]:
        """float64[n], a quantile of the durations in seconds; NaN without any that is known."""
        result = np.full(len(self.calls), np.nan)
        result[self.slot] = log_linear.quantiles_by_row(self.offset, self.bucket, self.count, q)
        return result

    def histograms(self, column_of_slot: NDArray[np.int64]) -> HistogramBlock:
        """The histograms as rows of a block of one window; `column_of_slot` says which column a slot has there."""
        column = column_of_slot[self.slot]
        order = np.argsort(column, kind="stable")
        offset, source = log_linear.rows_in_order(self.offset, order)
        return HistogramBlock(
            row=column[order].astype(np.int32),
            offset=offset.astype(np.int32),
            bucket=self.bucket[source],
            count=self.count[source],
        )


def sums_of(key: Keys, count: log_linear.Counts, *, width: int) -> CallSums:
    """The sums behind counted keys (ascending), for slots below `width`."""
    slot = key >> _SLOT_SHIFT
    calls = np.bincount(slot, weights=count, minlength=width).astype(np.float64)
    failed = np.bincount(slot, weights=count * (key & 1), minlength=width).astype(np.float64)
    place, merged = log_linear.sum_by_key(key >> 1, count)
    known = (place & _BUCKET_MASK) != log_linear.UNTIMED
    place, merged = place[known], merged[known]
    slot = place >> _BUCKET_BITS
    first = np.flatnonzero(np.concatenate(([True], slot[1:] != slot[:-1]))) if len(slot) else slot
    return CallSums(
        calls=calls,
        failed=failed,
        timed=np.bincount(slot, weights=merged, minlength=width).astype(np.float64),
        slot=slot[first],
        offset=np.concatenate((first, [len(slot)])).astype(np.int64),
        bucket=(place & _BUCKET_MASK).astype(np.int16),
        count=merged,
    )
