"""The expectations that are compared: each gives the next day by the minute, and what it would have said of the days before.

What is known is the history in bins of five minutes, each the median of its minutes, as the store keeps it. A method answers for
the last days of the history too, so that the spread of its own misses is known: by looking ahead of each of
those days where it is causal, by its fit where it is a decomposition or a regression.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Profile, fit_fourier, fit_profile
from sentinel.core.baseline.profile import DAY_NS
from sentinel.core.model import WindowBlock

MINUTE_NS = 60_000_000_000
MONDAY_NS = 1_789_948_800_000_000_000
"""2026-09-21T00:00:00Z: the synthetic week begins on a Monday."""
BINS_A_DAY = DAY_NS // BIN_NS
SPREAD_DAYS = 7
"""Of the history, by which the spread of a method's misses is measured."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What a method says, by the minute.

    Attributes:
        before: float64[SPREAD_DAYS * 1440, S], of the history's last days.
        day: float64[1440, S], of the day after it.
        ms_per_series: process time for that day alone.
    """

    before: Floats
    day: Floats
    ms_per_series: float


def binned(seen: Floats) -> Floats:
    """Medians of five minutes."""
    medians: Floats = np.median(seen.reshape(-1, 5, seen.shape[1]), axis=1)
    return medians


def profile(history: Floats) -> Foretold:
    """The median of the same time on earlier days and weeks."""
    return _refitted(history, fit_profile)


def fourier(history: Floats) -> Foretold:
    """Robust harmonics of day and week, with what comes again at a time of day."""
    return _refitted(history, fit_fourier)


def mstl(history: Floats) -> Foretold:
    """Statsmodels' decomposition into trend, day and week, of the logarithm; the last cycle comes again.

    On the grid of five minutes, its smoothers evaluated at four points a day: at every point it would take twenty seconds a series.
    """
    from statsmodels.tsa.seasonal import MSTL  # type: ignore[import-untyped]

    before, ahead, spent = [], [], 0.0
    periods = (BINS_A_DAY, 7 * BINS_A_DAY)
    jump = BINS_A_DAY // 4
    jumps = {"seasonal_jump": jump, "trend_jump": jump, "low_pass_jump": jump}
    for column in np.log1p(history).T:
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = MSTL(column, periods=periods, stl_kwargs={**jumps, "robust": True}).fit()
        seasonal, trend = np.asarray(parts.seasonal), np.asarray(parts.trend)
        day = np.full(BINS_A_DAY, float(np.median(trend[-BINS_A_DAY:])))
        for at, period in enumerate(periods):
            day += seasonal[len(column) - period : len(column) - period + BINS_A_DAY, at]
        spent += time.process_time() - started
        ahead.append(day)
        before.append((trend + seasonal.sum(axis=1))[-SPREAD_DAYS * BINS_A_DAY :])
    return Foretold(
        before=np.repeat(np.expm1(np.stack(before, axis=1)), 5, axis=0),
        day=np.repeat(np.expm1(np.stack(ahead, axis=1)), 5, axis=0),
        ms_per_series=spent / history.shape[1] * 1e3,
    )


def followed(foretold: Foretold, seen: Floats, *, history: Floats) -> Foretold:
    """The same with the level followed, an hour's half-life, three minutes behind: a forecast for the next minutes only.

    Of what is seen a minute is used three minutes later, so this is no forecast of a day; it is what a window is judged by.
    """
    said = np.concatenate([foretold.before, foretold.day])
    truth = np.concatenate([history[-len(foretold.before) :], seen])
    share = 1 - 2 ** (-1 / 60)
    level = np.zeros(truth.shape[1])
    result = said.copy()
    miss = truth - said
    limit = 6 * 1.4826 * np.median(np.abs(miss), axis=0)
    for at in range(len(said)):
        if at >= 3:
            level += share * (np.clip(miss[at - 3], level - limit, level + limit) - level)
        result[at] += level
    cut = len(foretold.before)
    return Foretold(before=result[:cut], day=result[cut:], ms_per_series=foretold.ms_per_series)


def _refitted(history: Floats, fit: Callable[..., Profile]) -> Foretold:
    block = _block(history)
    days = len(history) // BINS_A_DAY
    before = [
        _by_minute(fit(block, at_ns=MONDAY_NS + day * DAY_NS, version=0), day)
        for day in range(days - SPREAD_DAYS, days)
    ]
    started = time.process_time()
    last = fit(block, at_ns=block.end_ns, version=1)
    spent = time.process_time() - started
    return Foretold(
        before=np.concatenate(before),
        day=_by_minute(last, days),
        ms_per_series=spent / history.shape[1] * 1e3,
    )


def _by_minute(profile: Profile, day: int) -> Floats:
    """A day of the profile, as a window of a minute asks for it."""
    count = DAY_NS // MINUTE_NS
    shape = (count, len(profile.series))
    minutes = WindowBlock(
        start_ns=MONDAY_NS + day * DAY_NS,
        step_ns=MINUTE_NS,
        series=profile.series,
        kind=np.zeros(shape[1], np.int8),
        value=np.zeros(shape, np.float32),
        weight=np.ones(shape, np.float32),
        heard=np.ones(shape, np.bool_),
    )
    return profile.expectation(minutes).expected


def _block(history: Floats) -> WindowBlock:
    return WindowBlock(
        start_ns=MONDAY_NS,
        step_ns=BIN_NS,
        series=np.arange(1, history.shape[1] + 1),
        kind=np.zeros(history.shape[1], np.int8),
        value=history.astype(np.float32),
        weight=np.ones(history.shape, np.float32),
        heard=np.ones(history.shape, np.bool_),
    )
