"""Grafana's adaptive anomaly rules for Prometheus, in our own code from their description.

The rules keep an hour's mean of the values above zero, and three bands round it, the widest of which holds: twice a standard deviation of
the hour, averaged over the 26 hours before but of restless hours only (more than half of the mean); half of the mean; and the hours
centred a day and a week earlier with twice their standard deviation. They alert after five minutes outside.

The score is the multiple of the widths at which the value is on the widest band's edge: 1 is the rules as they come. With steps of an hour and more an
hour's mean is the value itself: the rules cannot see anything then, and that is measured too.
"""

from __future__ import annotations

import numpy as np

from benchmarks.detection.peers.windows import earlier, trailing, trailing_minimum
from benchmarks.detection.sources import Floats, Grid

_HOUR_S = 3600
_FOR_S = 300
_DEVIATIONS = 2.0
_MARGIN = 0.5
_RESTLESS = 0.5
_SMOOTH_HOURS = 26
_CENTRED_HOURS = (23.5, 167.5)
_WHOLE_HOURS = (24, 168)


def adaptive(grid: Grid) -> Floats:
    """Score of each row; NaN where it, or one of the five minutes before it, has none."""
    value = np.where(grid.value > 0, grid.value, np.nan)
    mean, deviation = trailing(value, grid.rows_of(_HOUR_S))
    restless = np.where(deviation > _RESTLESS * mean, deviation, np.nan)
    smooth, _ = trailing(restless, grid.rows_of(_SMOOTH_HOURS * _HOUR_S))
    bands = [(mean, _DEVIATIONS * smooth), (mean, _MARGIN * mean)]
    for hours in _CENTRED_HOURS if grid.step_s < _HOUR_S else _WHOLE_HOURS:
        rows = grid.rows_of(hours * _HOUR_S)
        bands.append((earlier(mean, rows), _DEVIATIONS * earlier(deviation, rows)))
    above = np.full(value.size, np.inf)
    below = np.full(value.size, np.inf)
    for centre, width in bands:
        width = np.maximum(width, 1e-12)
        # A band that is not there yet does not hold anything: fmin passes over NaN.
        above = np.fmin(above, (value - centre) / width)
        below = np.fmin(below, (centre - value) / width)
    outside = np.where(np.isnan(value), np.nan, np.fmax(above, below))
    rows = _FOR_S // grid.step_s + 1 if grid.step_s <= _FOR_S else 1
    return trailing_minimum(outside, rows)
