"""Goal: each call is counted once, whether spans, histograms or both tell of it; what is not known is not called zero.

Method: timelines of one stage, ten calls every ten seconds; spans come as they end, histograms every 10 or 60 s, delta
or cumulative. Closed windows are read back.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentinel.core.model import (
    DistributionPoint,
    PointStream,
    SampleBatch,
    Scope,
    SeriesKey,
    Temporality,
)
from sentinel.core.series import Aggregator, CallsFromMetrics, SeriesCounts, SeriesSettings
from sentinel.core.stats import log_linear
from tests.support.batches import EDGE, START_NS, at, calls

CALLS = 10
"""In each window."""
RATE = CALLS / 10


class Timeline:
    """An aggregator that is fed window by window; what it says of each is kept."""

    def __init__(self, mode: CallsFromMetrics = CallsFromMetrics.AUTO) -> None:
        self.aggregator = Aggregator(SeriesSettings(calls_from_metrics=mode), start_ns=START_NS)
        self.traffic: dict[int, float] = {}
        self.errors: dict[int, float] = {}
        self.heard: dict[int, bool] = {}
        self.weight = 0.0
        self.counts = SeriesCounts()

    def spans(self, window: int, count: int = CALLS) -> None:
        """Spans of calls that end in a window."""
        ends = [(EDGE, 10 * window + 9 * number / count, 0.1, False) for number in range(count)]
        self.aggregator.add(calls(ends), at(10 * window + 9.5))

    def histogram(
        self,
        time_s: float,
        value: int,
        *,
        interval_s: float = 0.0,
        process: str = "a",
        failed: bool = False,
        scope: Scope = EDGE,
        signal: str = "http.server.request.duration",
        newer_signal: str = "",
        resolution: int = 0,
        pending: bool = False,
        of_page: bool = False,
    ) -> None:
        """A delta one over `interval_s`, or a cumulative one."""
        point = DistributionPoint(
            stream=PointStream((process, b"scope", signal, b"s", scope, failed)),
            scope=scope,
            signal=signal,
            temporality=Temporality.DELTA if interval_s else Temporality.CUMULATIVE,
            start_ns=at(time_s - interval_s) if interval_s else at(-1000),
            time_ns=at(time_s),
            bucket=log_linear.bucket_of(np.array([0.1])),
            count=np.array([value], np.int64),
            total=math.nan,
            is_calls=True,
            error=failed,
            newer_signal=newer_signal,
            resolution=resolution,
            pending=pending,
            of_page=of_page,
        )
        self.aggregator.add(
            SampleBatch(distributions=(point,), services=frozenset({scope.service})), at(time_s)
        )

    def close(self, window: int) -> None:
        """Close a window; the service is heard in each by something else."""
        self.aggregator.add(SampleBatch(services=frozenset({"ledger"})), at(10 * window + 9.9))
        for closed in self.aggregator.close(at(10 * window + 15)).windows:
            number = (closed.start_ns - START_NS) // (10 * 10**9)
            for key, value, weight, heard in zip(
                closed.keys,
                closed.value.tolist(),
                closed.weight.tolist(),
                closed.heard.tolist(),
                strict=True,
            ):
                if key.scope == EDGE and key.signal == "traffic":
                    self.traffic[number], self.heard[number] = value, heard
                    self.weight += weight
                if key.scope == EDGE and key.signal == "errors":
                    self.errors[number] = value
        new = self.aggregator.take_counts()
        self.counts.told_twice.update(new.told_twice)
        self.counts.dropped.update(new.dropped)

    def known(self, first: int, last: int) -> list[float]:
        """Traffic of those windows that have any, in order."""
        values = [self.traffic.get(number, math.nan) for number in range(first, last)]
        return [value for value in values if not math.isnan(value)]


@pytest.mark.parametrize("every", [1, 6])
@pytest.mark.parametrize("delta", [True, False])
def test_histograms_alone_give_traffic(every: int, *, delta: bool) -> None:
    line = Timeline()
    for window in range(36):
        if window % every == every - 1:
            if delta:
                line.histogram(10 * window + 9, CALLS * every, interval_s=10.0 * every)
            else:
                line.histogram(10 * window + 9, CALLS * (window + 1))
        line.close(window)
    assert set(line.known(0, 36)) == {RATE}
    # A cumulative stream's first report has nothing to be compared with.
    assert line.weight == CALLS * (36 if delta else 36 - every)
    assert len(line.known(12, 36)) == 24 // every
    assert all(line.heard[window] for window in range(12, 36))


@pytest.mark.parametrize("delta", [True, False])
def test_calls_that_stop_are_told_from_a_report_that_is_not_due(*, delta: bool) -> None:
    line = Timeline()
    for window in range(60):
        if window % 6 == 5 and not (delta and window > 30):
            reports = min(window, 30) // 6 + 1
            if delta:
                line.histogram(10 * window + 9, 6 * CALLS, interval_s=60.0)
            else:
                line.histogram(10 * window + 9, 6 * CALLS * reports)
        line.close(window)
    assert set(line.known(0, 30)) == {RATE}
    # A delta sender says nothing when there was nothing: once its report is overdue, that is zero.
    assert set(line.known(36 if delta else 42, 60)) == {0.0}


@pytest.mark.parametrize("pending", [True, False])
def test_a_sender_that_is_read_less_often_from_now_on_did_not_fall_silent(
    *, pending: bool
) -> None:
    """Questions to a database that had become dear were asked once a minute: traffic was 0 until the next answer."""
    line = Timeline()
    for window in range(30):
        if window < 12 or window % 6 == 5:
            every = 1 if window < 12 else 6
            line.histogram(10 * window + 9, CALLS * every, interval_s=10.0 * every)
        elif pending:
            line.histogram(10 * window + 9, 0, pending=True)
        line.close(window)
    told = {window for window, value in line.traffic.items() if value == RATE}
    assert told == {*range(12), 17, 23, 29}
    others = [line.traffic[window] for window in range(12, 30) if window not in told]
    assert any(value == 0.0 for value in others) is not pending
    assert line.counts.dropped.total() == 0
    assert line.weight == CALLS * 30


def test_what_is_still_to_come_makes_no_place_and_no_calls() -> None:
    line = Timeline()
    for window in range(12):
        line.histogram(10 * window + 9, 0, pending=True)
        line.close(window)
    assert line.traffic == {}


def test_spans_win_where_both_come() -> None:
    line = Timeline()
    for window in range(60):
        line.spans(window)
        if window % 6 == 5:
            line.histogram(10 * window + 9, 6 * CALLS, interval_s=60.0)
        line.close(window)
    assert [line.traffic[window] for window in range(60)] == [RATE] * 60
    assert line.weight == 60 * CALLS
    assert line.counts.told_twice["metrics"] == 60 * CALLS


@pytest.mark.parametrize("every", [1, 6])
@pytest.mark.parametrize("stop", [30, 32, 35])
def test_tracing_that_is_switched_off_makes_no_gap_and_counts_nothing_twice(
    every: int, stop: int
) -> None:
    """Spans stop, histograms go on: zeros here would page that calls have stopped."""
    line = Timeline()
    for window in range(90):
        if window < stop:
            line.spans(window)
        if window % every == every - 1:
            line.histogram(10 * window + 9, CALLS * (window + 1))
        line.close(window)
    assert set(line.known(0, 90)) == {RATE}
    assert line.weight <= 90 * CALLS
    assert line.known(stop + 18, 90)


@pytest.mark.parametrize("every", [1, 6])
def test_tracing_that_is_switched_on_makes_no_gap_and_counts_nothing_twice(every: int) -> None:
    line = Timeline()
    for window in range(90):
        if window >= 40:
            line.spans(window)
        if window % every == every - 1:
            line.histogram(10 * window + 9, CALLS * (window + 1))
        line.close(window)
    assert set(line.known(0, 90)) == {RATE}
    assert line.weight <= 90 * CALLS
    assert [line.traffic[window] for window in range(43, 90)] == [RATE] * 47
    assert line.counts.told_twice["traces"] == 2 * CALLS


@pytest.mark.parametrize("every", [1, 6])
def test_calls_that_stop_where_both_come_are_zero_as_soon_as_the_histogram_agrees(
    every: int,
) -> None:
    line = Timeline()
    for window in range(60):
        if window < 32:
            line.spans(window)
        if window % every == every - 1:
            line.histogram(10 * window + 9, CALLS * min(window + 1, 32))
        line.close(window)
    first_zero = 33 if every == 1 else 35
    assert all(math.isnan(line.traffic[window]) for window in range(32, first_zero))
    assert [line.traffic[window] for window in range(first_zero, 60)] == [0.0] * (60 - first_zero)


def test_a_stage_whose_traces_are_sampled_keeps_them() -> None:
    """Counting histograms whenever no span came would read such a stage now low, now high."""
    line = Timeline()
    for window in range(300):
        if window % 7 == 0:
            line.spans(window, count=1)
        if window % 6 == 5:
            line.histogram(10 * window + 9, 6 * CALLS, interval_s=60.0)
        line.close(window)
    assert set(line.known(0, 300)) == {0.0, float(np.float32(0.1))}


def test_a_stray_span_does_not_take_a_stage_from_its_histograms() -> None:
    line = Timeline()
    for window in range(60):
        if window == 30:
            line.spans(window, count=1)
        line.histogram(10 * window + 9, CALLS, interval_s=10.0)
        line.close(window)
    assert set(line.known(0, 60)) == {RATE}
    assert line.weight == 60 * CALLS


def test_processes_that_report_at_different_times_are_added_up() -> None:
    line = Timeline()
    for window in range(60):
        if window % 6 == 1:
            line.histogram(10 * window + 9, 6 * CALLS, interval_s=60.0, process="a")
        if window % 6 == 4:
            line.histogram(10 * window + 9, 6 * CALLS, interval_s=60.0, process="b")
        line.close(window)
    assert set(line.known(6, 60)) == {2 * RATE}


def test_the_first_failures_of_a_cumulative_sender_count() -> None:
    """Failures are a stream of their own; with its first report taken for a start, the outage began a minute late."""
    line = Timeline()
    for window in range(12):
        line.histogram(10 * window + 9, CALLS * (window + 1))
        if window >= 10:
            line.histogram(10 * window + 9, 30 * (window - 9), failed=True)
        line.close(window)
    assert line.errors[9] == 0.0
    assert line.errors[10] == line.errors[11] == pytest.approx(30 / (30 + CALLS))


def test_a_change_of_resolution_loses_an_interval_and_makes_up_no_spike() -> None:
    line = Timeline()
    for window in range(12):
        line.histogram(10 * window + 9, CALLS * (window + 1), resolution=3 if window < 6 else 2)
        line.close(window)
    assert set(line.known(1, 12)) == {RATE}
    assert line.weight == 10 * CALLS


def test_a_restart_is_no_fall_and_no_spike() -> None:
    line = Timeline()
    for window in range(30):
        line.histogram(10 * window + 9, CALLS * (window % 15 + 1))
        line.close(window)
    assert set(line.known(1, 30)) == {RATE}


@pytest.mark.parametrize("of_page", [True, False])
def test_a_page_that_is_gone_leaves_no_value_though_the_service_is_heard(*, of_page: bool) -> None:
    line = Timeline()
    for window in range(40):
        if window < 12:
            line.histogram(10 * window + 9, CALLS * (window + 1), of_page=of_page)
        line.close(window)
    assert set(line.known(0, 12)) == {RATE}
    assert set(line.known(12, 40)) == (set() if of_page else {0.0})


def test_a_page_that_is_gone_for_hours_leaves_no_value_either() -> None:
    """Its stage was forgotten after an hour, and calls that nobody told of became none: a page for nothing."""
    line = Timeline()
    for window in range(1500):
        if window < 12 or window >= 1440:
            line.histogram(10 * window + 9, CALLS * (window + 1), of_page=True)
        line.close(window)
    assert line.known(12, 1440) == []
    assert line.known(1441, 1500) == [RATE] * 59


def test_spans_that_took_over_from_a_page_stop_for_good() -> None:
    """Once spans tell of the stage, a page that is no more says nothing of their end."""
    line = Timeline()
    for window in range(1700):
        if window < 12:
            line.histogram(10 * window + 9, CALLS * (window + 1), of_page=True)
        elif window < 800:
            line.spans(window)
        line.close(window)
    assert set(line.known(100, 800)) == {RATE}
    assert line.known(801, 1700) == [0.0] * 899


def test_pages_that_are_gone_are_forgotten_with_their_places() -> None:
    line = Timeline()
    for process in ("a", "b"):
        line.histogram(9, CALLS, process=process, of_page=True)
    line.close(0)
    sources = line.aggregator._call_metrics._sources
    for window in range(1, 1000):
        line.close(window)
    # Of the senders of a stage one is enough to know it by.
    assert sources
    assert sources._sender_count == 1
    for window in range(1000, 9400):
        line.close(window)
    assert not sources
    assert sources._sender_count == 0


def test_what_was_gained_unread_is_calls_and_no_rate() -> None:
    line = Timeline()
    for window in range(40):
        if not 12 <= window < 24:
            line.histogram(10 * window + 9, CALLS * (window + 1), of_page=True)
        line.close(window)
    assert line.known(12, 25) == []
    assert line.known(25, 40) == [RATE] * 15
    assert line.weight == CALLS * 39


def test_a_restart_while_nothing_came_counts_from_the_first_report_after_it() -> None:
    """Its failures, of which there were few before, did not fall: they were taken for all the calls there were."""
    line = Timeline()
    for window in range(40):
        if not 12 <= window < 24:
            number = window + 1 if window < 12 else window - 23
            line.histogram(10 * window + 9, CALLS * number, of_page=True)
            failed_count = int(window > 5) + int(window >= 24)
            line.histogram(10 * window + 9, failed_count, failed=True, of_page=True)
        line.close(window)
    assert line.known(12, 25) == []
    assert line.known(25, 40) == [RATE] * 15
    assert math.isnan(line.errors[24])
    assert line.errors[25] == 0.0


def test_after_a_restart_of_ours_nothing_is_zero_until_the_second_report() -> None:
    """The places are remembered, and the first report of a cumulative sender has nothing to be compared with."""
    line = Timeline()
    keys = [SeriesKey(*EDGE, signal) for signal in ("traffic", "errors", "latency")]
    line.aggregator.remember(keys, last_ns=at(-10))
    for window in range(36):
        if window % 6 == 0:
            line.histogram(10 * window + 1, 1000 + CALLS * (window + 1))
        line.close(window)
    assert set(line.known(0, 36)) == {RATE}
    assert len(line.known(0, 36)) == 5


def test_older_and_newer_names_of_one_metric_count_once() -> None:
    """`http/dup` makes senders give both."""
    line = Timeline()
    new = "http.server.request.duration"
    for window in range(30):
        line.histogram(10 * window + 9, CALLS, interval_s=10.0)
        line.histogram(
            10 * window + 9, CALLS, interval_s=10.0,
            signal="http.server.duration", newer_signal=new,
        )  # fmt: skip
        line.close(window)
    assert set(line.known(0, 30)) == {RATE}


def test_only_an_older_name_counts_as_well() -> None:
    line = Timeline()
    for window in range(10):
        line.histogram(
            10 * window + 9, CALLS, interval_s=10.0,
            signal="http.server.duration", newer_signal="http.server.request.duration",
        )  # fmt: skip
        line.close(window)
    assert line.known(0, 10) == [RATE] * 10


def test_never_makes_gauges_of_them() -> None:
    line = Timeline(CallsFromMetrics.NEVER)
    line.histogram(9, CALLS, interval_s=10.0)
    (closed,) = line.aggregator.close(at(15)).windows
    assert {key.signal for key in closed.keys} == {
        "http.server.request.duration:rate",
        "http.server.request.duration:p95",
    }


def test_always_takes_them_instead_of_sampled_spans() -> None:
    line = Timeline(CallsFromMetrics.ALWAYS)
    for window in range(60):
        line.spans(window, count=1)
        line.histogram(10 * window + 9, CALLS, interval_s=10.0)
        line.close(window)
    assert line.known(0, 60) == [RATE] * 60
    assert line.counts.told_twice["traces"] == 60


def test_more_senders_than_are_followed_are_counted_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentinel.core.series.call_sources.order._SENDERS_MAX", 2)
    line = Timeline()
    for process in "abc":
        line.histogram(9, CALLS, interval_s=10.0, process=process)
    line.close(0)
    assert line.weight == 2 * CALLS
    assert sum(line.counts.dropped.values()) == CALLS


def test_idle_senders_are_forgotten() -> None:
    line = Timeline()
    line.histogram(9, CALLS, interval_s=10.0)
    line.close(0)
    assert line.aggregator._call_metrics._sources
    for window in range(1, 1000):
        line.close(window)
    assert not line.aggregator._call_metrics._sources
