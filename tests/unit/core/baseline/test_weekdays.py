"""Goal: the last days are left out exactly where the same weekday foretells better.

Method: four weeks of hours of one level a weekday, with noise of a tenth, by days that differ or do not; the day that follows
the history is named by the number of days that are cut off.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline.profile import LAG_DAYS
from sentinel.core.baseline.weekdays import misleading

PER_DAY = 288
WORKDAYS = (10.0, 10.0, 10.0, 10.0, 10.0, 3.0, 3.0)


def history(levels: tuple[float, ...], days: int, *, seed: int = 1) -> np.ndarray:
    """float32[T, 1] of 5-minute bins from a Monday on."""
    rng = np.random.default_rng(seed)
    level = np.repeat([levels[day % 7] for day in range(days)], PER_DAY)
    return np.asarray(level * (1 + 0.1 * rng.standard_normal(len(level))), np.float32)[:, None]


def lags_left_out(past: np.ndarray, *, bin_count: int = PER_DAY) -> list[int]:
    """Days back that are not asked on the following day; noise may decide otherwise in an hour of it, not in more."""
    found = misleading(
        past, offset=len(past), bin_count=bin_count, per_day=PER_DAY, lag_days=LAG_DAYS
    )[:, :, 0]
    assert found.shape == (len(LAG_DAYS), bin_count)
    share = found.mean(axis=1)
    assert np.all((share > 0.9) | (share < 0.1))
    return [days for days, out in zip(LAG_DAYS, (share > 0.5).tolist(), strict=True) if out]


@pytest.mark.parametrize(
    ("days", "out"),
    [
        (28 + 5, [1, 2, 3, 4]),  # Saturday: Friday, Thursday, Wednesday, Tuesday
        (28 + 6, [2, 3, 4]),  # Sunday: Saturday is like it
        (28 + 0, [1, 2]),  # Monday: the weekend
        (28 + 1, [2, 3]),
        (28 + 2, [3, 4]),
        (28 + 3, [4]),
        (28 + 4, []),
    ],
)
def test_of_a_working_week_each_day_asks_its_like(days: int, out: list[int]) -> None:
    assert lags_left_out(history(WORKDAYS, days)) == out


def test_a_series_without_a_week_asks_all_lags() -> None:
    past = np.concatenate([history((10.0,) * 7, 33, seed=seed) for seed in range(20)], axis=1)
    found = misleading(
        past, offset=len(past), bin_count=PER_DAY, per_day=PER_DAY, lag_days=LAG_DAYS
    )
    assert found.mean() < 0.01


def test_two_weeks_are_enough_for_a_strong_week_and_one_is_not() -> None:
    assert lags_left_out(history(WORKDAYS, 14 + 5)) == [1, 2, 3, 4]
    assert lags_left_out(history(WORKDAYS, 7 + 5)) == []


def test_an_outage_of_a_day_changes_no_choice() -> None:
    past = history(WORKDAYS, 28 + 5)
    past[-7 * PER_DAY : -6 * PER_DAY] = 0.0  # the last Saturday
    assert lags_left_out(past) == [1, 2, 3, 4]
    plain = history((10.0,) * 7, 28 + 5)
    plain[-7 * PER_DAY : -6 * PER_DAY] = 0.0
    assert lags_left_out(plain) == []


def test_what_is_missing_says_nothing() -> None:
    past = history(WORKDAYS, 28 + 5)
    past[np.random.default_rng(3).random(len(past)) < 0.5] = np.nan
    assert lags_left_out(past) == [1, 2, 3, 4]
    assert lags_left_out(np.full_like(past, np.nan)) == []
    assert lags_left_out(past[:0]) == []


def test_bins_wider_than_an_hour_and_horizons_that_end_within_one() -> None:
    past = history(WORKDAYS, 28 + 5)
    wide = past.reshape(-1, PER_DAY // 6, 1).mean(axis=1)
    found = misleading(wide, offset=len(wide), bin_count=7, per_day=6, lag_days=LAG_DAYS)
    assert found.shape == (len(LAG_DAYS), 7, 1)
    assert found[:4, :6].all()
    short = misleading(past, offset=len(past), bin_count=7, per_day=PER_DAY, lag_days=LAG_DAYS)
    assert short.shape == (len(LAG_DAYS), 7, 1)
    assert short[:4].all()


def test_a_day_of_bins_that_hours_do_not_divide() -> None:
    per_day = 80  # bins of 18 minutes
    level = np.repeat([WORKDAYS[day % 7] for day in range(33)], per_day)[:, None]
    past = level.astype(np.float32) + np.float32(0.1) * np.sin(np.arange(len(level)))[:, None]
    found = misleading(
        past.astype(np.float32),
        offset=len(past),
        bin_count=per_day,
        per_day=per_day,
        lag_days=LAG_DAYS,
    )
    assert found[:4].mean() > 0.9
    assert not found[4:].any()
