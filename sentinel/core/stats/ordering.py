"""Medians down short columns, for many columns at once, by a sorting network.

A network is a fixed list of compare-exchanges, so each step is one minimum and one maximum over whole
arrays: ten rows of 10,000 columns are sorted in a fraction of a millisecond, and the result of a column
does not depend on which other columns are in the array.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def median_of_rows(rows: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Median down axis 0, NaN left out, and how many numbers there were.

    The rows are overwritten. An even count gives the mean of the two in the middle; no number at all
    gives NaN. Numbers must be finite.

    >>> median, count = median_of_rows(np.array([[3.0, np.nan], [1.0, 8.0], [2.0, np.nan]]))
    >>> median.tolist(), count.tolist()
    ([2.0, 8.0], [3, 1])
    """
    height = rows.shape[0]
    missing = np.isnan(rows)
    any_missing = bool(missing.any())
    if any_missing:
        rows[missing] = np.inf
    _sort_rows(rows)
    low, high = (height - 1) // 2, height // 2
    median = rows[low].copy() if low == high else (rows[low] + rows[high]) * rows.dtype.type(0.5)
    if not any_missing:
        return median, np.full(median.shape, height, np.intp)
    count = height - np.count_nonzero(missing, axis=0)
    count = np.asarray(count, dtype=np.intp)
    short = np.nonzero(count < height)
    found = count[short]
    first = rows[(np.maximum(found - 1, 0) // 2, *short)]
    second = rows[(np.minimum(found // 2, height - 1), *short)]
    half = rows.dtype.type(0.5)
    median[short] = np.where(
        found == 0, np.nan, np.where(first == second, first, half * (first + second))
    )
    return median, count


@cache
def _network(height: int) -> tuple[tuple[int, int], ...]:
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
    return tuple(pairs)


def _sort_rows(rows: Floats) -> None:
    lower = np.empty_like(rows[0])
    for low, high in _network(rows.shape[0]):
        np.minimum(rows[low], rows[high], out=lower)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low] = lower
