"""Goal: bounds are learned from the store's hours by the clock on the wall, without incidents, and kept for a day.

Method: a reader with hours of calls made by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sentinel.core.baseline import NO_BOUND, Calendar
from sentinel.core.model import (
    HistogramBlock,
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    Member,
    SeriesKey,
    Severity,
)
from sentinel.core.stats.log_linear import bucket_of, counted
from sentinel.pipeline.slow_fit import RENEWED_AFTER_NS, fit_slow_bounds
from sentinel.ports import SeriesRow

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
NOW_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS + 5 * HOUR_NS + 7
KEY = SeriesKey("pay", "edge", "POST /x", "latency")
ROWS = [
    SeriesRow(series_id=4, key=KEY, kind=Kind.LATENCY, first_seen_ns=0, last_seen_ns=0),
    SeriesRow(
        series_id=5,
        key=KEY._replace(signal="traffic"),
        kind=Kind.TRAFFIC,
        first_seen_ns=0,
        last_seen_ns=0,
    ),
]


@dataclass(frozen=True)
class Hour:
    """As a store gives it."""

    start_ns: int
    series: np.ndarray
    histograms: HistogramBlock


@dataclass(frozen=True)
class Hours:
    """Seconds that the slowest of each hour's calls take; 300 calls an hour."""

    slowest_s: Mapping[int, float]

    def histogram_hours(self, *, start_ns: int, end_ns: int) -> list[int]:
        """See `HistogramReader`."""
        return [at for at in sorted(self.slowest_s) if start_ns <= at < end_ns]

    def histogram_hour(self, start_ns: int) -> Hour:
        """See `HistogramReader`."""
        taken = np.concatenate([np.full(290, 0.05), np.full(10, self.slowest_s[start_ns])])
        bucket, count = counted(bucket_of(taken))
        return Hour(
            start_ns=start_ns,
            series=np.array([4]),
            histograms=HistogramBlock(
                row=np.zeros(1, np.int32),
                offset=np.array([0, len(bucket)], np.int32),
                bucket=bucket,
                count=count,
            ),
        )


def hours_back(count: int) -> dict[int, float]:
    """By day the slowest take half a second, by night a tenth."""
    last_ns = NOW_NS // HOUR_NS * HOUR_NS
    found = {}
    for back in range(1, count + 1):
        at_ns = last_ns - back * HOUR_NS
        found[at_ns] = 0.5 if 8 <= at_ns // HOUR_NS % 24 < 20 else 0.1
    return found


def bucket(seconds: float) -> int:
    return int(bucket_of(np.array([seconds]))[0])


def test_each_hour_of_the_day_has_its_own() -> None:
    found = fit_slow_bounds(
        Hours(hours_back(10 * 24)), ROWS, (), now_ns=NOW_NS, calendar=Calendar()
    )
    assert found is not None
    assert found.series.tolist() == [4]
    day = NOW_NS // DAY_NS * DAY_NS
    assert found.at(day + 12 * HOUR_NS).tolist() == [bucket(0.5)]
    assert found.at(day + 23 * HOUR_NS).tolist() == [bucket(0.1)]
    assert found.at(day + 36 * HOUR_NS).tolist() == [bucket(0.5)]
    # It reaches as far as a fit that keeps it for a day.
    assert found.at(NOW_NS + RENEWED_AFTER_NS + 26 * HOUR_NS).tolist() != [NO_BOUND]


def test_hours_are_those_of_the_clock_on_the_wall() -> None:
    east = Calendar(zone="Asia/Kolkata", offsets=((0, 18_000),), digest="east")
    slowest = hours_back(10 * 24)
    found = fit_slow_bounds(Hours(slowest), ROWS, (), now_ns=NOW_NS, calendar=east)
    plain = fit_slow_bounds(Hours(slowest), ROWS, (), now_ns=NOW_NS, calendar=Calendar())
    assert found is not None
    assert plain is not None
    # The offset is constant, so the same hours are compared, whatever they are called.
    assert found.bucket.tolist() == plain.bucket.tolist()


def test_hours_of_an_incident_are_not_learned() -> None:
    slowest = hours_back(10 * 24)
    noon = NOW_NS // DAY_NS * DAY_NS - 12 * HOUR_NS
    for day in range(5):
        slowest[noon - day * DAY_NS] = 30.0
    member = Member(
        series_id=9,
        key=KEY._replace(signal="slow_calls"),
        direction=1,
        first_ns=noon - 4 * DAY_NS,
        last_ns=noon + HOUR_NS,
        peak_score=2.0,
        value=0.5,
        expected=0.01,
        lower=0.0,
        upper=0.05,
    )
    incident = Incident(
        incident_id="abc",
        group="pay",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=member.first_ns,
        paged_ns=member.first_ns,
        resolved_ns=member.last_ns,
        members=(member,),
    )
    at_noon = NOW_NS // DAY_NS * DAY_NS + 12 * HOUR_NS
    reader = Hours(slowest)
    poisoned = fit_slow_bounds(reader, ROWS, (), now_ns=NOW_NS, calendar=Calendar())
    healed = fit_slow_bounds(reader, ROWS, (incident,), now_ns=NOW_NS, calendar=Calendar())
    assert poisoned is not None
    assert healed is not None
    assert poisoned.at(at_noon).tolist() == [bucket(30.0)]
    assert healed.at(at_noon).tolist() == [bucket(0.5)]


def test_bounds_are_kept_for_a_day_and_then_learned_anew() -> None:
    reader = Hours(hours_back(10 * 24))
    first = fit_slow_bounds(reader, ROWS, (), now_ns=NOW_NS, calendar=Calendar())
    assert first is not None
    for later_ns, same in ((20 * HOUR_NS, True), (25 * HOUR_NS, False), (-2 * HOUR_NS, False)):
        again = fit_slow_bounds(
            reader, ROWS, (), now_ns=NOW_NS + later_ns, calendar=Calendar(), kept=first
        )
        assert (again is first) is same


def test_too_few_calls_are_no_bound() -> None:
    one = Hours(hours_back(1))
    assert fit_slow_bounds(one, ROWS, (), now_ns=NOW_NS, calendar=Calendar()) is None
    two = fit_slow_bounds(Hours(hours_back(2)), ROWS, (), now_ns=NOW_NS, calendar=Calendar())
    assert two is not None
    assert fit_slow_bounds(one, [], (), now_ns=NOW_NS, calendar=Calendar()) is None
