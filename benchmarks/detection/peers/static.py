"""A fixed threshold, set once from the history: what most teams have."""

from __future__ import annotations

import numpy as np

from benchmarks.detection.sources import Floats, Grid

_TAIL = 0.999


def three_sigma(grid: Grid) -> Floats:
    """Distance from the history's mean in its standard deviations, either way."""
    history = grid.value[: grid.history_count]
    if not np.isfinite(history).any():
        return np.full(grid.value.size, np.nan)
    distance = np.abs(grid.value - np.nanmean(history))
    return distance / _positive(float(np.nanstd(history)), history)


def tail(grid: Grid) -> Floats:
    """Height over the history's median, where its 99.9 % quantile is 1: a rule on "too high" alone."""
    history = grid.value[: grid.history_count]
    if not np.isfinite(history).any():
        return np.full(grid.value.size, np.nan)
    middle, top = np.nanmedian(history), np.nanquantile(history, _TAIL)
    return (grid.value - middle) / _positive(float(top - middle), history)


def _positive(scale: float, history: Floats) -> float:
    # A history without any change has no scale: then every change is far out.
    return max(scale, 1e-9 * float(np.nanmax(np.abs(history))), 1e-12)
