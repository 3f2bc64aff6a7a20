"""Trailing windows over values with holes: mean, standard deviation and minimum of the last rows, this one included."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.detection.sources import Floats

_HOLE = -np.inf


def trailing(value: Floats, count: int, *, count_min: int = 1) -> tuple[Floats, Floats]:
    """Mean and population standard deviation of the last `count` rows, NaN where fewer than `count_min` have a value.

    Sums run in extended precision about the middle of the values: differences of long sums lose digits otherwise.
    """
    there = np.isfinite(value)
    middle = np.median(value[there]) if there.any() else 0.0
    centred = np.where(there, value - middle, 0.0).astype(np.longdouble)
    seen = _sums(there.astype(np.int64), count)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = _sums(centred, count) / seen
        variance = _sums(centred * centred, count) / seen - mean * mean
    enough = seen >= max(1, count_min)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return (
        np.where(enough, mean + middle, np.nan).astype(np.float64),
        np.where(enough, deviation, np.nan).astype(np.float64),
    )


def trailing_minimum(value: Floats, count: int) -> Floats:
    """Smallest of the last `count` rows; where one of them is missing, or NaN, there is no minimum to exceed anything."""
    padded = np.concatenate([np.full(count - 1, _HOLE), np.where(np.isnan(value), _HOLE, value)])
    smallest: Floats = np.lib.stride_tricks.sliding_window_view(padded, count).min(axis=1)
    return np.where(np.isneginf(smallest), np.nan, smallest)


def earlier(value: Floats, count: int) -> Floats:
    """Each row's value `count` rows before, NaN where there was none."""
    moved = np.full(value.size, np.nan)
    moved[count:] = value[: max(0, value.size - count)]
    return moved


def last_known(value: Floats) -> Floats:
    """Holes filled with the value before them; those at the beginning stay."""
    row = np.where(np.isfinite(value), np.arange(value.size), -1)
    row = np.maximum.accumulate(row)
    return np.where(row >= 0, value[np.maximum(row, 0)], np.nan)


def _sums(value: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    total = np.concatenate([np.zeros(1, value.dtype), np.cumsum(value)])
    begin = np.maximum(np.arange(value.size) + 1 - count, 0)
    sums: npt.NDArray[Any] = total[1:] - total[begin]
    return sums
