"""Goal: our robust regression is Huber's M-estimator, the one that statsmodels' RLM finds.

Method: the same data through both. RLM knows no weights, so rows of weight n are given to it n times, with the scale
that ours is told to clip by.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.stats.robust import HUBER_K, RobustFit, huber_fit, regression

pytestmark = pytest.mark.timeout(120)  # loading statsmodels alone takes seconds on a busy machine

ROWS = 600
Floats = NDArray[np.float64]


def noisy_series() -> tuple[Floats, Floats]:
    """A design of a level, a trend and two harmonics, and series on it with outliers, heavy tails, one side alone."""
    rng = np.random.default_rng(11)
    at = np.arange(ROWS)
    day = 2 * np.pi * at / 48
    design = np.stack(
        [
            np.ones(ROWS),
            at / ROWS - 0.5,
            np.cos(day),
            np.sin(day),
            np.cos(2 * day),
            np.sin(2 * day),
        ],
        axis=1,
    )
    truth = rng.normal(0, 3, (6, 4))
    noise = np.stack(
        [
            rng.standard_normal(ROWS),
            rng.standard_t(2, ROWS),
            rng.standard_normal(ROWS) + 25 * (rng.random(ROWS) < 0.1),
            rng.exponential(1.0, ROWS),
        ],
        axis=1,
    )
    return design, design @ truth + noise


def test_coefficients_and_scale_are_those_of_statsmodels() -> None:
    import statsmodels.api as sm  # type: ignore[import-untyped]

    design, value = noisy_series()
    ours = huber_fit(regression(design), value, step_count_max=200, tolerance=1e-12)
    for column in range(value.shape[1]):
        theirs = sm.RLM(value[:, column], design, M=sm.robust.norms.HuberT(t=HUBER_K)).fit(
            maxiter=500, tol=1e-12, conv="coefs"
        )
        np.testing.assert_allclose(ours.coefficients[:, column], theirs.params, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.scale[column], theirs.scale, rtol=1e-6)
    # Least squares would have answered otherwise, so that this comparison can fail.
    plain = regression(design).projection @ value
    assert (np.abs(plain - ours.coefficients).max(axis=0) > 1e-2).all()


def test_weights_count_as_rows_that_come_so_often() -> None:
    import statsmodels.api as sm

    design, value = noisy_series()
    weight = 1 + np.arange(ROWS) * 5 // ROWS
    scale = np.array([1.0, 1.3, 1.1, 0.8])
    ours = huber_fit(
        regression(design, weight=weight.astype(np.float64)),
        value,
        scale=scale,
        step_count_max=300,
        tolerance=1e-12,
    )
    np.testing.assert_array_equal(ours.scale, scale)
    often = np.repeat(np.arange(ROWS), weight)
    for column in range(value.shape[1]):
        theirs = sm.RLM(
            value[often, column], design[often], M=sm.robust.norms.HuberT(t=HUBER_K)
        ).fit(maxiter=1000, tol=1e-12, conv="coefs", start_scale=scale[column], update_scale=False)
        assert theirs.scale == scale[column]
        np.testing.assert_allclose(ours.coefficients[:, column], theirs.params, rtol=0, atol=1e-6)


def test_missing_values_pull_nowhere() -> None:
    import statsmodels.api as sm

    design, value = noisy_series()
    rng = np.random.default_rng(3)
    gone = rng.random(value.shape) < 0.15
    gone[:, 1] = False
    value[gone] = np.nan
    ours = huber_fit(regression(design), value, step_count_max=400, tolerance=1e-12)
    assert np.isnan(ours.residual[gone]).all()
    for column in range(value.shape[1]):
        there = ~gone[:, column]
        theirs = sm.RLM(
            value[there, column], design[there], M=sm.robust.norms.HuberT(t=HUBER_K)
        ).fit(maxiter=500, tol=1e-12, conv="coefs")
        np.testing.assert_allclose(ours.coefficients[:, column], theirs.params, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.scale[column], theirs.scale, rtol=1e-6)


def test_single_precision_and_few_steps_come_near() -> None:
    """What the baseline is fitted with: four steps, the scale from every 13th row."""
    design, value = noisy_series()
    exact = huber_fit(regression(design), value)
    quick: RobustFit = huber_fit(
        regression(design, dtype=np.float32),
        value.astype(np.float32),
        scale_stride=13,
        step_count_max=4,
        tolerance=0.003,
    )
    assert quick.coefficients.dtype == np.float32
    assert quick.step_count == 4
    assert np.abs(quick.coefficients - exact.coefficients).max() < 0.1


def test_series_that_are_all_missing_or_all_alike_give_numbers() -> None:
    design, value = noisy_series()
    value[:, 0] = np.nan
    value[:, 1] = 7.0
    value[:, 2] = 0.0
    fit = huber_fit(regression(design), value)
    assert np.isfinite(fit.coefficients).all()
    assert fit.coefficients[:, 0].tolist() == [0.0] * 6
    np.testing.assert_allclose(fit.coefficients[:, 1], [7.0, 0, 0, 0, 0, 0], atol=1e-9)
    assert fit.scale[0] == 0.0


def test_more_than_half_nothing_is_regressed_plainly() -> None:
    """The median residual is then 0: clipped by it nothing would be left."""
    design = np.ones((9, 1))
    value = np.array([0, 0, 0, 0, 0, 0, 0, 9.0, 9.0])[:, None]
    fit = huber_fit(regression(design), value, scale=np.zeros(1))
    assert fit.coefficients[0, 0] == pytest.approx(2.0)


def test_a_series_does_not_depend_on_those_beside_it() -> None:
    """All went on until the slowest was done, so that what one was expected to be hung on a gap in another."""
    design, value = noisy_series()
    other = value.copy()
    other[::7, 1] = np.nan
    other[::50, 3] = 1e9
    on = regression(design, dtype=np.float32)
    alone, beside = (
        huber_fit(on, one.astype(np.float32), step_count_max=50, tolerance=0.003)
        for one in (value, other)
    )
    assert beside.step_count != alone.step_count
    for column in (0, 2):
        assert np.array_equal(alone.coefficients[:, column], beside.coefficients[:, column])
        assert np.array_equal(alone.residual[:, column], beside.residual[:, column])


def test_steps_are_counted_for_each_series() -> None:
    design, value = noisy_series()
    on = regression(design)
    fit = huber_fit(on, value, step_count_max=np.array([4, 8, 4, 8]), tolerance=0.0)
    for steps, columns in ((4, [0, 2]), (8, [1, 3])):
        other = huber_fit(on, value, step_count_max=steps, tolerance=0.0)
        assert np.array_equal(fit.coefficients[:, columns], other.coefficients[:, columns])
