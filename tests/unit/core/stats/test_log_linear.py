"""Goal: buckets are where they say they are, and quantiles within the promised 1.56 %.

Method: bounds against values at and beside them; quantiles of known samples against numpy's on the raw values.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.stats import log_linear


def test_bounds_hold_their_values() -> None:
    values = np.concatenate((np.logspace(-11, 18, 4001), [0.5, 1.0, 2.0, 3.0]))
    bucket = log_linear.bucket_of(values)
    lower, upper = log_linear.bounds_of(bucket)
    assert np.all((lower <= values) & (values < upper))
    assert np.all((upper - lower) / lower <= 1 / 32)
    middle = log_linear.midpoint_of(bucket)
    assert np.all(np.abs(middle - values) / values <= 1 / 64)


def test_bounds_meet() -> None:
    lower, upper = log_linear.bounds_of(np.arange(log_linear.BUCKET_COUNT))
    assert np.array_equal(lower[1:], upper[:-1])
    assert lower[0] == 0.0


def test_the_ends_take_what_lies_beyond() -> None:
    assert log_linear.bucket_of([0.0, 1e-300, -1.0]).tolist() == [0, 0, 0]
    last = log_linear.BUCKET_COUNT - 1
    assert log_linear.bucket_of([1e300, np.inf]).tolist() == [last, last]


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_within_the_promise(q: float) -> None:
    rng = np.random.default_rng(3)
    values = rng.lognormal(-3, 1.2, 5000)
    bucket, count = log_linear.counted(log_linear.bucket_of(values))
    exact = np.quantile(values, q, method="inverted_cdf")
    assert abs(log_linear.quantile(bucket, count, q) - exact) / exact <= 1 / 64


def test_ranks_are_not_lost_to_rounding() -> None:
    """0.95 of 20 is 19.000000000000004 in floats on some paths; the nineteenth of twenty is the answer."""
    values = np.array([1.0] * 19 + [100.0])
    bucket, count = log_linear.counted(log_linear.bucket_of(values))
    assert log_linear.quantile(bucket, count, 0.95) < 2.0


def test_many_rows_at_once_agree_with_one_by_one() -> None:
    rng = np.random.default_rng(5)
    parts = [
        log_linear.counted(log_linear.bucket_of(rng.exponential(size=size)))
        for size in (0, 1, 7, 0, 300)
    ]
    offset = np.cumsum([0, *(len(bucket) for bucket, _ in parts)])
    together = log_linear.quantiles_by_row(
        offset,
        np.concatenate([bucket for bucket, _ in parts]),
        np.concatenate([count for _, count in parts]),
        0.9,
    )
    alone = [log_linear.quantile(*part, 0.9) for part in parts]
    assert np.array_equal(together, alone, equal_nan=True)
