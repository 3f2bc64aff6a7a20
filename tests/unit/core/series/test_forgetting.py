"""Goal: what an open window holds is not forgotten, and a fault in one window costs that window alone.

Method: a nightly place that comes back just as an hour turns; a metric stream likewise; and faults put into the
aggregator by hand, as no traffic is known to make one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from sentinel.core.model import NumberPoint, Scope, SeriesKey
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from sentinel.core.series.counts import SeriesCounts
from sentinel.core.series.slots import Slots
from sentinel.core.series.streams import Streams
from tests.support.batches import EDGE, SECOND_NS, START_NS, at, calls, number, numbers

HOUR_S = 3600
FIRST_HOUR_S = HOUR_S - START_NS // SECOND_NS % HOUR_S
NIGHTLY = Scope("nightly", "edge", "POST /batch")
NEWCOMER = Scope("newcomer", "edge", "GET /new")
JOBS = SeriesKey("ledger", "metrics", "all", "jobs")


def aggregator_from(start_s: float) -> Aggregator:
    return Aggregator(SeriesSettings(idle_ns=HOUR_S * SECOND_NS), start_ns=at(start_s))


def weight_of(windows: Iterable[ClosedWindow], scope: Scope) -> float:
    """How many calls of a place the windows tell of."""
    key = SeriesKey(*scope, "traffic")
    return sum(
        float(window.weight[window.keys.index(key)]) for window in windows if key in window.keys
    )


def test_a_nightly_job_that_comes_back_as_the_hour_turns_is_counted() -> None:
    """It was forgotten with its calls in an open window, and no window was closed ever after."""
    first_s = FIRST_HOUR_S
    aggregator = aggregator_from(first_s - 40)
    windows: list[ClosedWindow] = []
    for now_s in range(first_s - 40, first_s + HOUR_S + 100, 10):
        rows = [(EDGE, now_s, 0.01, False)]
        if now_s in (first_s - 10, first_s + HOUR_S):
            rows.append((NIGHTLY, now_s + 1, 0.01, False))
        aggregator.add(calls(rows), at(now_s + 8))
        closed = aggregator.close(at(now_s + 10))
        assert not closed.faults
        windows += closed.windows
    windows += aggregator.close(at(now_s + 16)).windows
    assert weight_of(windows, NIGHTLY) == 2
    assert weight_of(windows, EDGE) == len(windows)


def test_failures_of_one_service_are_not_counted_as_those_of_another() -> None:
    """The slot of a forgotten place was given to the next new one while its calls were in an open window."""
    first_s, next_s = FIRST_HOUR_S, FIRST_HOUR_S + HOUR_S
    aggregator = aggregator_from(first_s - 40)
    aggregator.add(calls([(EDGE, first_s - 20, 0.01, False)]), at(first_s - 15))
    aggregator.add(calls([(NIGHTLY, first_s - 19, 0.01, False)]), at(first_s - 15))
    for now_s in range(first_s, next_s, 10):
        aggregator.add(calls([(EDGE, now_s, 0.01, False)]), at(now_s))
        aggregator.close(at(now_s))
    aggregator.add(calls([(EDGE, next_s + 1, 0.01, False)]), at(next_s + 9))
    aggregator.add(calls([(NIGHTLY, next_s + 11, 0.01, True)] * 50), at(next_s + 12))
    aggregator.close(at(next_s + 16))
    aggregator.add(calls([(NEWCOMER, next_s + 18, 0.01, False)]), at(next_s + 19))
    windows = aggregator.close(at(next_s + 26)).windows
    assert (weight_of(windows, NIGHTLY), weight_of(windows, NEWCOMER)) == (50, 1)


def test_a_counter_whose_reading_an_open_window_holds_is_not_forgotten() -> None:
    aggregator = aggregator_from(FIRST_HOUR_S - 40)
    hour_s = FIRST_HOUR_S + HOUR_S
    aggregator.add(numbers(number(FIRST_HOUR_S - 5, 100.0)), at(FIRST_HOUR_S - 5))
    for now_s in range(FIRST_HOUR_S, hour_s + 10, 10):
        aggregator.close(at(now_s))
    aggregator.add(numbers(number(hour_s + 11, 7300.0)), at(hour_s + 12))
    found: list[ClosedWindow] = []
    for now_s in range(hour_s + 12, hour_s + 40, 4):
        found += aggregator.close(at(now_s)).windows
    values = [
        float(window.value[window.keys.index(JOBS)]) for window in found if JOBS in window.keys
    ]
    assert values[0] == pytest.approx(7200 / (HOUR_S + 16))


def test_a_name_whose_calls_all_came_late_does_not_take_room_for_ever() -> None:
    aggregator = aggregator_from(FIRST_HOUR_S)
    aggregator.close(at(FIRST_HOUR_S + 30))
    aggregator.add(calls([(NIGHTLY, FIRST_HOUR_S + 1, 0.01, False)]), at(FIRST_HOUR_S + 30))
    assert aggregator.take_counts().late["traces"] == 1
    for now_s in range(FIRST_HOUR_S + 30, FIRST_HOUR_S + HOUR_S + 30, 10):
        aggregator.close(at(now_s))
    assert aggregator.series_count == 0


def test_a_fault_costs_the_window_that_met_it_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception in one window lost those that had been closed with it, too."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    aggregator.add(calls([(EDGE, second, 0.01, False) for second in (1, 11, 21)]), at(22))
    aggregator.add(numbers(number(12, 5.0)), at(22))
    whole = Streams.increases

    def faulty(self: Streams, points: Iterable[NumberPoint], counts: SeriesCounts) -> list[object]:
        if points:
            msg = "found by this window's points"
            raise RuntimeError(msg)
        return list(whole(self, points, counts))

    monkeypatch.setattr(Streams, "increases", faulty)
    closed = aggregator.close(at(36))
    assert [window.start_ns for window in closed.windows] == [at(0), at(20)]
    assert [str(fault) for fault in closed.faults] == ["found by this window's points"]
    assert aggregator.take_counts().dropped_windows["faulty"] == 1
    assert weight_of(closed.windows, EDGE) == 2
    monkeypatch.undo()
    aggregator.add(calls([(EDGE, 31, 0.01, False)]), at(37))
    later = aggregator.close(at(46))
    assert not later.faults
    assert weight_of(later.windows, EDGE) == 1


def test_a_state_that_contradicts_itself_is_mended_and_not_met_by_every_window() -> None:
    """A place that was born but had no name made every window fail, until the process ended."""
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    aggregator.add(calls([(EDGE, 1, 0.01, False), (NIGHTLY, 1, 0.01, False)]), at(9))
    assert not aggregator.close(at(16)).faults
    scopes = aggregator._live.scopes
    slot = scopes.find(NIGHTLY)
    assert slot is not None
    scopes.names[slot] = None
    scopes.version += 1
    aggregator.add(calls([(EDGE, 11, 0.01, False)]), at(19))
    assert len(aggregator.close(at(26)).faults) == 1
    rows = [(EDGE, 21, 0.01, False), (NIGHTLY, 22, 0.01, True)]
    aggregator.add(calls(rows), at(29))
    closed = aggregator.close(at(36))
    assert not closed.faults
    assert (weight_of(closed.windows, EDGE), weight_of(closed.windows, NIGHTLY)) == (1, 1)


def test_slots_are_mended_to_what_their_names_say() -> None:
    slots: Slots[str] = Slots()
    taken = [slots.take(name) for name in ("a", "b", "c", "d")]
    slots.mark(np.array(taken, np.intp), 5)
    slots.names[1], slots.names[3] = None, "a"
    slots.mend()
    assert [slots.find(name) for name in ("a", "b", "c", "d")] == [0, None, 2, None]
    assert slots.born[:4].tolist() == [True, False, True, False]
    assert sorted((slots.take("e"), slots.take("f"))) == [1, 3]
    assert slots.idle_since(5) == sorted((slots.take("e"), slots.take("f")))
