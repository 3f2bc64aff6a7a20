"""Goal: the words for a verdict say what a person at 3 a.m. wants to know, and are read from the decision alone.

Method: members as decisions make them, and the exact sentences.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sentinel.core.incidents import IncidentSettings, factors_of, gate_words
from sentinel.core.model import Gate, Member, SeriesKey, View

MONDAY_NS = round(datetime(2026, 11, 23, 9, 10, tzinfo=UTC).timestamp()) * 1_000_000_000
BOTH = View.SEASON | View.RECENT
NAN = float("nan")


def member(
    signal: str, value: float, expected: float, views: View, *, horizon_s: int = 0
) -> Member:
    return Member(
        series_id=1,
        key=SeriesKey("pay", "edge", "POST /x", signal),
        direction=1 if value >= expected else -1,
        first_ns=MONDAY_NS - 60_000_000_000,
        last_ns=MONDAY_NS,
        peak_score=2.0,
        value=value,
        expected=expected,
        lower=NAN,
        upper=NAN,
        weight=30.0,
        views=views,
        horizon_s=horizon_s,
        peak_ns=MONDAY_NS,
    )


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (
            member("traffic", 651.0, 210.0, View.SEASON | View.FIVE_MINUTES),
            "3.1x above the expected 210 calls/s for a Monday 09:10 UTC; seasonal view and 5-minute horizon agree",
        ),
        (
            member("traffic", 20.0, 210.0, BOTH | View.MINUTE),
            "10x below the expected 210 calls/s for a Monday 09:10 UTC; "
            "seasonal view, view of the last windows and 1-minute horizon agree",
        ),
        (
            member("traffic", 0.0, 210.0, View.SEASON),
            "210 calls/s below the expected 210 calls/s for a Monday 09:10 UTC; only the seasonal view says so",
        ),
        (
            member("errors", 0.333, 0.0, BOTH | View.GATHERED),
            "33.3 points above the expected 0 % for a Monday 09:10 UTC; seasonal view and view of the last windows agree; "
            "few calls come, so the last 30 of them were judged together",
        ),
        (
            member("latency", 0.5, 0.1, View.HALF_HOUR, horizon_s=1800),
            "5x above the expected 100 ms for a Monday 09:10 UTC; the 30-minute horizon says so; "
            "the value is the mean of 30 min",
        ),
        (
            member("latency", 5.0, 0.0001, BOTH),
            "more than 1000x above the expected 0.1 ms for a Monday 09:10 UTC; "
            "seasonal view and view of the last windows agree",
        ),
        (
            member("depth", -5.0, 3.0, View.NONE),
            "8 below the expected 3 for a Monday 09:10 UTC",
        ),
        (member("errors", 0.9, NAN, View.NONE), ""),
    ],
    ids=lambda one: one.key.signal if isinstance(one, Member) else one[:12] or "unknown",
)
def test_the_sentence(seen: Member, sentence: str) -> None:
    assert factors_of(seen, IncidentSettings()) == sentence


def test_the_hour_is_the_one_on_the_wall_where_a_zone_is_set() -> None:
    how = IncidentSettings(zone_name="Asia/Kolkata", zone_offsets=((0, 19_800),))
    told = factors_of(member("traffic", 651.0, 210.0, BOTH), how)
    assert " for a Monday 14:40 Asia/Kolkata; " in told


def test_a_gate_says_which_value_would_have_passed_where_a_band_does() -> None:
    key = SeriesKey("pay", "edge", "POST /x", "traffic")
    assert gate_words(Gate.OWN_THRESHOLD, edge=412.0, key=key) == (
        "this series often goes so far, so its own threshold is higher; beyond 412 calls/s would have passed"
    )
    assert "would have passed" not in gate_words(Gate.DIRECTION, edge=float("inf"), key=key)
    assert "would have passed" not in gate_words(Gate.PAGE_CAP, edge=412.0, key=key)


def test_every_gate_that_stops_something_has_words() -> None:
    key = SeriesKey("pay", "edge", "POST /x", "traffic")
    for gate in set(Gate) - {Gate.NONE}:
        assert gate_words(gate, edge=NAN, key=key)
