"""Changes of level: the partition of a series into stretches of one level each, found exactly.

Optimal partitioning (Jackson et al., 2005) of the medians of quarter days: the cost of a stretch is the sum of distances from
its median, so that an incident of some hours is no change; each further stretch must save `PENALTY` times the logarithm of the
length times the usual distance between neighbours. A month has 112 quarters, so every partition is looked at, and no library is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PENALTY = 3.0
STRETCH_QUARTERS_MIN = 8
"""Two days, so that an incident of less than one is no level. A change of the last two days is not seen yet."""
_MAD_OF_NORMAL = 0.6745

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A change of level: before which quarter of a day it lies, and by how much it moves up."""

    quarter: int
    size: float


def quarters_of(value: Floats, *, per_day: int) -> Floats:
    """Medians of quarter days, the last whole quarter last; NaN where nothing is known."""
    width = max(1, per_day // 4)
    count = len(value) // width
    rows = value[len(value) - count * width :].reshape(count, width)
    known = np.isfinite(rows)
    result = np.full(count, np.nan)
    there = known.any(axis=1)
    result[there] = np.nanmedian(rows[there], axis=1)
    return result


def shifts_of(quarters: Floats, *, size_min: float) -> list[Shift]:
    """Changes of level of at least `size_min`, in order of time; NaN counts as the level before.

    >>> shifts_of(np.array([1.0] * 8 + [3.0] * 8), size_min=0.5)
    [Shift(quarter=8, size=2.0)]
    """
    known = np.isfinite(quarters)
    if known.sum() < 2 * STRETCH_QUARTERS_MIN:
        return []
    value = np.interp(np.arange(len(quarters)), np.flatnonzero(known), quarters[known])
    noise = float(np.median(np.abs(np.diff(value)))) / _MAD_OF_NORMAL / np.sqrt(2)
    penalty = max(PENALTY * np.log(len(value)) * noise, 1e-9)
    ends = _partition(value, penalty=penalty)
    levels = [float(np.median(part)) for part in np.split(value, ends)]
    found = []
    before = levels[0]
    for at, level in zip(ends, levels[1:], strict=True):
        if abs(level - before) >= max(size_min, 2 * noise):
            found.append(Shift(quarter=at, size=level - before))
            before = level
    return found


def _partition(value: Floats, *, penalty: float) -> list[int]:
    """Where the stretches of the cheapest partition begin, the first left out."""
    count = len(value)
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    came_from = np.zeros(count + 1, np.intp)
    for end in range(STRETCH_QUARTERS_MIN, count + 1):
        for begin in range(end - STRETCH_QUARTERS_MIN + 1):
            if np.isfinite(best[begin]):
                part = value[begin:end]
                cost = best[begin] + float(np.abs(part - np.median(part)).sum()) + penalty
                if cost < best[end]:
                    best[end], came_from[end] = cost, begin
    begins = []
    at = int(came_from[count])
    while at > 0:
        begins.append(at)
        at = int(came_from[at])
    return begins[::-1]
