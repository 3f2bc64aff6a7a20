"""MSTL of statsmodels: trend, day and week, decomposed anew at each beginning of a day and carried on for that day.

The decomposition looks both ways, so it is fitted on the past alone: the next day is expected to be the last day's trend plus the last
cycle of each season. It works on a grid of fifteen minutes, or of the series' own steps where they are longer: at steps of a
minute it would take minutes a fit.
"""

from __future__ import annotations

import warnings

import numpy as np
from statsmodels.tsa.seasonal import MSTL  # type: ignore[import-untyped]

from benchmarks.detection.peers.rolling import against_last_week
from benchmarks.detection.peers.windows import last_known
from benchmarks.detection.sources import Floats, Grid

_COARSE_S = 900
_FIT_DAYS = 28
_WEEKLY_FROM_DAYS = 22
"""Three cycles and a day: of two the week's season takes up the noise, incidents too, and expects it again."""
_FIT_DAYS_MIN = 3
_SPREAD_DAYS = 8
_STRIDES_A_DAY = 4
"""How often a day the smoothers are evaluated, and drawn straight between: ten times faster, with the same spread of residuals."""
_ROBUST = {"robust": True, "inner_iter": 1, "outer_iter": 4}
"""Weights against outliers: incidents of the past belong to no season. Found more at fewer pages than without."""


def mstl(grid: Grid) -> Floats:
    """Score of each row; NaN before the third day, and long before the scored part."""
    fold = max(1, _COARSE_S // grid.step_s)
    day_rows = grid.day_count // fold
    if day_rows < 2:
        return np.full(grid.value.size, np.nan)
    coarse = last_known(_means(grid.value, fold))
    first = int(np.isnan(coarse).sum())
    expected = np.full(coarse.size, np.nan)
    # The scored part needs errors of the week before it, to know their spread; what is earlier is not worth its time.
    needed = grid.history_count // fold - _SPREAD_DAYS * day_rows
    for begin in range(max(needed, first + _FIT_DAYS_MIN * day_rows), coarse.size, day_rows):
        past = coarse[max(first, begin - _FIT_DAYS * day_rows) : begin]
        tomorrow = _tomorrow(past, day_rows)
        expected[begin : begin + day_rows] = tomorrow[: coarse.size - begin]
    error = grid.value - np.repeat(expected, fold)[: grid.value.size]
    return against_last_week(error, grid)


def _tomorrow(past: Floats, day_rows: int) -> Floats:
    periods = (day_rows, 7 * day_rows) if past.size > _WEEKLY_FROM_DAYS * day_rows else (day_rows,)
    stride = max(1, day_rows // _STRIDES_A_DAY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = MSTL(
            past,
            periods=periods,
            stl_kwargs={
                "seasonal_jump": 1,
                "trend_jump": stride,
                "low_pass_jump": stride,
                **_ROBUST,
            },
        ).fit()
    seasonal = np.asarray(parts.seasonal).reshape(past.size, -1)
    ahead = np.full(day_rows, float(np.median(np.asarray(parts.trend)[-day_rows:])))
    for column, period in enumerate(periods):
        ahead += seasonal[past.size - period : past.size - period + day_rows, column]
    return ahead


def _means(value: Floats, fold: int) -> Floats:
    """Means of `fold` rows; a last part of fewer is filled with nothing."""
    rows = -(-value.size // fold)
    padded = np.full(rows * fold, np.nan)
    padded[: value.size] = value
    parts = padded.reshape(rows, fold)
    there = np.isfinite(parts)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(there, parts, 0.0).sum(axis=1) / there.sum(axis=1)
    return means
