"""Goal: what counts as slow is the 99th percentile of all calls of an hour of the day, exactly, and shares are counted by it.

Method: histograms of calls drawn from known distributions, merged in parts, against numpy's own rank of the calls.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import NO_BOUND, SlowBounds, bounds_of_hours, slow_shares
from sentinel.core.model import HistogramBlock
from sentinel.core.stats.log_linear import UNTIMED, bucket_of, counted

HOUR_NS = 3_600_000_000_000


def histograms(*calls: NDArray[np.float64], untimed: int = 0) -> HistogramBlock:
    """A row of each set of durations."""
    parts = [counted(bucket_of(one)) for one in calls]
    if untimed:
        bucket, count = parts[0]
        parts[0] = np.append(bucket, np.int16(UNTIMED)), np.append(count, untimed)
    lengths = [len(bucket) for bucket, _ in parts]
    return HistogramBlock(
        row=np.arange(len(parts), dtype=np.int32),
        offset=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        bucket=np.concatenate([bucket for bucket, _ in parts]),
        count=np.concatenate([count for _, count in parts]),
    )


def of_rank(calls: NDArray[np.float64]) -> int:
    """The bucket of the call of rank ceil(0.99 n)."""
    rank = int(np.ceil(0.99 * len(calls) - 1e-9))
    return int(bucket_of(np.sort(calls)[rank - 1 : rank])[0])


def test_the_bound_is_that_of_all_calls_of_the_hour_of_the_day() -> None:
    rng = np.random.default_rng(4)
    night = [rng.lognormal(-3, 0.4, 400) for _ in range(5)]
    noon = [rng.lognormal(-1, 0.8, 300) for _ in range(5)]
    quiet = rng.lognormal(-2, 0.4, 30)
    ids = np.array([3, 7, 9])
    parts = [(2, ids[:1], histograms(one)) for one in night]
    parts += [(12, ids, histograms(one, quiet, quiet, untimed=1000)) for one in noon]
    found = bounds_of_hours(iter(parts), series=np.array([3, 9, 11]))
    assert found.shape == (24, 3)
    assert found[2, 0] == of_rank(np.concatenate(night))
    assert found[12, 0] == of_rank(np.concatenate(noon))
    # Where an hour has too few calls it is that of all hours together; of too few altogether there is none.
    assert found[5, 0] == of_rank(np.concatenate([*night, *noon]))
    assert np.all(found[:, 1:] == NO_BOUND)


def test_nothing_known_is_no_bound() -> None:
    assert np.all(bounds_of_hours(iter(()), series=np.array([1, 2])) == NO_BOUND)
    some = [(3, np.array([1]), histograms(np.full(1000, 0.1)))]
    assert bounds_of_hours(iter(some), series=np.zeros(0, np.int64)).shape == (24, 0)


def test_shares_are_counted_by_the_bound_of_each_row() -> None:
    calls = histograms(
        np.array([0.1] * 97 + [0.9] * 3), np.array([0.1] * 10), np.array([0.2]), untimed=5
    )
    bound = np.array([int(bucket_of(np.array([0.5]))[0]), 0, NO_BOUND], np.uint16)
    share, weight = slow_shares(calls, bound)
    assert share[:2].tolist() == [pytest.approx(0.03), 1.0]
    assert np.isnan(share[2])
    # Calls without a duration are neither slow nor not.
    assert weight.tolist() == [100.0, 10.0, 0.0]


def test_calls_in_the_bucket_of_the_bound_are_not_slow() -> None:
    calls = np.random.default_rng(1).lognormal(0, 1, 50_000)
    bound = np.array([of_rank(calls)], np.uint16)
    share, _ = slow_shares(histograms(calls), bound)
    assert 0.006 < share[0] <= 0.01


def test_bounds_hold_for_the_hours_that_they_are_of() -> None:
    bounds = SlowBounds(
        start_ns=10 * HOUR_NS,
        series=np.array([4, 5]),
        bucket=np.array([[1, 2], [3, 4]], np.uint16),
    )
    assert bounds.at(10 * HOUR_NS).tolist() == [1, 2]
    assert bounds.at(12 * HOUR_NS - 1).tolist() == [3, 4]
    for outside in (10 * HOUR_NS - 1, 12 * HOUR_NS):
        assert np.all(bounds.at(outside) == NO_BOUND)
