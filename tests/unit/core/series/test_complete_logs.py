"""Goal: a gateway whose log, spans and metrics all come is counted once, by the one that knows every call.

Method: timelines of one stage. Of ten calls in a window a log tells all, spans tell one (they are sampled), and two
metrics count and time all of them. Closed windows are read back.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentinel.core.model import (
    CallColumns,
    DistributionPoint,
    EventColumns,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    SeriesKey,
    Temporality,
)
from sentinel.core.series import Aggregator, SeriesCounts, SeriesSettings
from sentinel.core.stats import log_linear
from tests.support.batches import START_NS, at, calls

CALLS = 10
RATE = CALLS / 10
ROUTE = Scope("kong", "edge", "orders")
SPANS = Scope("kong", "edge", "GET /v1/orders")
LIMITED = SeriesKey(*ROUTE, "rate_limited_per_s")
UPSTREAM = SeriesKey(*ROUTE, "upstream_latency_p95_s")


class Timeline:
    """An aggregator fed window by window; values and weights of each series by window."""

    def __init__(self) -> None:
        self.aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
        self.values: dict[SeriesKey, dict[int, float]] = {}
        self.weight: dict[SeriesKey, float] = {}
        self.counts = SeriesCounts()

    def log(
        self, window: int, *, failed: int = 0, limited: int = 0, untimed: bool = False
    ) -> None:
        """What a complete log tells of the calls of a window."""
        ends = np.array([at(10 * window + 9 * each / CALLS) for each in range(CALLS)], np.int64)
        columns = CallColumns(
            scopes=(ROUTE,),
            scope_index=np.zeros(CALLS, np.int32),
            end_ns=ends,
            duration_s=np.full(CALLS, math.nan if untimed else 0.1),
            error=np.arange(CALLS) < failed,
            complete=True,
        )
        index = np.repeat(np.array([0, 1], np.int32), [CALLS, limited])
        events = EventColumns(
            keys=(UPSTREAM, LIMITED),
            key_index=index,
            time_ns=np.concatenate((ends, ends[:limited])),
            value=np.where(index == 0, 0.05, math.nan),
        )
        self._add(SampleBatch(calls=columns, events=events), window)

    def spans(self, window: int, count: int = 1) -> None:
        """Spans of some of the calls, under another route's name."""
        self._add(
            calls([(SPANS, 10 * window + 3 + each / 10, 0.1, False) for each in range(count)]),
            window,
        )

    def metrics(self, window: int, *, failed: int = 0, timed: bool = True) -> None:
        """A scrape: all calls so far by outcome, and their durations; and what was limited of them."""
        told = CALLS * (window + 1)
        points = [self._counter(window, told - failed, error=False)]
        points.append(self._counter(window, failed, error=True))
        if timed:
            points.append(self._times(window, told))
        limited = NumberPoint(
            stream=PointStream(("kong", "a", "limited", "")),
            scope=ROUTE,
            signal=LIMITED.signal,
            temporality=Temporality.CUMULATIVE,
            monotonic=True,
            start_ns=0,
            time_ns=at(10 * window + 5),
            value=float(2 * (window + 1)),
            yields=True,
        )
        self._add(SampleBatch(distributions=tuple(points), numbers=(limited,)), window)

    def close(self, window: int) -> None:
        """Close a window, in which the gateway was heard."""
        self._add(SampleBatch(), window)
        for closed in self.aggregator.close(at(10 * window + 15)).windows:
            number = (closed.start_ns - START_NS) // (10 * 10**9)
            for key, value, weight in zip(
                closed.keys, closed.value.tolist(), closed.weight.tolist(), strict=True
            ):
                self.values.setdefault(key, {})[number] = value
                self.weight[key] = self.weight.get(key, 0.0) + weight
        self.counts.told_twice.update(self.aggregator.take_counts().told_twice)

    def of(self, key: SeriesKey, first: int, last: int) -> list[float]:
        """Values of those windows, in order."""
        return [self.values.get(key, {}).get(number, math.nan) for number in range(first, last)]

    def traffic(self, first: int, last: int, scope: Scope = ROUTE) -> list[float]:
        """Traffic of a place in those windows."""
        return self.of(SeriesKey(*scope, "traffic"), first, last)

    def _counter(self, window: int, value: int, *, error: bool) -> DistributionPoint:
        return _point(window, np.array([log_linear.UNTIMED], np.int16), value, error=error)

    def _times(self, window: int, value: int) -> DistributionPoint:
        bucket = log_linear.bucket_of(np.array([0.1]))
        return _point(window, bucket, value, error=False, times_only=True)

    def _add(self, batch: SampleBatch, window: int) -> None:
        heard = SampleBatch(
            calls=batch.calls,
            events=batch.events,
            numbers=batch.numbers,
            distributions=batch.distributions,
            services=frozenset({"kong"}),
        )
        self.aggregator.add(heard, at(10 * window + 9.9))


def _point(
    window: int,
    bucket: log_linear.Buckets,
    value: int,
    *,
    error: bool,
    times_only: bool = False,
) -> DistributionPoint:
    return DistributionPoint(
        stream=PointStream(("kong", "a", "calls", "", error, times_only)),
        scope=ROUTE,
        signal="requests",
        temporality=Temporality.CUMULATIVE,
        start_ns=0,
        time_ns=at(10 * window + 5),
        bucket=bucket,
        count=np.array([value], np.int64),
        total=math.nan,
        is_calls=True,
        error=error,
        times_only=times_only,
        complete=True,
    )


def _is_silent(values: list[float]) -> bool:
    return all(math.isnan(value) for value in values)


def test_a_complete_log_takes_the_place_of_sampled_spans_and_of_metrics() -> None:
    line = Timeline()
    for window in range(60):
        line.log(window, failed=1)
        line.spans(window)
        line.metrics(window)
        line.close(window)
    assert line.traffic(0, 60) == [RATE] * 60
    assert line.of(SeriesKey(*ROUTE, "errors"), 0, 60) == pytest.approx([0.1] * 60)
    assert line.weight[SeriesKey(*ROUTE, "traffic")] == 60 * CALLS
    assert SeriesKey(*SPANS, "traffic") not in line.values
    assert line.counts.told_twice["traces"] == 60
    # The first scrape has nothing to be compared with; of the others, calls and what was limited of them are left out.
    assert line.counts.told_twice["metrics"] == 59 * CALLS + 59


def test_metrics_that_count_every_call_take_the_place_of_sampled_spans() -> None:
    line = Timeline()
    for window in range(60):
        line.spans(window)
        line.metrics(window)
        line.close(window)
    assert line.traffic(2, 60) == [RATE] * 58
    assert line.of(LIMITED, 2, 60) == pytest.approx([0.2] * 58)
    # What spans told of before the metrics did is no traffic that has ended.
    assert (
        _is_silent(line.traffic(2, 60, SPANS)) or SeriesKey(*SPANS, "traffic") not in line.values
    )


@pytest.mark.parametrize("timed", [True, False])
def test_a_counter_says_how_many_failed_and_a_histogram_how_long_they_took(*, timed: bool) -> None:
    line = Timeline()
    for window in range(12):
        line.metrics(window, failed=2 * max(window - 5, 0), timed=timed)
        line.close(window)
    errors = line.of(SeriesKey(*ROUTE, "errors"), 1, 12)
    assert errors == pytest.approx([0.0] * 5 + [0.2] * 6)
    assert line.traffic(1, 12) == [RATE] * 11
    latency = line.of(SeriesKey(*ROUTE, "latency"), 1, 12)
    assert latency == pytest.approx([0.1] * 11, rel=0.02) if timed else _is_silent(latency)
    assert line.weight[SeriesKey(*ROUTE, "traffic")] == 11 * CALLS


def test_a_log_that_ends_is_no_end_of_calls() -> None:
    """Its spans go on, so windows have no value until the spans count for good; zeros would page that calls stopped."""
    line = Timeline()
    for window in range(60):
        if window < 20:
            line.log(window)
        line.spans(window)
        line.close(window)
    assert line.traffic(0, 20) == [RATE] * 20
    assert _is_silent(line.traffic(20, 60))
    assert _is_silent(line.traffic(0, 30, SPANS))
    assert line.traffic(31, 60, SPANS) == pytest.approx([0.1] * 29)
    # What only the log told of is not told of, rather than none.
    assert _is_silent(line.of(LIMITED, 20, 60))


def test_a_log_that_ends_hands_over_to_metrics_and_takes_over_again() -> None:
    line = Timeline()
    for window in range(120):
        if not 20 <= window < 80:
            line.log(window, limited=3)
        line.metrics(window)
        line.close(window)
    known = [value for value in line.traffic(0, 120) if not math.isnan(value)]
    assert set(known) == {RATE}
    assert len(known) >= 100
    assert line.weight[SeriesKey(*ROUTE, "traffic")] <= 120 * CALLS
    assert line.of(LIMITED, 0, 20) == pytest.approx([0.3] * 20)
    assert line.of(LIMITED, 40, 80) == pytest.approx([0.2] * 40)
    assert line.of(LIMITED, 90, 120) == pytest.approx([0.3] * 30)


def test_a_log_that_begins_after_spans_leaves_their_places_without_a_value() -> None:
    line = Timeline()
    for window in range(40):
        line.spans(window, count=CALLS)
        if window >= 10:
            line.log(window)
        line.close(window)
    assert line.traffic(0, 10, SPANS) == [RATE] * 10
    assert _is_silent(line.traffic(10, 40, SPANS))
    assert line.traffic(10, 40) == [RATE] * 30


def test_events_are_a_rate_or_a_quantile_and_none_is_zero() -> None:
    line = Timeline()
    for window in range(20):
        line.log(window, limited=4 if window == 10 else 0, untimed=window == 11)
        line.close(window)
    limited = line.of(LIMITED, 0, 20)
    assert limited == pytest.approx([0.0] * 10 + [0.4] + [0.0] * 9)
    assert line.of(UPSTREAM, 0, 20) == pytest.approx([0.05] * 20, rel=0.02)
    latency = line.of(SeriesKey(*ROUTE, "latency"), 0, 20)
    assert math.isnan(latency[11])
    assert line.traffic(0, 20) == [RATE] * 20


def test_a_gateways_log_is_known_while_spans_are_turned_away() -> None:
    """Its calls are taken under overload as well; they were called unknown, because spans of the stage were shed."""
    line = Timeline()
    for window in range(20):
        line.log(window)
        line.spans(window)
        if window >= 10:
            line.aggregator.shed({"traces", "logs"}, at(10 * window + 5))
        line.close(window)
    assert line.traffic(0, 20) == [RATE] * 20
    assert line.of(LIMITED, 0, 20) == pytest.approx([0.0] * 20)


def test_events_of_any_order_and_split_come_to_the_same() -> None:
    first, second = Timeline(), Timeline()
    first.log(0, limited=4)
    first.log(1, limited=1)
    second.log(1, limited=1)
    second.log(0, limited=4)
    for line in (first, second):
        line.close(0)
        line.close(1)
    assert first.values == second.values


def test_more_names_of_events_than_series_are_counted_on_the_overflow() -> None:
    aggregator = Aggregator(SeriesSettings(series_count_max=3), start_ns=START_NS)
    keys = tuple(SeriesKey("kong", "edge", f"r{each}", "denied_per_s") for each in range(8))
    events = EventColumns(
        keys=keys,
        key_index=np.arange(8, dtype=np.int32),
        time_ns=np.full(8, at(1), np.int64),
        value=np.full(8, math.nan),
    )
    aggregator.add(SampleBatch(events=events, services=frozenset({"kong"})), at(2))
    (closed,) = aggregator.close(at(16)).windows
    over = [key for key in closed.keys if key.service == "__overflow__"]
    assert len(closed.keys) == 4
    assert [closed.value[closed.keys.index(key)] for key in over] == pytest.approx([0.5])
    assert aggregator.take_counts().overflow == 5
