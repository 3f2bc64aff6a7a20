"""Goal: what was turned away is no fall; what was taken is still judged, and everything else is as ever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sentinel.core.model import (
    OVERFLOW,
    SHED_WEIGHT,
    LogRecord,
    Missing,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from sentinel.core.series.shed_windows import ShedWindows
from tests.support.batches import EDGE, START_NS, at, calls, number, numbers

OTHER = Scope("ledger", "edge", "POST /v1/transfers")


def fed(*batches: SampleBatch, shed: set[str], then: SampleBatch | None = None) -> ClosedWindow:
    """The window at 20 s, two ordinary ones after the start; in it these signals are shed."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    for start_s in (0, 10):
        aggregator.add(
            calls([(EDGE, start_s + 5, 0.1, False), (OTHER, start_s + 5, 0.1, False)]),
            at(start_s + 9),
        )
        aggregator.add(log_lines(start_s + 5), at(start_s + 9))
    aggregator.shed(shed, at(25))
    for batch in batches:
        aggregator.add(batch, at(26))
    if then is not None:
        aggregator.add(then, at(36))
    closed = aggregator.close(at(46)).windows
    return closed[3 if then is not None else 2]


def log_lines(time_s: float) -> SampleBatch:
    record = LogRecord(service="ledger", time_ns=at(time_s), severity=9, event="posted", body="")
    return SampleBatch(logs=(record,), services=frozenset({"ledger"}))


def cell(window: ClosedWindow, signal: str, route: str = EDGE.route) -> tuple[float, float, bool]:
    position = next(
        number
        for number, key in enumerate(window.keys)
        if key.signal == signal and key.route == route
    )
    return (
        float(window.value[position]),
        float(window.weight[position]),
        bool(window.heard[position]),
    )


def test_traffic_is_unknown_and_shares_are_those_of_the_calls_that_were_taken() -> None:
    window = fed(calls([(EDGE, 23, 0.1, True), (EDGE, 24, 0.3, False)]), shed={"traces"})
    value, weight, heard = cell(window, "traffic")
    assert np.isnan(value)
    assert (weight, heard) == (SHED_WEIGHT, True)
    assert cell(window, "errors") == (0.5, 2.0, True)
    assert cell(window, "latency")[1:] == (2.0, True)


def test_a_place_of_which_nothing_was_taken_has_not_stopped() -> None:
    window = fed(calls([(EDGE, 23, 0.1, False)]), shed={"traces"})
    value, weight, heard = cell(window, "traffic", OTHER.route)
    assert np.isnan(value)
    assert (weight, heard) == (SHED_WEIGHT, True)


def test_a_source_of_which_nothing_was_taken_is_not_blind() -> None:
    window = fed(shed={"traces"})
    assert cell(window, "traffic")[2]
    assert cell(window, "errors")[2]


def test_lines_are_counted_as_ever_while_only_traces_are_shed() -> None:
    window = fed(log_lines(24), shed={"traces"})
    assert cell(window, "logs_info", "posted") == (float(np.float32(0.1)), 1.0, True)


def test_the_rate_of_lines_is_unknown_while_logs_are_shed_and_calls_are_counted() -> None:
    window = fed(log_lines(24), calls([(EDGE, 23, 0.1, False)]), shed={"logs"})
    value, weight, heard = cell(window, "logs_info", "posted")
    assert np.isnan(value)
    assert (weight, heard) == (SHED_WEIGHT, True)
    assert cell(window, "traffic") == (float(np.float32(0.1)), 1.0, True)


def test_the_next_window_is_whole_again() -> None:
    window = fed(shed={"traces", "logs"}, then=calls([(EDGE, 33, 0.1, False)]))
    assert cell(window, "traffic") == (float(np.float32(0.1)), 1.0, True)


def test_the_window_before_is_unknown_too_while_it_is_open() -> None:
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    aggregator.add(calls([(EDGE, 5, 0.1, False)]), at(9))
    aggregator.shed({"traces"}, at(12))  # the window of 0 to 10 s waits for what is late until 15
    first, second = aggregator.close(at(26)).windows
    assert np.isnan(cell(first, "traffic")[0])
    assert np.isnan(cell(second, "traffic")[0])
    assert aggregator.take_counts().shed_windows == {"traces": 2}


def test_late_and_shed_is_shed() -> None:
    """Spans that were turned away come again too late; the ticket that said so blamed the sender's clock."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    aggregator.add(calls([(EDGE, 5, 0.1, False)]), at(9))
    aggregator.close(at(16))
    aggregator.shed({"traces"}, at(17))
    aggregator.add(calls([(EDGE, 7, 0.1, False)]), at(18))
    (window,) = aggregator.close(at(26)).windows
    assert cell(window, "traffic")[1:] == (SHED_WEIGHT, True)
    assert cell(window, "errors")[1:] == (0.0, True)


def test_names_are_held_and_known_ones_go_on() -> None:
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(2))
    aggregator.hold_names(held=True)
    aggregator.add(calls([(EDGE, 3, 0.1, False), (OTHER, 3, 0.1, False)]), at(4))
    aggregator.hold_names(held=False)
    (window,) = aggregator.close(at(16)).windows
    assert cell(window, "traffic")[1] == 2.0
    assert cell(window, "traffic", OVERFLOW)[1] == 1.0
    assert OTHER.route not in {key.route for key in window.keys}
    assert aggregator.take_counts().overflow == 1
    aggregator.add(calls([(OTHER, 17, 0.1, False)]), at(18))
    (after,) = aggregator.close(at(26)).windows
    assert cell(after, "traffic", OTHER.route)[1] == 1.0


def test_what_is_remembered_of_shed_windows_is_bounded() -> None:
    windows = ShedWindows()
    windows.note({"traces"}, first=0, last=10**9)
    assert windows.take(10**9 - 5) == {"traces"}
    assert windows.take(5) == set()
    assert windows.take(10**9 + 1) == set()


def closed_with(
    *missing: Missing, batches: tuple[SampleBatch, ...] = (), until_s: float = 36
) -> list[ClosedWindow]:
    """Three ordinary windows, from the start; what is missing is so as the last ones are closed."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    for start_s in (0, 10, 20):
        for service in ("ledger", "shop"):
            scope = Scope(service, "edge", EDGE.route)
            aggregator.add(calls([(scope, start_s + 5, 0.1, False)]), at(start_s + 6))
            aggregator.add(SampleBatch(services=frozenset({service})), at(start_s + 6))
        aggregator.add(log_lines(start_s + 5), at(start_s + 6))
    for batch in batches:
        aggregator.add(batch, at(29))
    return list(aggregator.close(at(until_s), missing=missing).windows)


def unknown(window: ClosedWindow) -> set[tuple[str, str]]:
    """Service and signal of what is taken for unknown."""
    return {
        (key.service, key.signal)
        for key, weight in zip(window.keys, window.weight, strict=True)
        if weight == SHED_WEIGHT
    }


def test_what_was_turned_away_and_did_not_come_again_is_no_fall() -> None:
    """Only what was given up by the ladder counted: a request that a bound turned away, and that was lost, was a fall."""
    first, second, third = closed_with(Missing(signal="traces", since_ns=at(16)))
    assert unknown(first) == set(), "it was to be closed before"
    assert unknown(second) == unknown(third) == {("ledger", "traffic"), ("shop", "traffic")}
    assert np.isnan(cell(second, "traffic")[0])
    assert cell(second, "errors") == (0.0, 1.0, True)


def test_what_came_again_in_time_leaves_no_mark() -> None:
    assert [unknown(window) for window in closed_with()] == [set()] * 3


def test_of_known_services_nothing_else_is_unknown() -> None:
    *_, third = closed_with(
        Missing(signal="metrics", services=frozenset({"shop", "nobody"}), since_ns=at(20))
    )
    assert unknown(third) == {("shop", "traffic")}


def test_missing_points_leave_sums_of_their_services_unknown() -> None:
    """A rate is a sum over processes; one whose export was turned away made it fall."""
    batch = numbers(number(28, 5.0, temporality=Temporality.DELTA, start_s=18))
    missing = Missing(signal="metrics", since_ns=at(20))
    *_, third = closed_with(missing, batches=(batch,))
    assert unknown(third) == {("ledger", "jobs")}
    *_, third = closed_with(batches=(batch,))
    assert unknown(third) == set()


def test_what_is_pulled_is_whole_though_what_is_pushed_is_missing() -> None:
    """Numbers of NATS and PostgreSQL come as points, too: turned away exports made them unknown while they were asked for."""
    batch = numbers(number(28, 5.0, temporality=Temporality.DELTA, start_s=18))
    missing = Missing(signal="metrics", since_ns=at(20))
    *_, third = closed_with(missing, batches=(replace(batch, pulled=True),))
    assert unknown(third) == set()


def test_missing_lines_leave_rates_of_lines_unknown() -> None:
    *_, third = closed_with(Missing(signal="logs", since_ns=at(20)))
    assert unknown(third) == {("ledger", "logs_info")}
