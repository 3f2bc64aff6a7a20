"""MSTL of statsmodels (Bandara, Hyndman and Bergmeir, 2021): a series as trend, day, week and a rest.

The values are bent before, so that what multiplies adds. Seasons are averages over all cycles (a window of 101 cycles, of degree 0):
with statsmodels' own window of some cycles a season follows the noise of the last ones, and foretells a day worse. Four rounds of weights against
outliers, smoothers evaluated at four points a day and drawn straight between: a fiftieth of the time of the defaults.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.seasonal import MSTL  # type: ignore[import-untyped]

from sentinel.core.baseline.bending import bent, unbent

MSTL_DAYS_MIN = 3
WEEK_DAYS_MIN = 21
"""Of fewer the week's season would take up the noise, incidents too."""
KNOWN_RATIO_MIN = 0.8
_CYCLES = 101
_POINTS_A_DAY = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A series taken apart; all float64[T] and bent, `value = trend + day + week + rest`.

    Attributes:
        value: the series, gaps filled.
        trend, day, week, rest: its parts; the week is 0 where the history is too short for it.
        has_week: whether it is not.
        filled: bool[T], where a value was missing; the rest there says nothing.
        unit: what `unbent` needs.
    """

    value: Floats
    trend: Floats
    day: Floats
    week: Floats
    rest: Floats
    has_week: bool
    filled: NDArray[np.bool_]
    unit: NDArray[np.float32]


class TooLittleError(Exception):
    """Too short a history, or too much of it is missing."""


def decompose(value: NDArray[np.float32], *, per_day: int) -> Parts:
    """Take one series apart.

    Args:
        value: float32[T], NaN where missing; what is missing before the first value is cut off by the caller.
        per_day: values a day.

    Raises:
        TooLittleError: less than `MSTL_DAYS_MIN` days, or more than a fifth is missing.
    """
    missing = ~np.isfinite(value)
    if len(value) < MSTL_DAYS_MIN * per_day or missing.mean() > 1 - KNOWN_RATIO_MIN:
        msg = f"{len(value) / per_day:.1f} days of history, {missing.mean():.0%} of it missing"
        raise TooLittleError(msg)
    column, unit = bent(value[:, None])
    whole = _without_gaps(column[:, 0].astype(np.float64), per_day=per_day)
    has_week = len(value) >= WEEK_DAYS_MIN * per_day
    periods = (per_day, 7 * per_day) if has_week else (per_day,)
    stride = max(1, per_day // _POINTS_A_DAY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = MSTL(
            whole,
            periods=periods,
            windows=(_CYCLES,) * len(periods),
            stl_kwargs={
                "seasonal_deg": 0,
                "seasonal_jump": 1,
                "trend_jump": stride,
                "low_pass_jump": stride,
                "robust": True,
                "inner_iter": 1,
                "outer_iter": 4,
            },
        ).fit()
    seasonal = np.asarray(found.seasonal).reshape(len(whole), -1)
    trend = np.asarray(found.trend)
    week = seasonal[:, 1] if has_week else np.zeros(len(whole))
    return Parts(
        value=whole,
        trend=trend,
        day=seasonal[:, 0],
        week=week,
        rest=whole - trend - seasonal.sum(axis=1),
        has_week=has_week,
        filled=missing,
        unit=unit,
    )


def foretell(value: NDArray[np.float32], *, per_day: int, bin_count: int) -> NDArray[np.float32]:
    """What is expected of the `bin_count` values after the last: the last day's trend, and each season's last cycle again.

    Never beyond what was seen.

    Raises:
        TooLittleError: see `decompose`.
    """
    parts = decompose(value, per_day=per_day)
    at = np.arange(bin_count)
    ahead = np.full(bin_count, float(np.median(parts.trend[-per_day:])))
    for season, period in ((parts.day, per_day), (parts.week, 7 * per_day)):
        if len(season) >= period:
            ahead += season[len(season) - period + at % period]
    ahead = np.clip(ahead, parts.value.min(), parts.value.max())
    return unbent(ahead.astype(np.float32)[:, None], parts.unit)[:, 0]


def _without_gaps(value: Floats, *, per_day: int) -> Floats:
    """Short gaps drawn straight; long ones filled with the median of the same time on other days."""
    missing = np.isnan(value)
    if not missing.any():
        return value
    at = np.arange(len(value))
    straight = np.interp(at, at[~missing], value[~missing])
    days = -(-len(value) // per_day)
    padded = np.full(days * per_day, np.nan)
    padded[: len(value)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a time of day that is missing on all days
        usual = np.tile(np.nanmedian(padded.reshape(days, per_day), axis=0), days)[: len(value)]
    edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
    filled = straight.copy()
    for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if end - first > per_day // 24:
            known = np.isfinite(usual[first:end])
            filled[first:end] = np.where(known, usual[first:end], straight[first:end])
    return filled
