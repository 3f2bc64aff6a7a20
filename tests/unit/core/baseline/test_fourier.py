"""Goal: the curve follows day, weekend and trend, jobs of one bin included, and is not moved by incidents of the past.

Method: histories whose right answer can be written down, with noise and outages on top.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Profile, fit_fourier, joined, laid_over, selected
from sentinel.core.model import Kind, WindowBlock

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
MONDAY_NS = 1_789_948_800_000_000_000
Floats = NDArray[np.float64]


def block(value: Floats, *, step_ns: int = BIN_NS, start_ns: int = MONDAY_NS) -> WindowBlock:
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.arange(1, value.shape[1] + 1),
        kind=np.full(value.shape[1], int(Kind.GAUGE), np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def usual(bins: NDArray[np.int64]) -> Floats:
    """Traffic with a day, a quieter weekend, growth, and a job at each full hour; bins count from a Monday."""
    day = 1 + 0.5 * np.sin(2 * np.pi * bins / PER_DAY) + 0.1 * np.cos(4 * np.pi * bins / PER_DAY)
    weekend = np.where(bins // PER_DAY % 7 >= 5, 0.6, 1.0)
    job = np.where(bins % 12 == 0, 1.5, 1.0)
    growth = 1 + bins / (PER_DAY * 280)
    result: Floats = 200 * day * weekend * job * growth
    return result


def noisy(days: int, *, seed: int = 1, noise: float = 0.03) -> Floats:
    bins = np.arange(days * PER_DAY)
    rng = np.random.default_rng(seed)
    value: Floats = usual(bins) * (1 + noise * rng.standard_normal(len(bins)))
    return value[:, None]


def relative_error(fit: Profile, days: int) -> Floats:
    truth = usual(np.arange(days * PER_DAY, days * PER_DAY + len(fit.grid)))
    error: Floats = np.abs(fit.grid[:, 0] / truth - 1)
    return error


# The fits of a Monday, of a Saturday, and of a moment inside a day.
@pytest.mark.parametrize("days", [28, 33])
def test_tomorrow_is_foretold_with_its_jobs(days: int) -> None:
    value = noisy(days)
    rng = np.random.default_rng(2)
    for first in rng.integers(0, len(value) - 80, 6):
        value[first : first + 72] *= 4  # six hours each, one in eighteen of all
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + days * DAY_NS, version=5)
    assert fit.version == 5
    assert fit.start_ns == MONDAY_NS + days * DAY_NS
    error = relative_error(fit, days)
    assert np.median(error) < 0.03
    assert np.quantile(error, 0.99) < 0.12
    assert np.median(error[::12]) < 0.03


def test_a_fit_inside_a_day_goes_on_from_there() -> None:
    value = noisy(29)
    at = 28 * PER_DAY + 100
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + at * BIN_NS + 7, version=1)
    assert fit.start_ns == MONDAY_NS + at * BIN_NS
    truth = usual(np.arange(at, at + len(fit.grid)))
    assert np.median(np.abs(fit.grid[:, 0] / truth - 1)) < 0.015


def test_a_job_of_one_weekday_is_expected_on_it_alone() -> None:
    value = noisy(28)
    for week in range(4):
        value[(week * 7) * PER_DAY + 100] *= 2
    on_monday = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    assert relative_error(on_monday, 28)[100] > 0.8
    without_last = fit_fourier(block(value), at_ns=MONDAY_NS + 27 * DAY_NS, version=1)
    assert relative_error(without_last, 27)[100] < 0.1


def test_nothing_after_the_fit_is_looked_at() -> None:
    value = noisy(30)
    changed = value.copy()
    changed[28 * PER_DAY :] *= 9
    at_ns = MONDAY_NS + 28 * DAY_NS
    first = fit_fourier(block(value), at_ns=at_ns, version=1)
    second = fit_fourier(block(changed), at_ns=at_ns, version=1)
    assert np.array_equal(first.grid, second.grid)


def test_the_same_history_gives_the_same_bytes() -> None:
    value = noisy(28)
    fits = [fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1) for _ in "ab"]
    assert fits[0].to_bytes() == fits[1].to_bytes()


def test_too_short_or_too_gappy_is_unknown() -> None:
    value = np.repeat(noisy(28), 4, axis=1)
    value[: 25 * PER_DAY, 1] = np.nan
    value[::4, 2] = np.nan
    value[:, 3] = np.nan
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    assert np.isfinite(fit.grid).any(axis=0).tolist() == [True, False, False, False]


def test_few_days_give_a_day_without_a_week() -> None:
    bins = np.arange(6 * PER_DAY)
    value = 50 + 20 * np.sin(2 * np.pi * bins / PER_DAY)[:, None]
    value[:500] = np.nan
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 6 * DAY_NS, version=1)
    ahead = np.arange(6 * PER_DAY, 6 * PER_DAY + len(fit.grid))
    truth = 50 + 20 * np.sin(2 * np.pi * ahead / PER_DAY)
    np.testing.assert_allclose(fit.grid[:, 0], truth, rtol=0.03)


def test_gaps_and_a_history_that_ended_before_the_fit() -> None:
    value = noisy(28)
    rng = np.random.default_rng(4)
    value[rng.random(len(value)) < 0.1] = np.nan
    value[27 * PER_DAY + 200 :] = np.nan
    cut = value[: 27 * PER_DAY + 200]
    at_ns = MONDAY_NS + 28 * DAY_NS
    fit = fit_fourier(block(cut), at_ns=at_ns, version=1)
    assert np.median(relative_error(fit, 28)) < 0.02
    padded = fit_fourier(block(value), at_ns=at_ns, version=1)
    assert np.median(np.abs(fit.grid / padded.grid - 1)) < 0.01


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_the_unit_does_not_matter(scale: float) -> None:
    value = noisy(28)
    fit = fit_fourier(block(value * scale), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    plain = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    np.testing.assert_allclose(fit.grid / scale, plain.grid, rtol=2e-3)


def test_values_below_and_of_nothing() -> None:
    bins = np.arange(28 * PER_DAY)
    value = np.stack(
        [
            -30 - 10 * np.cos(2 * np.pi * bins / PER_DAY),
            np.zeros(len(bins)),
            (bins % 400 == 0) * 1.0,
        ],
        axis=1,
    )
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    assert fit.grid[0, 0] == pytest.approx(-40, rel=0.02)
    assert fit.grid[PER_DAY // 2, 0] == pytest.approx(-20, rel=0.02)
    assert (fit.grid[:, 1] == 0).all()
    assert (np.abs(fit.grid[:, 2]) < 0.05).all()


def test_nothing_is_expected_that_was_never_seen() -> None:
    bins = np.arange(28 * PER_DAY)
    value = np.exp(bins / PER_DAY / 5)[:, None]
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    assert fit.grid.max() <= value.max() * 1.001


def test_windows_of_an_hour_and_windows_that_do_not_divide_a_day() -> None:
    hours = np.arange(28 * 24)
    value = 50 + 20 * np.sin(2 * np.pi * hours / 24)[:, None]
    hour_ns = 12 * BIN_NS
    fit = fit_fourier(block(value, step_ns=hour_ns), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    np.testing.assert_allclose(fit.grid[:24, 0], value[:24, 0], rtol=0.02)
    odd_ns = 7 * BIN_NS
    start_ns = MONDAY_NS // odd_ns * odd_ns
    odd = fit_fourier(
        block(value, step_ns=odd_ns, start_ns=start_ns), at_ns=start_ns + 600 * odd_ns, version=1
    )
    assert np.isnan(odd.grid).all()


def expected_by_minute(fit: Profile, series: list[int]) -> Floats:
    shape = (len(fit.grid) * 5, len(series))
    minutes = WindowBlock(
        start_ns=fit.start_ns,
        step_ns=BIN_NS // 5,
        series=np.array(series),
        kind=np.zeros(shape[1], np.int8),
        value=np.zeros(shape, np.float32),
        weight=np.ones(shape, np.float32),
        heard=np.ones(shape, np.bool_),
    )
    return fit.expectation(minutes).expected


def test_a_job_begins_and_ends_at_once() -> None:
    """Drawn straight from bin to bin, a job of five minutes was expected too low inside and too high beside it."""
    value = np.concatenate([noisy(28), np.full((28 * PER_DAY, 1), 3.0)], axis=1)
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    said = expected_by_minute(fit, [1, 2])
    job = said[60 * 9 : 60 * 9 + 5, 0]
    before, after = said[60 * 9 - 5 : 60 * 9, 0], said[60 * 9 + 5 : 60 * 9 + 10, 0]
    assert job.min() > 1.4 * max(before.max(), after.max())
    np.testing.assert_allclose(said[:, 1], 3.0, rtol=1e-3)
    # A window at a time, other series beside it, and the stored form give the same.
    again = Profile.from_bytes(fit.to_bytes())
    np.testing.assert_array_equal(expected_by_minute(again, [1, 2]), said)
    np.testing.assert_array_equal(expected_by_minute(fit.copied(), [0, 1, 9])[:, 1], said[:, 0])
    assert np.isnan(expected_by_minute(fit, [0, 1, 9])[:, [0, 2]]).all()


def test_a_straight_line_is_kept_where_nothing_steps() -> None:
    bins = np.arange(28 * PER_DAY)
    value = 50 + 20 * np.sin(2 * np.pi * bins / PER_DAY)[:, None]
    fit = fit_fourier(block(value), at_ns=MONDAY_NS + 28 * DAY_NS, version=1)
    said = expected_by_minute(fit, [1])[2:-2, 0]
    assert np.abs(np.diff(said, n=2)).max() < 0.02


def test_profiles_are_taken_apart_and_put_together() -> None:
    value = np.repeat(noisy(28), 3, axis=1)
    value[:, 1] = 3.0
    at_ns = MONDAY_NS + 28 * DAY_NS
    fit = fit_fourier(block(value), at_ns=at_ns, version=1)
    assert fit.steps is not None
    parts = [selected(fit, np.arange(3) == at) for at in range(3)]
    assert parts[1].steps is None
    whole = joined(parts)
    np.testing.assert_array_equal(whole.grid, fit.grid)
    np.testing.assert_array_equal(whole.steps, fit.steps)
    below = Profile(
        version=4,
        start_ns=fit.start_ns,
        step_ns=fit.step_ns,
        series=np.arange(0, 5),
        grid=np.full((len(fit.grid), 5), 8.0, np.float32),
    )
    unknown = fit.grid.copy()
    unknown[:, 1] = np.nan
    above = Profile(
        version=1,
        start_ns=fit.start_ns,
        step_ns=fit.step_ns,
        series=fit.series,
        grid=unknown,
        steps=fit.steps,
    )
    laid = laid_over(below, above)
    assert laid.version == 4
    np.testing.assert_array_equal(laid.grid[:, [1, 3]], fit.grid[:, [0, 2]])
    assert (laid.grid[:, [0, 2, 4]] == 8.0).all()
    said = expected_by_minute(laid, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(said[:, [1, 3]], expected_by_minute(fit, [1, 3]))
