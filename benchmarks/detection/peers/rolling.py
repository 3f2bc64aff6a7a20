"""Rolling z: distance from the mean of the last day in that day's standard deviations."""

from __future__ import annotations

import numpy as np

from benchmarks.detection.peers.windows import earlier, trailing
from benchmarks.detection.sources import Floats, Grid

_COUNT_MIN = 5


def rolling_z(grid: Grid) -> Floats:
    """Score of each row against the 24 hours before it, this row left out."""
    before = earlier(grid.value, 1)
    mean, deviation = trailing(before, max(10, grid.day_count), count_min=_COUNT_MIN)
    return np.abs(grid.value - mean) / np.maximum(deviation, 1e-9 * np.abs(mean) + 1e-12)


def against_last_week(error: Floats, grid: Grid) -> Floats:
    """Errors of a forecast in standard deviations of the errors of the seven days before.

    A model's errors are judged this way because it served the peers best: with the spread of the history alone they page more.
    """
    mean, deviation = trailing(
        earlier(error, 1), 7 * grid.day_count, count_min=max(20, grid.day_count // 4)
    )
    spread = np.hypot(mean, deviation)
    history = np.abs(grid.value[: grid.history_count])
    level = float(np.nanmedian(history)) if np.isfinite(history).any() else 0.0
    return np.abs(error) / (spread + 0.002 * level + 1e-12)
