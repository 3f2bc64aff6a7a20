"""Goal: histograms add up exactly, in any order and grouping, and subtraction undoes addition.

Method: hypothesis makes samples; integer counts leave no room for "nearly".
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.stats import log_linear

values = st.lists(st.floats(0, 1e6, allow_nan=False), max_size=60)
Sparse = tuple[log_linear.Buckets, log_linear.Counts]


def of(sample: list[float]) -> Sparse:
    return log_linear.counted(log_linear.bucket_of(np.array(sample, float)))


def plain(histogram: Sparse) -> tuple[list[int], list[int]]:
    return histogram[0].tolist(), histogram[1].tolist()


@given(values, values, values)
def test_merging_is_associative_commutative_and_exact(
    a: list[float], b: list[float], c: list[float]
) -> None:
    whole = plain(of(a + b + c))
    left = log_linear.merge(log_linear.merge(of(a), of(b)), of(c))
    right = log_linear.merge(of(c), log_linear.merge(of(b), of(a)))
    assert plain(left) == plain(right) == whole


@given(values, values)
def test_subtracting_undoes_merging(a: list[float], b: list[float]) -> None:
    gained = log_linear.subtract(log_linear.merge(of(a), of(b)), of(a))
    assert gained is not None
    assert plain(gained) == plain(of(b))


@given(values, st.floats(0.001, 1e5))
def test_a_fall_is_no_difference(a: list[float], extra: float) -> None:
    assert log_linear.subtract(of(a), of([*a, extra])) is None


@given(st.permutations([0.1, 0.1, 0.2, 3.0, 0.0, 7.0, 3.0, 0.2]))
def test_order_and_repeats_of_buckets_do_not_matter(a: list[float]) -> None:
    bucket = log_linear.bucket_of(np.array(a, float))
    ordered = log_linear.in_order(bucket, np.ones(len(bucket), np.int64))
    assert plain(ordered) == plain(of(a))


@given(values.filter(bool), st.floats(0, 1))
def test_a_quantile_is_in_the_bucket_of_its_rank(a: list[float], q: float) -> None:
    result = log_linear.quantile(*of(a), q)
    rank = max(int(np.ceil(q * len(a) - 1e-9)), 1)
    expected = log_linear.bucket_of([sorted(a)[rank - 1]])
    assert result == log_linear.midpoint_of(expected)[0]
