"""Goal: calls that only logs tell of count, none counts twice, and no change of source looks like calls that stopped.

Method: timelines of one stage, ten calls every ten seconds, told by logs, spans, histograms or several of them; closed
windows are read back.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentinel.core.model import (
    DistributionPoint,
    LoggedCall,
    LogRecord,
    PointStream,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.core.series import (
    OVERFLOW_SCOPE,
    Aggregator,
    CallsFromLogs,
    SeriesCounts,
    SeriesSettings,
)
from sentinel.core.series.call_sources.log_sources import LogSources
from sentinel.core.series.call_sources.order import Stage, stage_of
from sentinel.core.stats import log_linear
from tests.support.batches import EDGE, START_NS, at, calls

CALLS = 10
RATE = CALLS / 10
ELSEWHERE = Scope("ledger", "edge", "GET")
"""Where logs without a route say that the same calls were."""


class Timeline:
    """An aggregator that is fed window by window; what it says of each is kept, by place and signal."""

    def __init__(self, mode: CallsFromLogs = CallsFromLogs.AUTO) -> None:
        self.aggregator = Aggregator(SeriesSettings(calls_from_logs=mode), start_ns=START_NS)
        self.value: dict[tuple[Scope, str], dict[int, float]] = {}
        self.heard: dict[int, bool] = {}
        self.weight = 0.0
        self.counts = SeriesCounts()
        self.window = 0

    def logs(self, *, failed: int = 0, scope: Scope = EDGE, duration_s: float = 0.1) -> None:
        """Records of this window's calls."""
        bucket = int(log_linear.bucket_of([duration_s])[0])
        records = tuple(
            LogRecord(
                service="ledger",
                time_ns=at(10 * self.window + number),
                severity=9,
                event="",
                body="",
                call=LoggedCall(scope, bucket, number < failed),
            )
            for number in range(CALLS)
        )
        self._add(SampleBatch(logs=records, services=frozenset({"ledger"})))

    def spans(self) -> None:
        """Spans of this window's calls."""
        self._add(calls([(EDGE, 10 * self.window + n, 0.1, False) for n in range(CALLS)]))

    def histogram(self, *, windows: int) -> None:
        """A cumulative one in this window, of all calls since the start."""
        point = DistributionPoint(
            stream=PointStream((b"a", b"scope", b"duration", b"s")),
            scope=EDGE,
            signal="http.server.request.duration",
            temporality=Temporality.CUMULATIVE,
            start_ns=at(0),
            time_ns=at(10 * self.window + 9.4),
            bucket=log_linear.bucket_of(np.array([0.1])),
            count=np.array([CALLS * windows], np.int64),
            total=math.nan,
            is_calls=True,
            error=False,
        )
        self._add(SampleBatch(distributions=(point,), services=frozenset({"ledger"})))

    def close(self) -> None:
        """Close the window; the service is heard in each by something else."""
        self._add(SampleBatch(services=frozenset({"ledger"})))
        for closed in self.aggregator.close(at(10 * self.window + 15)).windows:
            number = (closed.start_ns - START_NS) // (10 * 10**9)
            for at_, key in enumerate(closed.keys):
                values = self.value.setdefault((key.scope, key.signal), {})
                values[number] = float(closed.value[at_])
                if key.signal == "traffic":
                    self.weight += float(closed.weight[at_])
                    self.heard[number] = bool(closed.heard[at_])
        self.counts.told_twice.update(self.aggregator.take_counts().told_twice)
        self.window += 1

    def known(
        self, scope: Scope = EDGE, signal: str = "traffic", *, since: int = 0
    ) -> list[float]:
        """The values of those windows that have any, in order."""
        values = self.value.get((scope, signal), {})
        return [v for n, v in sorted(values.items()) if n >= since and not math.isnan(v)]

    def _add(self, batch: SampleBatch) -> None:
        self.aggregator.add(batch, at(10 * self.window + 9.5))


def test_logs_alone_give_traffic_errors_and_latency() -> None:
    line = Timeline()
    for _ in range(5):
        line.logs(failed=3)
        line.close()
    assert line.known() == [RATE] * 5
    assert line.known(signal="errors") == pytest.approx([0.3] * 5)
    assert line.known(signal="latency") == pytest.approx([0.1] * 5, rel=0.02)
    line.close()
    assert line.known()[-1] == 0.0


def test_never_leaves_them_log_records() -> None:
    line = Timeline(CallsFromLogs.NEVER)
    line.logs()
    line.close()
    assert [signal for _, signal in line.value] == ["logs_info"]


def test_spans_win_where_both_come() -> None:
    line = Timeline()
    for _ in range(20):
        line.logs(scope=ELSEWHERE)
        line.spans()
        line.close()
    assert line.known() == [RATE] * 20
    assert (ELSEWHERE, "traffic") not in line.value
    assert line.counts.told_twice == {"logs": 20 * CALLS}


def test_histograms_win_where_both_come_and_no_call_counts_twice() -> None:
    """A histogram of a minute whose calls the logs had told already would have counted that minute again."""
    line = Timeline()
    for number in range(36):
        line.logs()
        if number % 6 == 5:
            line.histogram(windows=number + 1)
        line.close()
    assert line.known() == pytest.approx([RATE] * len(line.known()))
    assert line.weight <= 36 * CALLS
    # Logs until the first histogram, of which it is not known what it gained; then a minute by each of five.
    assert line.weight == 5 * CALLS + 5 * 6 * CALLS
    assert all(line.heard.values())


@pytest.mark.parametrize("scope", [EDGE, ELSEWHERE], ids=["same_route", "other_route"])
def test_tracing_that_is_switched_off_is_no_end_of_calls(scope: Scope) -> None:
    line = Timeline()
    for _ in range(40):
        line.logs(scope=scope)
        line.spans()
        line.close()
    for _ in range(40):
        line.logs(scope=scope)
        line.close()
    assert set(line.known()) == {RATE}
    assert line.known(scope, since=60) == [RATE] * 20
    assert all(line.heard.values())


@pytest.mark.parametrize("scope", [EDGE, ELSEWHERE], ids=["same_route", "other_route"])
def test_tracing_that_is_switched_on_is_no_end_of_calls(scope: Scope) -> None:
    line = Timeline()
    for _ in range(40):
        line.logs(scope=scope)
        line.close()
    for _ in range(40):
        line.logs(scope=scope)
        line.spans()
        line.close()
    assert set(line.known(scope)) == {RATE}
    assert line.known(since=42) == [RATE] * 38
    assert line.weight == 80 * CALLS
    assert line.counts.told_twice == {"traces": 2 * CALLS, "logs": 38 * CALLS}


def test_calls_that_stop_where_both_tell_are_zero_at_once() -> None:
    line = Timeline()
    for _ in range(40):
        line.logs()
        line.spans()
        line.close()
    for _ in range(5):
        line.close()
    assert line.known(since=40) == [0.0] * 5


def test_a_stage_whose_spans_are_rare_keeps_them() -> None:
    line = Timeline()
    for number in range(300):
        line.logs()
        if number % 5 == 0:
            line.spans()
        line.close()
    assert line.known() == [RATE] * 60
    assert line.weight == 60 * CALLS


def test_a_stage_without_logged_calls_is_forgotten() -> None:
    sources = LogSources(window_ns=10**10)
    stage = stage_of(EDGE)
    sources.settle(at(0), logged={stage: 1}, told_ns={}, reported=frozenset())
    sources.forget_idle(at(0))
    assert sources.tell_of(EDGE)
    sources.forget_idle(at(10))
    assert not sources


def test_more_stages_than_are_followed_are_given_up_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentinel.core.series.call_sources.log_sources._STAGES_MAX", 1)
    sources = LogSources(window_ns=10**10)
    logged = {Stage("a", "edge"): 3, Stage("b", "edge"): 4}
    settled = sources.settle(at(0), logged=logged, told_ns={}, reported=frozenset())
    assert settled.counted == {Stage("a", "edge")}
    assert settled.given_up == 4


def test_a_window_of_too_many_different_calls_keeps_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentinel.core.series.logs._CALLS_MAX", 5)
    line = Timeline()
    for number in range(8):
        line.logs(scope=Scope("ledger", "edge", f"GET /{number}"))
    line.close()
    assert line.weight == 8 * CALLS
    assert line.known(OVERFLOW_SCOPE) == [3 * RATE]
