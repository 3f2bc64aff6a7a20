"""Medians down short columns, for many columns at once, by a selection network.

A network is a fixed list of compare-exchanges, so each step is a minimum and a maximum over whole arrays, and
the result of a column does not depend on which other columns are in the array. Exchanges that the
median does not need are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = TypeVar("Floats", NDArray[np.float32], NDArray[np.float64])

_LOW, _HIGH = 1, 2


def median_of_rows(rows: Floats | Sequence[Floats]) -> tuple[Floats, NDArray[np.intp] | None]:
    """Median down axis 0, NaN left out, and how many numbers there were; None for all of them everywhere.

    Rows may be arrays of their own, such as views of one that is moved against itself; they are not copied together.

    An even count gives the mean of the two in the middle; no number at all gives NaN. Numbers must be finite.

    >>> median, count = median_of_rows(np.array([[3.0, np.nan], [1.0, 8.0], [2.0, np.nan]]))
    >>> median.tolist(), None if count is None else count.tolist()
    ([2.0, 8.0], [3, 1])
    """
    height = len(rows)
    wanted = tuple(sorted({(height - 1) // 2, height // 2}))
    sorted_rows = _run(_network(height, wanted), list(rows))
    median = _middle(sorted_rows[wanted[0]], sorted_rows[wanted[-1]])
    # Every number of a column takes part in its median, and NaN wins each comparison: a column with a NaN
    # anywhere has NaN here.
    missing = np.isnan(median)
    if not np.count_nonzero(missing):
        return median, None
    short = np.flatnonzero(missing)
    if isinstance(rows, np.ndarray):
        columns = rows.reshape(height, -1).take(short, axis=1)
    else:
        at = np.nonzero(missing)
        columns = np.stack([row[at] for row in rows])
    found = height - np.count_nonzero(np.isnan(columns), axis=0)
    count = np.full(median.shape, height, np.intp)
    count.reshape(-1)[short] = found
    median.reshape(-1)[short] = _median_of_short(columns, found)
    return median, count


def _median_of_short(columns: Floats, count: NDArray[np.intp]) -> Floats:
    """Medians of columns with missing numbers: they are sorted to the end, and the middle of the others is taken."""
    height = columns.shape[0]
    filled = np.where(np.isnan(columns), columns.dtype.type(np.inf), columns)
    ordered = np.stack(_run(_network(height, tuple(range(height))), list(filled)))
    place = np.arange(len(count))
    first = ordered[np.maximum(count - 1, 0) // 2, place]
    second = ordered[np.minimum(count // 2, height - 1), place]
    known = count > 0
    median = np.full(len(count), np.nan, columns.dtype)
    median[known] = _middle(first[known], second[known])
    return median


def _middle(first: Floats, second: Floats) -> Floats:
    if first is second:
        return first.copy()
    # Halved before they are added: the sum of two large numbers may be none, and halving is exact.
    half = first.dtype.type(0.5)
    return first * half + second * half


def _run(network: Sequence[tuple[int, int, int]], rows: list[Floats]) -> list[Floats]:
    """Exchange through the network; the arrays handed in are left as they are."""
    for low, high, need in network:
        first, second = rows[low], rows[high]
        if need & _LOW:
            rows[low] = np.minimum(first, second)
        if need & _HIGH:
            rows[high] = np.maximum(first, second)
    return rows


@cache
def _network(height: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Exchanges that put the `wanted` ranks in their rows, with the outputs each must give."""
    needed = set(wanted)
    kept: list[tuple[int, int, int]] = []
    for low, high in reversed(_merge_sort(height)):
        need = (_LOW if low in needed else 0) | (_HIGH if high in needed else 0)
        if need:
            kept.append((low, high, need))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_sort(height: int) -> list[tuple[int, int]]:
    """Batcher's odd-even merge sort for any height (Knuth, TAOCP 3, algorithm 5.2.2M)."""
    pairs: list[tuple[int, int]] = []
    span = 1
    while span < height:
        gap = span
        while gap >= 1:
            for start in range(gap % span, height - gap, 2 * gap):
                pairs.extend(
                    (low, low + gap)
                    for low in range(start, start + min(gap, height - start - gap))
                    if low // (2 * span) == (low + gap) // (2 * span)
                )
            gap //= 2
        span *= 2
    return pairs
