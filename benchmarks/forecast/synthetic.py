"""Traffic of which the truth is known: a shape of the day, a week, a trend, a month's end, noise, outages, scheduled jobs.

Each series is `counts(mean * (1 + slow noise))`: three harmonics of the day with a phase of its own, a dip at noon of working
days, a step at weekends, a straight trend, two busy days at the end of a month of thirty, slow noise of 4 % that forgets
itself at 0.9 a minute, and the noise of counts, 1.2 times that of Poisson's. Outages and bursts of half an hour are in what
is seen, not in what is true. Scheduled jobs, where asked for, are in both: half as much again in the first five minutes of
each hour, and three times as much from 02:00 to 02:20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINUTES_A_DAY = 1440
_SLOW_NOISE = 0.04
_SLOW_MEMORY = 0.9
_COUNT_NOISE = 1.2
_MONTH_DAYS = 30
_MONTH_FIRST_DAY = 16
"""Days 12 and 13 are the month's end: it is learnt from, and the day foretold is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """Series by the minute.

    Attributes:
        seen: float64[T, S], whole numbers.
        mean: float64[T, S], what is to be foretold.
        disturbed: bool[T, S], minutes of outages and bursts.
    """

    seen: NDArray[np.float64]
    mean: NDArray[np.float64]
    disturbed: NDArray[np.bool_]


def synthetic(series_count: int, *, days: int, seed: int, jobs: bool) -> Synthetic:
    """`series_count` series of `days` days from midnight on; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    minute = np.arange(days * MINUTES_A_DAY)
    mean = _mean(rng, minute, series_count, jobs=jobs)
    slow = _slow_noise(rng, mean.shape)
    counts = np.sqrt(mean) * _COUNT_NOISE * rng.standard_normal(mean.shape)
    seen = mean * (1 + _SLOW_NOISE * slow) + counts
    disturbed = np.zeros(mean.shape, np.bool_)
    for column in range(series_count):
        for _ in range(max(1, days // 7)):
            first = int(rng.integers(0, len(minute) - 40))
            seen[first : first + 31, column] *= rng.choice([0.1, 0.3, 2.5, 4.0])
            disturbed[first : first + 31, column] = True
    return Synthetic(seen=np.maximum(np.round(seen), 0), mean=mean, disturbed=disturbed)


def _mean(
    rng: np.random.Generator, minute: NDArray[np.int64], series_count: int, *, jobs: bool
) -> NDArray[np.float64]:
    def each(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, series_count)

    level = np.exp(rng.normal(5.5, 1.0, series_count))
    late = each(-120, 120)
    clock = minute[:, None] + late
    angle = 2 * np.pi * clock / MINUTES_A_DAY
    shape = 1 + each(0.3, 0.7) * np.sin(angle - 2)
    shape += each(0.05, 0.25) * np.sin(2 * angle + 1) + each(0, 0.1) * np.sin(3 * angle)
    weekend = (minute // MINUTES_A_DAY % 7 >= 5)[:, None]
    week = np.where(weekend, each(0.5, 0.9), 1.0)
    noon = 0.15 * np.exp(-0.5 * ((clock % MINUTES_A_DAY - 750) / 30) ** 2)
    trend = 1 + rng.normal(0, 0.15, series_count) * (minute / (28 * MINUTES_A_DAY))[:, None]
    of_month = (minute // MINUTES_A_DAY + _MONTH_FIRST_DAY) % _MONTH_DAYS
    closing = np.where((of_month >= _MONTH_DAYS - 2)[:, None], each(1.1, 1.6), 1.0)
    mean = level * np.maximum(shape, 0.05) * week * np.where(weekend, 1.0, 1 - noon)
    mean *= np.maximum(trend, 0.2) * closing
    if jobs:
        of_day = minute % MINUTES_A_DAY
        mean *= np.where((of_day >= 120) & (of_day < 140), 3.0, 1.0)[:, None]
        mean *= np.where(minute % 60 < 5, 1.5, 1.0)[:, None]
    result: NDArray[np.float64] = mean
    return result


def _slow_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Noise of deviation 1 of which nine tenths stay from a minute to the next."""
    noise = rng.standard_normal(shape) * np.sqrt(1 - _SLOW_MEMORY**2)
    for at in range(1, len(noise)):
        noise[at] += _SLOW_MEMORY * noise[at - 1]
    return noise
