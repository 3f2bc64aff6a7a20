"""Rows of past data as windows: the median of a bin's values, or of errors the share of all calls, and the sum of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, WindowBlock

STEP_NS = 300_000_000_000
BINS_A_CHUNK = 48
CHUNK_NS = BINS_A_CHUNK * STEP_NS
"""What is stored together; chunks of the store begin at its multiples."""

ROW = np.dtype([("series", "<i4"), ("bin", "u1"), ("value", "<f4"), ("weight", "<f4")])


class Bin(NamedTuple):
    """One window of the series that have something in it.

    Attributes:
        number: in its chunk, 0-47.
        series: int32[n], ascending.
        value, weight: float32[n].
    """

    number: int
    series: NDArray[np.int32]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]


def bins_of(rows: NDArray[np.void], *, kinds: NDArray[np.int8]) -> Iterator[Bin]:
    """The windows of rows of one chunk, bin by bin; `kinds` by the number that series have in the rows."""
    for one in np.unique(rows["bin"]).tolist():
        yield Bin(one, *_reduced(rows[rows["bin"] == one], kinds))


def block_of(
    bins: Iterable[Bin], chunk: int, *, ids: NDArray[np.int64], kinds: NDArray[np.int8]
) -> WindowBlock:
    """The windows of one chunk, over the bins and series that have something.

    Args:
        bins: each number once.
        chunk: since 1970, in `CHUNK_NS`.
        ids: by the number that series have in the bins.
        kinds: by the same.
    """
    found = sorted(bins, key=lambda one: one.number)
    numbers = np.unique(np.concatenate([one.series for one in found]))
    order = np.argsort(ids[numbers])
    numbers = numbers[order]
    column_of = np.full(len(ids), -1, dtype=np.int64)
    column_of[numbers] = np.arange(numbers.size)
    first, count = found[0].number, found[-1].number - found[0].number + 1
    value = np.full((count, numbers.size), np.nan, dtype=np.float32)
    weight = np.zeros((count, numbers.size), dtype=np.float32)
    heard = np.zeros((count, numbers.size), dtype=np.bool_)
    for one in found:
        at = (one.number - first, column_of[one.series])
        value[at] = one.value
        weight[at] = one.weight
        heard[at] = True
    return WindowBlock(
        start_ns=(chunk * BINS_A_CHUNK + first) * STEP_NS,
        step_ns=STEP_NS,
        series=ids[numbers],
        kind=kinds[numbers],
        value=value,
        weight=weight,
        heard=heard,
    )


def _reduced(
    rows: NDArray[np.void], kinds: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Series of one bin with the median of their values and the sum of their weights.

    Errors with calls are the share of all calls that failed. A series without any weight in its rows counts its values
    instead, as a live gauge does; of errors it is not known then how many calls they were, which is 0.
    """
    ordered = rows[np.lexsort((rows["value"], rows["series"]))]  # NaN sorts last
    numbers, first = np.unique(ordered["series"], return_index=True)
    value = ordered["value"].astype(np.float64)
    known = np.add.reduceat((~np.isnan(value)).astype(np.int64), first)
    low = value[first + np.maximum(known - 1, 0) // 2]
    high = value[first + np.minimum(known // 2, np.diff(first, append=value.size) - 1)]
    has_weight = np.add.reduceat((~np.isnan(ordered["weight"])).astype(np.int64), first) > 0
    weights = np.add.reduceat(np.nan_to_num(ordered["weight"].astype(np.float64)), first)
    median = np.where(known > 0, (low + high) / 2, np.nan)
    is_ratio = np.isin(kinds[numbers], SHARE_KINDS)
    weight = np.where(has_weight, weights, np.where(is_ratio, 0, known))
    calls = np.where(np.isnan(value), 0.0, np.nan_to_num(ordered["weight"].astype(np.float64)))
    failed = np.add.reduceat(np.nan_to_num(value) * calls, first)
    total = np.add.reduceat(calls, first)
    pooled = is_ratio & (total > 0)
    median[pooled] = failed[pooled] / total[pooled]
    return numbers, median.astype(np.float32), weight.astype(np.float32)
