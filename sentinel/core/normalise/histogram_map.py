"""Other histograms' buckets, mapped to log-linear ones.

Every observation of a bucket is taken to be at one point of it, the same point each time. Spreading it out would be
a little nearer to the truth, but counts would no longer be whole, and a later cumulative histogram minus an earlier
one would no longer be exact.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sentinel.core.stats import log_linear

_MAPS_MAX = 256
_BOUNDS_MAX = 1024
_SCALE_MIN, _SCALE_MAX = -10, 20


class ExplicitMap:
    """Boundaries to bucket numbers, remembered, because a metric's boundaries rarely change."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[float, ...], float], NDArray[np.int16] | None] = {}

    def buckets(self, bounds: tuple[float, ...], *, scale: float) -> NDArray[np.int16] | None:
        """The log-linear bucket of each of the len(bounds) + 1 buckets; None when the boundaries are not valid.

        A bucket stands for the middle of its bounds, the first one reaching down to 0; the last one, which has no
        upper bound, for its lower bound. `scale` turns the boundaries' unit into the wanted one.
        """
        if len(bounds) > _BOUNDS_MAX:
            return None
        key = (bounds, scale)
        if key not in self._known:
            if len(self._known) >= _MAPS_MAX:
                self._known.clear()
            self._known[key] = _explicit_buckets(bounds, scale)
        return self._known[key]


def _explicit_buckets(bounds: tuple[float, ...], scale: float) -> NDArray[np.int16] | None:
    if not bounds:
        # One bucket for everything says nothing about the values, only that there were some.
        return np.full(1, log_linear.UNTIMED, np.int16)
    if not all(math.isfinite(bound) for bound in bounds):
        return None
    edges = np.maximum(np.array((0.0, *bounds, bounds[-1])) * scale, 0.0)
    if any(upper <= lower for lower, upper in pairwise(bounds)):
        return None
    return log_linear.bucket_of(edges[:-1] / 2 + edges[1:] / 2)


def exponential_buckets(
    *, scale: int, offset: int, length: int, unit: float
) -> NDArray[np.int16] | None:
    """The log-linear bucket of each of `length` base-2 exponential buckets; None when the scale is not valid.

    Bucket i holds (base^i, base^(i+1)] with base 2^(2^-scale); it stands for its geometric middle.

    >>> exponential_buckets(scale=0, offset=0, length=2, unit=1.0).tolist()
    [1294, 1326]
    """
    if not _SCALE_MIN <= scale <= _SCALE_MAX or length > log_linear.BUCKET_COUNT:
        return None
    return exponential_buckets_at(float(offset) + np.arange(length), scale=scale, unit=unit)


def exponential_buckets_at(
    index: NDArray[np.floating], *, scale: int, unit: float
) -> NDArray[np.int16]:
    """As `exponential_buckets`, for buckets of which not all are there; the scale is a valid one."""
    exponent = (index + 0.5) * 2.0**-scale
    # Beyond these exponents every value is in the first or the last bucket anyway.
    return log_linear.bucket_of(np.exp2(np.clip(exponent, -200, 200)) * unit)
