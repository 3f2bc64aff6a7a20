"""Goal: statsmodels' MSTL as we ask it takes a series apart rightly and foretells its next day from the past alone.

Method: a series whose parts can be written down, with noise, outages and gaps.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.audit.mstl import TooLittleError, decompose, foretell
from sentinel.core.baseline.bending import unbent

pytestmark = pytest.mark.timeout(120)  # loading statsmodels alone takes seconds on a busy machine

PER_DAY = 96


def usual(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    day = 1 + 0.5 * np.sin(2 * np.pi * bins / PER_DAY)
    result: NDArray[np.float64] = 200 * day * np.where(bins // PER_DAY % 7 >= 5, 0.6, 1.0)
    return result


def noisy(days: int) -> NDArray[np.float32]:
    bins = np.arange(days * PER_DAY)
    rng = np.random.default_rng(5)
    return (usual(bins) * (1 + 0.03 * rng.standard_normal(len(bins)))).astype(np.float32)


def error_of(ahead: NDArray[np.float32], days: int) -> float:
    truth = usual(np.arange(days * PER_DAY, days * PER_DAY + len(ahead)))
    return float(np.median(np.abs(ahead / truth - 1)))


# The days after are a Monday and a Saturday.
@pytest.mark.parametrize("days", [28, 26])
def test_the_days_ahead_are_foretold_incidents_and_gaps_in_the_past_or_not(days: int) -> None:
    value = noisy(days)
    count = 2 * PER_DAY
    assert error_of(foretell(value, per_day=PER_DAY, bin_count=count), days) < 0.03
    value[300:330] *= 5
    value[1000:1003] = np.nan
    value[1500 : 1500 + PER_DAY] = np.nan
    value[-20:] = np.nan
    ahead = foretell(value, per_day=PER_DAY, bin_count=count)
    assert ahead.dtype == np.float32
    assert error_of(ahead, days) < 0.04
    assert ahead.max() <= np.nanmax(value)


def test_the_parts_add_up_and_say_where_a_gap_was() -> None:
    value = noisy(28)
    value[700:760] = np.nan
    parts = decompose(value, per_day=PER_DAY)
    whole = parts.trend + parts.day + parts.week + parts.rest
    np.testing.assert_allclose(whole, parts.value, atol=1e-9)
    assert parts.filled.sum() == 60
    back = unbent(parts.value.astype(np.float32)[:, None], parts.unit)[:, 0]
    np.testing.assert_allclose(back[~parts.filled], value[~parts.filled], rtol=1e-4)
    assert parts.has_week
    assert np.ptp(parts.week) > 0.3


def test_two_weeks_have_a_day_and_no_week() -> None:
    bins = np.arange(14 * PER_DAY)
    value = (50 + 20 * np.sin(2 * np.pi * bins / PER_DAY)).astype(np.float32)
    parts = decompose(value, per_day=PER_DAY)
    assert not parts.has_week
    assert (parts.week == 0).all()
    ahead = foretell(value, per_day=PER_DAY, bin_count=PER_DAY)
    np.testing.assert_allclose(ahead, value[:PER_DAY], rtol=0.02)


def test_a_series_that_never_moves_and_one_of_nothing() -> None:
    for level in (7.0, 0.0):
        value = np.full(22 * PER_DAY, level, np.float32)
        np.testing.assert_allclose(
            foretell(value, per_day=PER_DAY, bin_count=5), [level] * 5, atol=1e-5
        )


def test_too_little_is_said() -> None:
    with pytest.raises(TooLittleError, match=r"2\.0 days"):
        decompose(noisy(28)[: 2 * PER_DAY], per_day=PER_DAY)
    value = noisy(28)
    value[::3] = np.nan
    with pytest.raises(TooLittleError, match="33%"):
        decompose(value, per_day=PER_DAY)
