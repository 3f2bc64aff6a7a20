"""Goal: what another system worked out for a window is that window's value, absent is not zero, and no call counts twice.

Method: measured columns by hand into an aggregator whose clock is an argument, beside calls of the same places; windows read back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from sentinel.core.model import (
    UNREACHED_WEIGHT,
    Kind,
    MeasuredColumns,
    RejectReason,
    SampleBatch,
    SeriesKey,
)
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings, to_block
from tests.support import batches
from tests.support.batches import EDGE, SECOND_NS, Call

TRAFFIC, ERRORS, LATENCY = (
    SeriesKey(*EDGE, signal) for signal in ("traffic", "errors", "latency")
)
BACKLOG = SeriesKey("nats", "queue", "orders/poster", "consumer_pending_count")
MINUTE_S = 60
BEGIN_S = 40
"""The start of the made batches is no whole minute."""


def at(seconds: float) -> int:
    """An instant, in seconds after the whole minute that all begins at."""
    return batches.at(BEGIN_S + seconds)


START_NS = at(0)


def calls(given: Iterable[Call]) -> SampleBatch:
    """Calls at so many seconds after that minute."""
    return batches.calls(
        (scope, BEGIN_S + end_s, took_s, error) for scope, end_s, took_s, error in given
    )


def make(**settings: Any) -> Aggregator:
    window_s = settings.pop("window_s", MINUTE_S)
    lateness_s = settings.pop("lateness_s", 50)
    asked = settings.pop("may_be_measured", lambda _: False)
    return Aggregator(
        SeriesSettings(
            window_ns=window_s * SECOND_NS, lateness_ns=lateness_s * SECOND_NS, **settings
        ),
        start_ns=START_NS,
        may_be_measured=asked,
    )


def measured(
    values: Mapping[SeriesKey, tuple[float, float]],
    *,
    number: int = 0,
    source: str = "main http",
    step_s: int = MINUTE_S,
) -> SampleBatch:
    """What a source says of the window of this number."""
    columns = MeasuredColumns(
        source=source,
        start_ns=START_NS + number * step_s * SECOND_NS,
        step_ns=step_s * SECOND_NS,
        keys=tuple(values),
        value=np.array([value for value, _ in values.values()], np.float64),
        weight=np.array([weight for _, weight in values.values()], np.float64),
    )
    return SampleBatch(
        measured=(columns,), services=frozenset(key.service for key in values), pulled=True
    )


def read(window: ClosedWindow, key: SeriesKey) -> tuple[Any, float, bool]:
    position = window.keys.index(key)
    return (
        float(window.value[position]),
        float(window.weight[position]),
        bool(window.heard[position]),
    )


def window_of(aggregator: Aggregator, number: int) -> ClosedWindow:
    """Close the window of this number; those before it must be closed."""
    # A clock that jumps by more than a minute would not be believed.
    assert not aggregator.close(at((number + 1) * MINUTE_S + 10)).windows
    (window,) = aggregator.close(at((number + 1) * MINUTE_S + 50)).windows
    return window


USUAL = {TRAFFIC: (5.0, 300.0), ERRORS: (0.02, 300.0), LATENCY: (0.12, 300.0), BACKLOG: (7.0, 1.0)}


def test_values_are_those_of_their_window_and_of_the_kind_of_their_signal() -> None:
    aggregator = make()
    aggregator.add(measured(USUAL), at(90))
    window = window_of(aggregator, 0)
    for key, (value, weight) in USUAL.items():
        assert read(window, key) == (pytest.approx(value), weight, True)
    kinds = dict(zip(window.keys, window.kind.tolist(), strict=True))
    assert [kinds[key] for key in USUAL] == [Kind.TRAFFIC, Kind.ERRORS, Kind.LATENCY, Kind.GAUGE]
    assert len(window.keys) == len(USUAL)
    assert to_block(window, {key: at for at, key in enumerate(USUAL)}).series_count == len(USUAL)


def test_a_series_that_its_source_leaves_out_has_no_value_and_is_no_zero() -> None:
    aggregator = make()
    aggregator.add(measured(USUAL), at(90))
    window_of(aggregator, 0)
    aggregator.add(measured({TRAFFIC: (4.0, 240.0)}, number=1), at(150))
    window = window_of(aggregator, 1)
    assert read(window, TRAFFIC) == (4.0, 240.0, True)
    value, weight, heard = read(window, ERRORS)
    assert math.isnan(value)
    assert (weight, heard) == (0.0, True)


def test_of_a_source_that_did_not_answer_nothing_is_known_not_even_whether_it_lives() -> None:
    aggregator = make()
    aggregator.add(measured(USUAL), at(90))
    aggregator.add(measured({BACKLOG: (3.0, 1.0)}, source="main nats"), at(91))
    window_of(aggregator, 0)
    aggregator.add(measured({BACKLOG: (4.0, 1.0)}, number=1, source="main nats"), at(150))
    window = window_of(aggregator, 1)
    for key in (TRAFFIC, ERRORS, LATENCY):
        value, weight, heard = read(window, key)
        assert math.isnan(value)
        assert (weight, heard) == (UNREACHED_WEIGHT, False)
    assert read(window, BACKLOG) == (4.0, 1.0, True)


def test_zero_is_a_value() -> None:
    aggregator = make()
    aggregator.add(measured({TRAFFIC: (0.0, 0.0)}), at(90))
    assert read(window_of(aggregator, 0), TRAFFIC) == (0.0, 0.0, True)


def test_calls_of_a_place_that_is_measured_do_not_count_twice() -> None:
    aggregator = make()
    spans = calls((EDGE, 1.0 * n, 0.01, False) for n in range(1, 21))
    aggregator.add(spans, at(30))
    assert read(window_of(aggregator, 0), TRAFFIC)[0] == pytest.approx(20 / 60)
    aggregator.add(calls((EDGE, 60.0 + n, 0.01, False) for n in range(1, 21)), at(90))
    aggregator.add(measured({TRAFFIC: (5.0, 300.0)}, number=1), at(150))
    window = window_of(aggregator, 1)
    assert read(window, TRAFFIC) == (5.0, 300.0, True)
    assert window.keys.count(TRAFFIC) == 1
    assert aggregator.take_counts().told_twice["traces"] == 20
    # A window that only spans tell of is not theirs again: the level would jump with each gap.
    aggregator.add(calls((EDGE, 120.0 + n, 0.01, False) for n in range(1, 21)), at(150))
    value, _, _ = read(window_of(aggregator, 2), TRAFFIC)
    assert math.isnan(value)


def test_what_was_live_before_a_restart_is_missed_and_not_taken_for_silent_calls() -> None:
    """Remembered as a place of calls, it would have had 0 calls as soon as its service was heard: a page for nothing."""
    aggregator = make(may_be_measured=lambda key: key.service == "ledger")
    aggregator.remember([TRAFFIC, ERRORS, LATENCY, BACKLOG], last_ns=START_NS - SECOND_NS)
    aggregator.add(measured({LATENCY: (0.1, 300.0)}), at(90))
    window = window_of(aggregator, 0)
    value, _, heard = read(window, TRAFFIC)
    assert math.isnan(value)
    assert heard
    assert sorted(window.keys) == sorted({TRAFFIC, ERRORS, LATENCY, BACKLOG})


def test_what_was_taken_for_measured_and_is_told_by_calls_is_theirs() -> None:
    aggregator = make(may_be_measured=lambda _: True)
    aggregator.remember([TRAFFIC, ERRORS, LATENCY], last_ns=START_NS - SECOND_NS)
    aggregator.add(calls((EDGE, 1.0 * n, 0.01, False) for n in range(1, 31)), at(40))
    window = window_of(aggregator, 0)
    assert read(window, TRAFFIC) == (0.5, 30.0, True)
    assert window.keys.count(TRAFFIC) == 1


def test_another_width_than_that_of_windows_is_counted_and_left_out() -> None:
    aggregator = make()
    aggregator.add(measured({TRAFFIC: (1.0, 60.0)}, step_s=30), at(90))
    assert window_of(aggregator, 0).keys == ()
    assert aggregator.take_counts().dropped["metrics", RejectReason.BAD_SHAPE] == 1


def test_what_comes_after_its_window_was_closed_is_late() -> None:
    aggregator = make()
    aggregator.add(measured(USUAL), at(90))
    window_of(aggregator, 0)
    aggregator.add(measured({TRAFFIC: (9.0, 540.0)}), at(120))
    assert aggregator.take_counts().late["metrics"] == 1


def test_over_the_cap_a_measured_series_is_counted_and_not_added_to_another() -> None:
    aggregator = make(series_count_max=3)
    aggregator.add(measured(USUAL), at(90))
    window = window_of(aggregator, 0)
    assert len(window.keys) == 3
    assert aggregator.take_counts().overflow == 1
