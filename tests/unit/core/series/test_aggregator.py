"""Goal: windows say what happened, what did not happen, and what nobody told us, each apart.

Method: batches by hand into an aggregator whose clock is an argument; the closed windows read back by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sentinel.core.model import (
    CallColumns,
    CallExemplar,
    DistributionPoint,
    LogRecord,
    PointStream,
    RejectReason,
    SampleBatch,
    Scope,
    SeriesKey,
    Temporality,
)
from sentinel.core.series import (
    OVERFLOW_POINTS,
    OVERFLOW_SCOPE,
    Aggregator,
    ClosedWindow,
    SeriesSettings,
    to_block,
)
from sentinel.core.series.counts import CLOCK_JUMPED
from sentinel.core.stats import log_linear
from tests.support.batches import (
    EDGE,
    SECOND_NS,
    START_NS,
    at,
    calls,
    number,
    numbers,
)

HOUR_S = 3600
TRAFFIC, ERRORS, LATENCY = (
    SeriesKey(*EDGE, signal) for signal in ("traffic", "errors", "latency")
)


def make(**settings: Any) -> Aggregator:
    return Aggregator(SeriesSettings(**settings), start_ns=START_NS)


def read(window: ClosedWindow, key: SeriesKey) -> tuple[Any, float, bool]:
    position = window.keys.index(key)
    return (
        float(window.value[position]),
        float(window.weight[position]),
        bool(window.heard[position]),
    )


def close_each(aggregator: Aggregator, *, start_s: int, end_s: int) -> list[ClosedWindow]:
    """Close second by second, as the shell does."""
    return [
        window
        for second in range(start_s, end_s + 1)
        for window in aggregator.close(at(second)).windows
    ]


def test_a_window_gives_traffic_errors_and_latency() -> None:
    aggregator = make()
    aggregator.add(calls((EDGE, 0.1 * n, 0.01 * n, n > 18) for n in range(1, 21)), at(5))
    (window,) = aggregator.close(at(15)).windows
    assert (window.start_ns, window.step_ns) == (START_NS, 10 * SECOND_NS)
    assert read(window, TRAFFIC) == (2.0, 20.0, True)
    assert read(window, ERRORS) == (pytest.approx(0.1), 20.0, True)
    latency_s, weight, heard = read(window, LATENCY)
    assert latency_s == pytest.approx(0.19, rel=1 / 64)
    assert (weight, heard) == (20.0, True)


def test_nothing_closes_before_the_lateness_has_passed() -> None:
    aggregator = make()
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(2))
    assert aggregator.close(at(14.9)).windows == ()
    assert len(aggregator.close(at(15)).windows) == 1
    assert aggregator.close(at(15)).windows == ()


def test_silence_is_zero_when_the_service_is_heard_and_unknown_when_not() -> None:
    aggregator = make()
    other = Scope("ledger", "consumer", "process x")
    aggregator.add(calls([(EDGE, 1, 0.1, False), (other, 1, 0.1, False)]), at(2))
    aggregator.add(calls([(other, 11, 0.1, False)]), at(12))
    first, second, third = close_each(aggregator, start_s=13, end_s=35)
    assert read(first, TRAFFIC)[0] == pytest.approx(0.1)
    assert read(second, TRAFFIC) == (0.0, 0.0, True)
    assert np.isnan(read(second, LATENCY)[0])
    assert read(second, LATENCY)[2]
    value, weight, heard = read(third, TRAFFIC)
    assert np.isnan(value)
    assert (weight, heard) == (0.0, False)


def test_a_service_is_heard_by_anything_it_sends() -> None:
    aggregator = make()
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(2))
    aggregator.add(SampleBatch(services=frozenset({"ledger"})), at(12))
    _, second = close_each(aggregator, start_s=13, end_s=25)
    assert read(second, TRAFFIC) == (0.0, 0.0, True)


def test_late_calls_are_counted_and_change_nothing() -> None:
    aggregator = make()
    aggregator.close(at(15))
    aggregator.add(calls([(EDGE, 9.9, 0.1, False), (EDGE, 10, 0.1, False)]), at(16))
    assert aggregator.take_counts().late == {"traces": 1}
    assert aggregator.take_counts().late == {}
    (window,) = aggregator.close(at(25)).windows
    assert read(window, TRAFFIC)[1] == 1.0


def test_the_window_that_runs_at_the_start_is_left_out() -> None:
    """It was seen in part only; a half-filled window would look like half the traffic."""
    aggregator = Aggregator(SeriesSettings())
    aggregator.add(calls([(EDGE, 4, 0.1, False)]), at(4))
    aggregator.add(calls([(EDGE, 12, 0.1, False)]), at(12))
    (window,) = close_each(aggregator, start_s=13, end_s=25)
    assert window.start_ns == at(10)
    counts = aggregator.take_counts()
    assert counts.dropped == {("traces", RejectReason.BEFORE_START): 1}
    assert counts.late == {}


def test_what_is_older_than_the_window_at_the_start_is_late() -> None:
    aggregator = Aggregator(SeriesSettings())
    aggregator.close(at(24))
    aggregator.add(calls([(EDGE, 19, 0.1, False), (EDGE, 21, 0.1, False)]), at(25))
    counts = aggregator.take_counts()
    assert counts.late == {"traces": 1}
    assert counts.dropped == {("traces", RejectReason.BEFORE_START): 1}


def test_a_resent_batch_counts_once() -> None:
    aggregator = make()
    for _ in range(3):
        aggregator.add(calls([(EDGE, 1, 0.1, False)], fingerprint=b"same"), at(2))
    (window,) = aggregator.close(at(15)).windows
    assert read(window, TRAFFIC)[1] == 1.0
    assert aggregator.take_counts().duplicate_batches == 2


def test_the_cap_keeps_known_series_and_exact_counts() -> None:
    aggregator = make(series_count_max=6)
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(1))
    attack = [(Scope(f"s{n}", "edge", f"/{n}"), 2.0, 0.1, n % 2 == 0) for n in range(100)]
    aggregator.add(calls(attack), at(2))
    aggregator.add(calls([(EDGE, 3, 0.1, False)]), at(3))
    (window,) = aggregator.close(at(15)).windows
    assert read(window, TRAFFIC)[1] == 2.0
    over = SeriesKey(*OVERFLOW_SCOPE, "errors")
    assert read(window, over)[:2] == (pytest.approx(49 / 99), 99.0)
    assert aggregator.take_counts().overflow == 99
    assert len(window.keys) == 9


def test_gauges_over_the_cap_are_counted_too() -> None:
    aggregator = make(series_count_max=3)
    points = [number(1, 1.0, name=f"g{n}", temporality=Temporality.GAUGE) for n in range(10)]
    aggregator.add(numbers(*points), at(2))
    (window,) = aggregator.close(at(15)).windows
    assert [key.signal for key in window.keys] == ["g0", "g1", "g2", "points"]
    assert read(window, OVERFLOW_POINTS)[:2] == (pytest.approx(0.7), 7.0)
    assert aggregator.take_counts().overflow == 7


def test_idle_series_are_forgotten_and_come_back() -> None:
    aggregator = make(idle_ns=HOUR_S * SECOND_NS)
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(2))
    busy = Scope("ledger", "edge", "busy")
    last: ClosedWindow | None = None
    for second in range(10, 3 * HOUR_S, 10):
        aggregator.add(calls([(busy, second, 0.1, False)]), at(second))
        for window in aggregator.close(at(second + 5)).windows:
            last = window
    assert last is not None
    assert {key.route for key in last.keys} == {"busy"}
    assert aggregator.take_counts().expired == 3
    assert aggregator.series_count == 3


def test_the_order_of_series_is_kept_while_the_set_is() -> None:
    aggregator = make()
    aggregator.add(calls([(EDGE, 1, 0.1, False)]), at(2))
    first, second = close_each(aggregator, start_s=3, end_s=25)
    assert second.keys is first.keys


def test_remembered_series_are_missed_after_a_restart() -> None:
    aggregator = make()
    aggregator.remember([TRAFFIC, ERRORS, LATENCY, SeriesKey("ledger", "nats", "q", "depth")],
                        last_ns=START_NS)  # fmt: skip
    (window,) = aggregator.close(at(15)).windows
    assert len(window.keys) == 4
    assert not window.heard.any()
    assert np.isnan(window.value).all()


def test_exemplars_name_the_first_and_the_slowest_of_each_outcome() -> None:
    def batch(trace: str, at_s: float, duration_s: float, *, error: bool) -> SampleBatch:
        columns = calls([(EDGE, 1, duration_s, error)]).calls
        assert columns is not None
        exemplar = CallExemplar(
            scope_index=0, trace_id=trace, end_ns=at(at_s), duration_s=duration_s, error=error
        )
        return SampleBatch(
            calls=CallColumns(
                scopes=columns.scopes,
                scope_index=columns.scope_index,
                end_ns=columns.end_ns,
                duration_s=columns.duration_s,
                error=columns.error,
                exemplars=(exemplar,),
            )
        )

    aggregator = make()
    for trace, at_s, duration_s, error in (
        ("a", 1.5, 1, False),
        ("b", 1.6, 3, False),
        ("c", 1.4, 2, False),
        ("d", 1, 1, True),
    ):
        aggregator.add(batch(trace, at_s, duration_s, error=error), at(2))
    (window,) = aggregator.close(at(15)).windows
    assert [(each.trace_id, each.key) for each in window.exemplars] == [
        ("c", LATENCY),
        ("b", LATENCY),
        ("d", ERRORS),
    ]


def record(time_s: float, body: str, severity: int = 17, event: str = "") -> LogRecord:
    return LogRecord(
        service="ledger", time_ns=at(time_s), severity=severity, event=event, body=body
    )


def test_logs_become_rates_and_new_lines() -> None:
    aggregator = make()
    aggregator.add(
        SampleBatch(
            logs=(
                record(2, "lock 17 timed out", event="lock.timeout"),
                record(1, "lock 18 timed out", event="lock.timeout"),
                record(3, "no such route"),
                record(4, "fine", severity=9),
            ),
            services=frozenset({"ledger"}),
        ),
        at(5),
    )
    aggregator.add(SampleBatch(services=frozenset({"ledger"})), at(12))
    first, second = close_each(aggregator, start_s=13, end_s=25)
    key = SeriesKey("ledger", "logs", "lock.timeout", "logs_error")
    assert read(first, key) == (pytest.approx(0.2), 2.0, True)
    assert read(second, key) == (0.0, 0.0, True)
    shown = [(line.body, line.is_new, line.template) for line in first.logs]
    assert shown == [
        ("lock 18 timed out", False, ""),
        ("lock 17 timed out", True, ""),
        ("no such route", True, ""),
    ]


def test_gauges_of_several_processes_are_averaged_and_counters_added() -> None:
    aggregator = make()
    aggregator.add(
        numbers(
            *(number(1, float(n), name="depth", stream=str(n), temporality=Temporality.GAUGE)
              for n in (2, 4)),
            *(number(second, 10.0 * second * n, stream=str(n)) for second in (1, 6) for n in (1, 2)),
        ),
        at(7),
    )  # fmt: skip
    (window,) = aggregator.close(at(15)).windows
    scope = ("ledger", "metrics", "all")
    assert read(window, SeriesKey(*scope, "depth"))[:2] == (3.0, 2.0)
    assert read(window, SeriesKey(*scope, "jobs"))[:2] == (30.0, 2.0)


def distribution(time_s: float, counts: list[int], *, is_calls: bool) -> DistributionPoint:
    return DistributionPoint(
        stream=PointStream(("h",)),
        scope=EDGE,
        signal="http.server.request.duration",
        temporality=Temporality.CUMULATIVE,
        start_ns=at(-100),
        time_ns=at(time_s),
        bucket=log_linear.bucket_of([0.1, 0.2]),
        count=np.array(counts, np.int64),
        total=float("nan"),
        is_calls=is_calls,
        error=False,
    )


def test_a_distribution_is_a_rate_and_a_quantile_or_calls() -> None:
    for is_calls in (False, True):
        aggregator = make()
        aggregator.add(
            SampleBatch(
                distributions=(
                    distribution(1, [100, 100], is_calls=is_calls),
                    distribution(6, [110, 140], is_calls=is_calls),
                )
            ),
            at(7),
        )
        (window,) = aggregator.close(at(15)).windows
        if is_calls:
            assert read(window, TRAFFIC)[:2] == (5.0, 50.0)
            assert read(window, LATENCY)[0] == pytest.approx(0.2, rel=1 / 64)
        else:
            name = "http.server.request.duration"
            assert read(window, SeriesKey(*EDGE, f"{name}:rate"))[0] == 10.0
            assert read(window, SeriesKey(*EDGE, f"{name}:p95"))[0] == pytest.approx(
                0.2, rel=1 / 64
            )


def test_what_float32_cannot_hold_is_no_value() -> None:
    aggregator = make()
    aggregator.add(numbers(number(1, 0.0), number(1.001, 3e38)), at(2))
    (window,) = aggregator.close(at(15)).windows
    assert np.isnan(window.value).all()
    assert (window.weight == 0).all()
    assert aggregator.take_counts().dropped == {("metrics", RejectReason.NOT_FINITE): 1}


def test_a_block_is_in_the_order_of_ids() -> None:
    aggregator = make()
    other = Scope("ledger", "edge", "slow")
    aggregator.add(
        calls([(EDGE, 1, 0.1, False), (other, 1, 2.0, True), (other, 1, 2.0, True)]), at(2)
    )
    (window,) = aggregator.close(at(15)).windows
    ids = {key: 100 - position for position, key in enumerate(window.keys)}
    block = to_block(window, ids)
    assert block.series.tolist() == sorted(ids.values())
    for position, key in enumerate(window.keys):
        column = block.series.tolist().index(ids[key])
        assert block.value[0, column] == window.value[position]
    assert block.histograms is not None
    rows = {
        int(block.series[row]): int(count)
        for row, count in zip(block.histograms.row, block.histograms.count, strict=True)
    }
    assert rows == {ids[LATENCY]: 1, ids[SeriesKey(*other, "latency")]: 2}
    assert block.histograms.row.tolist() == sorted(block.histograms.row.tolist())


def test_a_clock_that_jumps_a_day_ahead_and_back_leaves_no_trace() -> None:
    """Closing the skipped day as silence would page for everything, and make all that follows late."""
    aggregator = make()
    day_s = 86_400
    windows: list[ClosedWindow] = []
    for second in range(60):
        wrong = day_s if 20 <= second < 40 else 0
        aggregator.add(calls([(EDGE, second, 0.1, False)]), at(second + wrong))
        windows += aggregator.close(at(second + wrong)).windows
    assert [window.start_ns for window in windows] == [at(0), at(10), at(20), at(30), at(40)]
    assert [read(window, TRAFFIC)[1] for window in windows] == [10.0] * 5
    assert not aggregator.take_counts().late


def test_after_a_suspension_silence_proves_nothing() -> None:
    aggregator = make()
    for second in range(15):
        aggregator.add(calls([(EDGE, second, 0.1, False)]), at(second))
        aggregator.close(at(second))
    wake_s = 615
    aggregator.add(calls([(EDGE, wake_s, 0.1, False)]), at(wake_s))
    closed = aggregator.close(at(wake_s + 5))
    assert [window.start_ns for window in closed.windows] == [at(0), at(10)]
    assert aggregator.take_counts().dropped_windows == {CLOCK_JUMPED: 59}
    assert all(read(window, TRAFFIC)[1] > 0 for window in closed.windows)
    (after,) = aggregator.close(at(wake_s + 10)).windows
    assert read(after, TRAFFIC)[1] == 1.0


def test_a_stamp_from_the_future_closes_nothing() -> None:
    aggregator = make()
    aggregator.add(calls([(EDGE, 1, 0.1, False), (EDGE, 200, 0.1, False)]), at(2))
    assert aggregator.close(at(3)).windows == ()
    aggregator.add(calls([(EDGE, 100_000, 0.1, False)]), at(4))
    assert aggregator.take_counts().dropped == {("traces", RejectReason.FUTURE): 1}
    assert aggregator.close(at(5)).windows == ()


def test_points_held_for_open_windows_are_bounded() -> None:
    aggregator = make(pending_point_count_max=5)
    aggregator.add(numbers(*(number(1 + n / 100, n) for n in range(9))), at(2))
    assert aggregator.take_counts().dropped == {("metrics", RejectReason.LIMIT): 4}
    aggregator.close(at(15))
    aggregator.add(numbers(number(16, 9.0)), at(16))
    assert not aggregator.take_counts().dropped


@pytest.mark.parametrize(
    "settings",
    [{"window_ns": 0}, {"window_ns": 7}, {"lateness_ns": -1}, {"series_count_max": 2}, {"idle_ns": 1}],
    ids=str,
)  # fmt: skip
def test_settings_check_themselves(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|divide"):
        SeriesSettings(**settings)
