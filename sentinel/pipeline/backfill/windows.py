"""Rows of past data as windows: the median of a bin's values, or of errors the share of all calls, and the sum of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, WindowBlock

STEP_NS = 300_000_000_000
BINS_A_CHUNK = 48
CHUNK_NS = BINS_A_CHUNK * STEP_NS
"""What is stored together; chunks of the store begin at its multiples."""

ROW = np.dtype([("series", "<i4"), ("bin", "u1"), ("value", "<f4"), ("weight", "<f4")])

_COUNT_MAX = np.finfo(np.float64).max


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
    order = np.argsort(rows["bin"], kind="stable")
    # Columns of their own: a field of packed rows is read several times as slowly.
    number, series, value, weight = (
        np.ascontiguousarray(rows[name][order]) for name in ("bin", "series", "value", "weight")
    )
    for first, last in pairwise([*_firsts(number).tolist(), number.size]):
        part = slice(first, last)
        found = _reduced(series[part], value[part], weight[part], kinds)
        yield Bin(int(number[first]), *found)


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
    series: NDArray[np.int32],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    kinds: NDArray[np.int8],
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Series of one bin with the median of their values and the sum of their weights.

    Errors with calls are the share of all calls that failed. A series without any weight in its rows counts its values
    instead, as a live gauge does; of errors it is not known then how many calls they were, which is 0.
    """
    order = np.argsort(series, kind="stable")
    numbers = series[order]
    first = _firsts(numbers)
    if first.size < numbers.size:
        order = np.lexsort((values, series))  # NaN sorts last
        numbers = numbers[first]
    value, given = values[order].astype(np.float64), weights[order].astype(np.float64)
    there, has_weight = ~np.isnan(value), ~np.isnan(given)
    # More calls than can be counted are as many as can, so that a share of them stays one.
    given = np.where(has_weight, np.minimum(given, _COUNT_MAX), 0.0)
    calls = np.where(there, given, 0.0)
    failed = np.where(there, value, 0.0) * calls
    if first.size < value.size:
        known = np.add.reduceat(there.astype(np.int64), first)
        low = value[first + np.maximum(known - 1, 0) // 2]
        high = value[first + np.minimum(known // 2, np.diff(first, append=value.size) - 1)]
        median = np.where(known > 0, (low + high) / 2, np.nan)
        has_weight = np.add.reduceat(has_weight.astype(np.int64), first) > 0
        given, calls, failed = (np.add.reduceat(one, first) for one in (given, calls, failed))
    else:
        # One value each, as where a step is as wide as a window: nothing is to be added up.
        known, median = there.astype(np.int64), value
    is_ratio = np.isin(kinds[numbers], SHARE_KINDS)
    weight = np.where(has_weight, given, np.where(is_ratio, 0, known))
    pooled = is_ratio & (calls > 0)
    median[pooled] = failed[pooled] / calls[pooled]
    return numbers, median.astype(np.float32), weight.astype(np.float32)


def _firsts(ordered: NDArray[np.generic]) -> NDArray[np.intp]:
    """Where each run of equals begins."""
    changes = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=changes[1:])
    return np.flatnonzero(changes)
