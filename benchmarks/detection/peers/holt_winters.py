"""Holt-Winters of statsmodels: additive trend and day, fitted once on the end of the history, then run on with what it learnt.

The smoothing weights and first states come from the history; from then on the library's own filter runs over the rest, whose
fitted values are forecasts of one step and so look at nothing ahead. A missing value is taken as the last one.
"""

from __future__ import annotations

import warnings

import numpy as np
from statsmodels.tsa.holtwinters import ExponentialSmoothing  # type: ignore[import-untyped]

from benchmarks.detection.peers.rolling import against_last_week
from benchmarks.detection.peers.windows import last_known
from benchmarks.detection.sources import Floats, Grid

_FIT_DAYS = 14
_FIT_DAYS_MIN = 2


def holt_winters(grid: Grid) -> Floats:
    """Score of each row from the end of the history's fitted part on; NaN before, and all along with under two days of history."""
    day = grid.day_count
    filled = last_known(grid.value)
    begin = max(grid.history_count - _FIT_DAYS * day, int(np.isnan(filled).sum()))
    history = filled[begin : grid.history_count]
    score = np.full(grid.value.size, np.nan)
    if history.size < _FIT_DAYS_MIN * day or day < _FIT_DAYS_MIN:
        return score
    with warnings.catch_warnings():
        # The optimiser says when it stopped early; its weights are used as they are, as a user would.
        warnings.simplefilter("ignore")
        fitted = ExponentialSmoothing(
            history,
            trend="add",
            seasonal="add",
            seasonal_periods=day,
            initialization_method="heuristic",
        ).fit(use_brute=False)
        weight = fitted.params
        forecast = (
            ExponentialSmoothing(
                filled[begin:],
                trend="add",
                seasonal="add",
                seasonal_periods=day,
                initialization_method="known",
                initial_level=weight["initial_level"],
                initial_trend=weight["initial_trend"],
                initial_seasonal=weight["initial_seasons"],
            )
            .fit(
                smoothing_level=weight["smoothing_level"],
                smoothing_trend=weight["smoothing_trend"],
                smoothing_seasonal=weight["smoothing_seasonal"],
                optimized=False,
            )
            .fittedvalues
        )
    error = np.full(grid.value.size, np.nan)
    error[begin:] = grid.value[begin:] - forecast
    return against_last_week(error, grid)
