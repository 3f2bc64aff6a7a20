"""A log-linear histogram: 32 equal sub-buckets in every octave, counts that merge exactly.

A bucket's number is cut straight out of the bits of the float64: eleven bits of exponent and the five highest
of the mantissa, so that finding it needs no logarithm and is the same on every processor. Sub-bucket widths are
1/32 of their octave's start, hence a bucket's midpoint is within 1/64 (1.56 %) of anything counted in it.

    bucket 0                 zero, and anything below 2^-40 (or negative, which callers refuse before)
    bucket 1 .. 3328         [2^-40, 2^64), 104 octaves of 32
    the last bucket          also takes everything from 2^64 upwards

Histograms are kept sparse: `bucket` (int16, ascending) and `count` (int64). Many of them are kept as compressed
rows: `offset[r] : offset[r + 1]` is where row r lies. Counts are integers, so merging is exact, associative and
commutative, and a later cumulative histogram minus an earlier one is exact as well.

>>> import numpy as np
>>> bucket_of(np.array([0.0, 1.0, 1.03, 1.04, 2.0])).tolist()
[0, 1281, 1281, 1282, 1313]
>>> bounds_of(np.array([1281])).tolist()
[[1.0], [1.03125]]
>>> bucket, count = counted(bucket_of(np.array([0.1, 0.1, 0.2, 0.4])))
>>> bool(abs(quantile(bucket, count, 0.5) - 0.1) < 0.1 / 64)
True
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUB_BUCKETS = 32
EXPONENT_MIN = -40
EXPONENT_MAX = 64
BUCKET_COUNT = 1 + (EXPONENT_MAX - EXPONENT_MIN) * SUB_BUCKETS
"""How many buckets there are, the zero bucket included; every bucket number is below 2^12."""
UNTIMED = BUCKET_COUNT
"""The number under which is counted what has no value that is known; no quantile is asked of it."""

_SHIFT = 52 - 5
_FIRST = (1023 + EXPONENT_MIN) * SUB_BUCKETS - 1

Buckets = NDArray[np.int16]
Counts = NDArray[np.int64]


def bucket_of(values: ArrayLike) -> Buckets:
    """The bucket number of each value; values are finite and >= 0."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64) >> _SHIFT
    # Not `np.clip`, which takes as long as all the rest for a few values.
    number: Buckets = np.minimum(np.maximum(bits - _FIRST, 0), BUCKET_COUNT - 1).astype(np.int16)
    return number


def bounds_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """Lower (inclusive) and upper (exclusive) bound of each bucket, as two rows.

    The zero bucket is [0, 2^-40).
    """
    number = np.asarray(bucket, dtype=np.int64)
    lower = ((np.maximum(number, 1) + _FIRST) << _SHIFT).view(np.float64)
    upper = ((number + 1 + _FIRST) << _SHIFT).view(np.float64)
    return np.stack([np.where(number == 0, 0.0, lower), upper])


def midpoint_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """The value that stands for each bucket: the middle of its bounds, and 0 for the zero bucket."""
    lower, upper = bounds_of(bucket)
    return np.where(np.asarray(bucket) == 0, 0.0, (lower + upper) / 2)


def counted(bucket: Buckets) -> tuple[Buckets, Counts]:
    """Bucket numbers, one for each observation, as a sparse histogram."""
    distinct, count = np.unique(bucket, return_counts=True)
    return distinct, count.astype(np.int64)


def sum_by_key(key: NDArray[np.int64], count: Counts) -> tuple[NDArray[np.int64], Counts]:
    """Distinct keys, ascending, with the sum of the counts of each.

    The key may hold more than the bucket, such as whose histogram it is; this is the exact merge of many
    histograms at once.

    >>> key, count = sum_by_key(np.array([7, 3, 7]), np.array([1, 1, 2]))
    >>> key.tolist(), count.tolist()
    ([3, 7], [1, 3])
    """
    if len(key) == 0:
        return key, count
    order = np.argsort(key, kind="stable")
    key, count = key[order], count[order]
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    return key[first], np.add.reduceat(count, first)


def merge(*parts: tuple[Buckets, Counts]) -> tuple[Buckets, Counts]:
    """The exact sum of sparse histograms; no parts give the empty one."""
    if not parts:
        return np.empty(0, np.int16), np.empty(0, np.int64)
    if len(parts) == 1:
        return parts[0]
    bucket = np.concatenate([part[0] for part in parts]).astype(np.int64)
    key, count = sum_by_key(bucket, np.concatenate([part[1] for part in parts]))
    return key.astype(np.int16), count


def in_order(bucket: Buckets, count: Counts) -> tuple[Buckets, Counts]:
    """A sparse histogram from buckets in any order, some perhaps twice or empty."""
    filled = np.flatnonzero(count)
    bucket, count = bucket[filled], count[filled]
    if (bucket[1:] > bucket[:-1]).all():
        return bucket, count
    key, count = sum_by_key(bucket.astype(np.int64), count)
    return key.astype(np.int16), count


def subtract(
    later: tuple[Buckets, Counts], earlier: tuple[Buckets, Counts]
) -> tuple[Buckets, Counts] | None:
    """What a cumulative histogram counted between two readings; None when a count fell, which is a reset."""
    if np.array_equal(later[0], earlier[0]):
        bucket, count = later[0], later[1] - earlier[1]
    else:
        bucket, count = merge(later, (earlier[0], -earlier[1]))
    if len(count) and int(count.min()) < 0:
        return None
    kept = count > 0
    return bucket[kept], count[kept]


def quantiles_by_row(
    offset: NDArray[np.integer], bucket: Buckets, count: Counts, q: float
) -> NDArray[np.float64]:
    """The q-quantile of each of R histograms in compressed rows; NaN for an empty row.

    It is the midpoint of the bucket that holds the observation of rank ceil(q n), so the answer is within 1.56 %
    of that observation. `offset` has R + 1 entries.

    >>> quantiles_by_row(np.array([0, 2, 2]), np.array([0, 1281], np.int16), np.array([1, 1]), 1.0).tolist()
    [1.015625, nan]
    """
    rows = len(offset) - 1
    result = np.full(rows, np.nan)
    if rows == 0 or len(bucket) == 0:
        return result
    running = np.concatenate(([0], np.cumsum(count)))
    before = running[offset[:-1]]
    total = running[offset[1:]] - before
    filled = np.flatnonzero(total > 0)
    # The cast first: a rank is a whole number, and 0.95 * 20 must not become 20 by a rounding error upwards.
    rank = np.maximum(np.ceil(q * total[filled] - 1e-9), 1).astype(np.int64)
    at = np.searchsorted(running[1:], before[filled] + rank, side="left")
    result[filled] = midpoint_of(bucket[at])
    return result


def rows_in_order(
    offset: NDArray[np.integer], order: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compressed rows in another order: the new offsets, and where each entry comes from.

    >>> offset, source = rows_in_order(np.array([0, 2, 3]), np.array([1, 0]))
    >>> offset.tolist(), source.tolist()
    ([0, 1, 3], [2, 0, 1])
    """
    length = np.diff(offset)[order]
    moved = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
    # Rows change places as wholes: entry j of new row r was entry offset[order[r]] + j.
    source = np.arange(moved[-1]) + np.repeat(offset[:-1][order] - moved[:-1], length)
    return moved, source.astype(np.int64)


def quantile(bucket: Buckets, count: Counts, q: float) -> float:
    """The q-quantile of one sparse histogram; NaN when it is empty."""
    return float(quantiles_by_row(np.array([0, len(bucket)]), bucket, count, q)[0])
