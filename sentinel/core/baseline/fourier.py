"""What is usual at this time of day, as a smooth curve with its jobs: harmonics of day and week, fitted robustly.

The history is bent (`bending`), so that day, weekend and trend multiply. Each series is regressed on harmonics of the day, the weekend with
a day of its own, harmonics of the week and a straight trend; late rows count more, outliers are pulled in (`huber_fit`).
Harmonics do not follow what happens in a single bin, such as a job at each full hour. What is left is therefore looked at by time of day: where its
median over the days is beyond three standard errors it is added, and so once more for the same weekday.
Between two bins of which one has a job and the other has none, nothing is drawn straight: there the profile steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.bending import bent, unbent
from sentinel.core.baseline.columns import laid_over
from sentinel.core.baseline.profile import DAY_NS, HORIZON_NS, Profile, fit_profile
from sentinel.core.baseline.quarantine import without_habits
from sentinel.core.model import WindowBlock
from sentinel.core.stats.ordering import median_of_rows
from sentinel.core.stats.robust import Regression, huber_fit, regression

FIT_DAYS = 28
_AGES_DAYS = (4, 5, 6, 7, 9, 11, 14, 17, 21, 24, FIT_DAYS)
FOURIER_DAYS_MIN = _AGES_DAYS[0]
"""Series with a shorter history are not fitted; of a longer one as many days are used as stand in this list."""
_WEEKEND_DAYS_MIN = 14
_WEEK_DAYS_MIN = 21
"""Of two weeks the week's season would take up the noise, incidents too, and expect it again."""
_KNOWN_RATIO_MIN = 0.8
"""Of the bins since the first. A missing value pulls nowhere, and with many of them the steps taken would not suffice."""

_DAY_HARMONICS = 12
_WEEKEND_HARMONICS = 4
_WEEK_HARMONICS = 10
_HALF_LIFE_DAYS = 14.0
_STEP_COUNT_MAX = 4
"""Twice as many where values are missing, which takes longer."""
_TOLERANCE = 0.003
_SCALE_STRIDE = 13
"""Shares no factor with a day's bins, so that each time of day is looked at."""
_STANDARD_ERRORS = 3.0
_MEDIAN_ERROR = 1.2533
"""The standard error of a median over that of a mean, of normal noise."""
_WEEKLY_COUNT_MIN = 3
_STEP_MIN = 0.05
"""Of bent values, so about that share of the value: less than that is nothing to see between two bins."""
_TILE_SERIES = 400


def fit_fourier(
    history: WindowBlock,
    *,
    at_ns: int,
    version: int,
    horizon_ns: int = HORIZON_NS,
    left_out: NDArray[np.bool_] | None = None,
) -> Profile:
    """The curve for `[at_ns, at_ns + horizon_ns)` from the windows of `history` that ended by `at_ns`.

    Series with less than `FOURIER_DAYS_MIN` days, or of which more than a fifth is missing, are NaN; so are all when
    a day is not a whole number of windows. The arguments are those of `fit_profile`.
    """
    step_ns = history.step_ns
    start_ns = at_ns - at_ns % step_ns
    known = int(np.clip((start_ns - history.start_ns) // step_ns, 0, history.window_count))
    bin_count = -(-horizon_ns // step_ns)
    grid = np.full((bin_count, history.series_count), np.nan, np.float32)
    steps = np.zeros(grid.shape, np.bool_)
    if DAY_NS % step_ns == 0 and known:
        per_day = DAY_NS // step_ns
        # Rows are counted back from the fit's begin, where the history may have ended some time before.
        last = (history.start_ns - start_ns) // step_ns + known
        oldest = max(0, known - FIT_DAYS * per_day - last)
        value = history.value[oldest:known]
        if left_out is not None:
            value = np.where(left_out[oldest:known], np.float32(np.nan), value)
        row = np.arange(last - len(value), last)
        for days, columns in _by_age(value, row, per_day=per_day):
            used = slice(int(np.searchsorted(row, -days * per_day)), None)
            for first in range(0, len(columns), _TILE_SERIES):
                tile = columns[first : first + _TILE_SERIES]
                grid[:, tile], steps[:, tile] = _curves(
                    value[used][:, tile],
                    row[used],
                    bin_count=bin_count,
                    days=days,
                    per_day=per_day,
                    origin=start_ns // step_ns,
                )
    return Profile(
        version=version,
        start_ns=start_ns,
        step_ns=step_ns,
        series=history.series,
        grid=grid,
        steps=np.packbits(steps, axis=1) if steps.any() else None,
    )


def fit_fourier_or_profile(
    history: WindowBlock,
    *,
    at_ns: int,
    version: int,
    horizon_ns: int = HORIZON_NS,
    left_out: NDArray[np.bool_] | None = None,
) -> Profile:
    """The curve, and the profile of series that it says nothing about."""
    below = fit_profile(
        history, at_ns=at_ns, version=version, horizon_ns=horizon_ns, left_out=left_out
    )
    if left_out is not None:
        left_out = without_habits(left_out, start_ns=history.start_ns, step_ns=history.step_ns)
    curve = fit_fourier(
        history, at_ns=at_ns, version=version, horizon_ns=horizon_ns, left_out=left_out
    )
    return laid_over(below, curve)


def _by_age(
    value: NDArray[np.float32], row: NDArray[np.int64], *, per_day: int
) -> list[tuple[int, NDArray[np.intp]]]:
    """Series that can be fitted, by the days of history that are used of them: all of a group share one design."""
    there = np.isfinite(value)
    first = row[np.argmax(there, axis=0)]
    age = np.searchsorted(_AGES_DAYS, -first // per_day, side="right") - 1
    age[~there.any(axis=0)] = -1
    found = []
    for at, count in enumerate(_AGES_DAYS):
        columns = np.flatnonzero(age == at)
        ratio = there[row >= -count * per_day][:, columns].sum(axis=0) / (count * per_day)
        columns = columns[ratio >= _KNOWN_RATIO_MIN]
        if len(columns):
            found.append((count, columns))
    return found


def _curves(
    value: NDArray[np.float32],
    row: NDArray[np.int64],
    *,
    bin_count: int,
    days: int,
    per_day: int,
    origin: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What is expected of some series, and after which bins it steps; both (bin_count, S).

    Args:
        value: float32[T, S].
        row: int64[T], bins before the fit's begin, negative.
        bin_count: how many are expected.
        days: of history.
        per_day: bins a day.
        origin: the fit's begin in bins since the epoch.
    """
    curved, unit = bent(value)
    on, design_ahead = _regression(
        int(row[0]), len(row), bin_count, days=days, per_day=per_day, origin=origin
    )
    fit = huber_fit(
        on,
        curved,
        scale_stride=_SCALE_STRIDE,
        step_count_max=_STEP_COUNT_MAX * np.where(np.isfinite(curved).all(axis=0), 1, 2),
        tolerance=_TOLERANCE,
    )
    ahead = design_ahead @ fit.coefficients
    scale = fit.scale.astype(np.float32)
    jobs, error = _jobs(fit.residual, row, scale, bin_count=bin_count, per_day=per_day)
    ahead += jobs
    # A trend that is carried on expects nothing that was never seen.
    np.clip(ahead, np.nanmin(curved, axis=0), np.nanmax(curved, axis=0), out=ahead)
    stepping = np.zeros(ahead.shape, np.bool_)
    stepping[:-1] = np.abs(np.diff(jobs, axis=0)) > np.maximum(_STANDARD_ERRORS * error, _STEP_MIN)
    return unbent(ahead, unit), stepping


@lru_cache(maxsize=len(_AGES_DAYS))
def _regression(
    first_row: int, row_count: int, bin_count: int, *, days: int, per_day: int, origin: int
) -> tuple[Regression, NDArray[np.float32]]:
    """The design of the history, and its rows ahead, float32[bin_count, K]; kept, because many tiles of series share it."""
    row = np.arange(first_row, first_row + row_count)
    rows = np.concatenate([row, np.arange(bin_count)])
    design = _design(rows + origin, days=days, per_day=per_day)
    weight = 0.5 ** (-row / (per_day * _HALF_LIFE_DAYS))
    on = regression(design[:row_count], weight=weight, dtype=np.float32)
    return on, design[row_count:].astype(np.float32)


def _design(bins: NDArray[np.int64], *, days: int, per_day: int) -> NDArray[np.float64]:
    """Columns for bins counted from the epoch, which was a Thursday: what `days` of history can tell apart."""
    day = 2 * np.pi * bins / per_day
    columns = [np.ones(len(bins))]
    harmonics = min(_DAY_HARMONICS, per_day // 4)
    columns += _waves(day, range(1, harmonics + 1))
    if days >= _WEEKEND_DAYS_MIN:
        weekend = ((bins // per_day + 3) % 7 >= 5).astype(np.float64)
        waves = _waves(day, range(1, min(_WEEKEND_HARMONICS, harmonics) + 1))
        columns += [weekend, *(weekend * wave for wave in waves)]
    if days >= _WEEK_DAYS_MIN:
        columns.append((bins - bins[0]) / len(bins) - 0.5)
        columns += _waves(day / 7, (k for k in range(1, _WEEK_HARMONICS + 1) if k % 7))
    return np.stack(columns, axis=1)


def _waves(angle: NDArray[np.float64], orders: Iterable[int]) -> list[NDArray[np.float64]]:
    return [wave(order * angle) for order in orders for wave in (np.cos, np.sin)]


def _jobs(
    residual: NDArray[np.floating],
    row: NDArray[np.int64],
    scale: NDArray[np.float32],
    *,
    bin_count: int,
    per_day: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What comes again at a time of day and the curve does not follow, (bin_count, S); and its standard error, (S,)."""
    days = -(row[0] // per_day)
    left = np.full((days * per_day, residual.shape[1]), np.nan, np.float32)
    left[row + days * per_day] = residual
    by_day = left.reshape(days, per_day, -1)
    daily = _beyond_noise(by_day, scale, count_min=FOURIER_DAYS_MIN)
    by_day -= daily
    ahead = np.arange(bin_count)
    jobs = daily[ahead % per_day]
    weeks = [lag for lag in range(7, days + 1, 7) if bin_count <= lag * per_day]
    if len(weeks) >= _WEEKLY_COUNT_MIN:
        earlier = np.stack([left[ahead + (days - lag) * per_day] for lag in weeks])
        jobs += _beyond_noise(earlier, scale, count_min=_WEEKLY_COUNT_MIN)
    return jobs, (_MEDIAN_ERROR / np.sqrt(days) * scale).astype(np.float32)


def _beyond_noise(
    rows: NDArray[np.float32], scale: NDArray[np.float32], *, count_min: int
) -> NDArray[np.float32]:
    """The median down axis 0 where it is no noise, else 0."""
    median, count = median_of_rows(rows)
    number = np.float32(len(rows)) if count is None else count.astype(np.float32)
    limit = _STANDARD_ERRORS * _MEDIAN_ERROR * scale / np.sqrt(np.maximum(number, 1))
    significant = (np.abs(median) > limit) & (number >= count_min)
    return np.where(significant, median, np.float32(0))
