"""Goal: counters become what they gained: resets, duplicates and overlaps make up nothing and lose nothing.

Method: points by hand through whole windows; the rate that comes out is the assertion.
"""

from __future__ import annotations

import math

import pytest

from sentinel.core.model import NumberPoint, RejectReason, SeriesKey, Temporality
from sentinel.core.series import Aggregator, SeriesCounts, SeriesSettings
from tests.support.batches import START_NS, at, number, numbers

JOBS = SeriesKey("ledger", "metrics", "all", "jobs")
DELTA = Temporality.DELTA


def rates(*windows: list[NumberPoint]) -> tuple[list[float], SeriesCounts]:
    """The rate of each ten-second window, given its points; NaN for none."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    found: list[float] = []
    for position, points in enumerate(windows):
        end_s = 10 * position + 10
        aggregator.add(numbers(*points), at(end_s - 1))
        (window,) = aggregator.close(at(end_s + 5)).windows
        known = JOBS in window.keys
        found.append(float(window.value[window.keys.index(JOBS)]) if known else math.nan)
    return found, aggregator.take_counts()


def test_a_cumulative_counter_is_its_difference() -> None:
    found, counts = rates([number(5, 100)], [number(15, 150)], [], [number(35, 150)])
    assert found == pytest.approx([math.nan, 5.0, math.nan, 0.0], nan_ok=True)
    assert counts.resets == 0


def test_a_new_start_is_a_reset_and_counts_from_it() -> None:
    found, counts = rates([number(5, 1000)], [number(15, 12, start_s=9)])
    assert found[1] == pytest.approx(2.0)
    assert counts.resets == 1


def test_a_reset_that_does_not_say_so_counts_from_zero() -> None:
    found, counts = rates([number(5, 1000)], [number(15, 20)])
    assert found[1] == pytest.approx(2.0)
    assert counts.resets == 1


def test_a_reset_while_reports_were_left_out_is_no_rate_and_counts_from_there() -> None:
    """What was away for two minutes and began anew seemed to do a tenth of what it did."""
    windows = [[number(5, 100)], [number(15, 150)], [], [], [number(45, 50)], [number(55, 100)]]
    found, counts = rates(*windows)
    nan = math.nan
    assert found == pytest.approx([nan, 5.0, nan, nan, nan, 5.0], nan_ok=True)
    assert counts.resets == 1


def test_a_reset_that_says_when_counts_from_then_however_long_nothing_came() -> None:
    windows = [[number(5, 100)], [number(15, 150)], [], [], [number(45, 50, start_s=35)]]
    assert rates(*windows)[0][4] == pytest.approx(5.0)


def test_a_counter_that_ran_on_unread_has_the_mean_of_that_time() -> None:
    windows = [[number(5, 100)], [number(15, 150)], [], [], [number(45, 300)]]
    assert rates(*windows)[0][4] == pytest.approx(5.0)


def test_a_tiny_fall_is_rounding_and_nothing_is_gained_by_its_recovery() -> None:
    found, counts = rates([number(5, 1000.0)], [number(15, 999.5)], [number(25, 1000.0)])
    assert found[1:] == [0.0, 0.0]
    assert counts.resets == 0


def test_a_tiny_fall_with_a_new_start_is_a_reset() -> None:
    found, counts = rates([number(5, 1000.0)], [number(15, 999.5, start_s=10)])
    assert found[1] == pytest.approx(199.9)
    assert counts.resets == 1


def test_a_sum_that_may_fall_is_no_reset() -> None:
    found, counts = rates([number(5, 100, monotonic=False)], [number(15, 50, monotonic=False)])
    assert found[1] == pytest.approx(-5.0)
    assert counts.resets == 0


def test_duplicates_and_older_points_change_nothing() -> None:
    points = [number(12, 120), number(17, 170)]
    plain, _ = rates([number(5, 50)], points)
    found, counts = rates([number(5, 50)], [*points, *points, number(4, 40)])
    assert found[1] == plain[1] == pytest.approx(10.0)
    # The older point is of a closed window; the others come twice.
    assert counts.duplicates == 2
    assert counts.late == {"metrics": 1}


def test_a_delta_counter_is_its_own_rate() -> None:
    found, _ = rates(
        [number(5, 10, temporality=DELTA, start_s=0)],
        [number(15, 20, temporality=DELTA, start_s=5)],
    )
    assert found == [2.0, 2.0]


def test_overlapping_deltas_are_dropped() -> None:
    found, counts = rates(
        [number(5, 10, temporality=DELTA, start_s=0), number(8, 99, temporality=DELTA, start_s=4)]
    )
    assert found == [2.0]
    assert counts.dropped == {("metrics", RejectReason.OVERLAP): 1}


def test_a_gap_between_deltas_is_allowed() -> None:
    found, _ = rates(
        [number(2, 10, temporality=DELTA, start_s=0), number(8, 10, temporality=DELTA, start_s=5)]
    )
    assert found == [4.0]


def test_the_last_reading_of_a_gauge_counts() -> None:
    gauge = Temporality.GAUGE
    found, counts = rates([number(s, s, temporality=gauge) for s in (7, 3, 9, 9, 1)])
    assert found == [9.0]
    assert counts.duplicates == 1


def test_streams_are_bounded() -> None:
    aggregator = Aggregator(SeriesSettings(series_count_max=3), start_ns=START_NS)
    aggregator.add(numbers(*(number(1, 1, stream=str(n)) for n in range(10))), at(2))
    aggregator.close(at(15))
    assert aggregator.take_counts().dropped == {("metrics", RejectReason.LIMIT): 4}
