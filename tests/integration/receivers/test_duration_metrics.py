"""Goal: what the OpenTelemetry SDK measures of calls, and no span, becomes traffic, errors and latency.

Method: SDK metric exporters of both transports, delta and cumulative, explicit and exponential histograms, sent to both
receivers with the real decoder; the batches are reduced in windows of a tenth of a second and compared with what was
recorded. A process that restarts is a second meter provider.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.resources import Resource

from sentinel.core.model import SampleBatch, Scope
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.ports import Admission
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig, OtlpHttpReceiver
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.intake.downstream import Downstream
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

WINDOW_NS = 10**8
PLACE = Scope("payments", "edge", "POST /v1/transfers")
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
GOOD, FAILED = 30, 10
MakeExporter = Callable[[], MetricExporter]


class Kept:
    """A sink that keeps batches with the time they came."""

    def __init__(self) -> None:
        self.batches: list[tuple[SampleBatch, int]] = []

    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:
        """As `SampleSink`."""
        self.batches.append((batch, time.time_ns()))
        return Admission.ACCEPTED


def one_life(make: MakeExporter, *, reports: int) -> None:
    """A process: in each report calls of 0.2 s, from the second on failed ones of 2 s as well."""
    reader = PeriodicExportingMetricReader(make(), export_interval_millis=600_000)
    provider = MeterProvider(
        [reader], resource=Resource({"service.name": "payments"}), shutdown_on_exit=False
    )
    durations = provider.get_meter("test").create_histogram(
        "http.server.request.duration", unit="s"
    )
    names = {"http.request.method": "POST", "http.route": "/v1/transfers"}
    for report in range(reports):
        time.sleep(0.15)
        for _ in range(GOOD):
            durations.record(0.2, {**names, "http.response.status_code": 202})
        for _ in range(FAILED if report else 0):
            durations.record(2.0, {**names, "http.response.status_code": 500})
        provider.force_flush()
    # A last report of a provider that shuts down repeats or adds nothing.
    provider.shutdown()


def reduced(batches: list[tuple[SampleBatch, int]], *, start_ns: int) -> Counter[str]:
    """Sums over all windows: calls, failed ones, and those of windows whose slowest 5 % took about 2 s."""
    aggregator = Aggregator(SeriesSettings(window_ns=WINDOW_NS), start_ns=start_ns)
    for batch, now_ns in batches:
        assert batch.rejected == {}
        aggregator.add(batch, now_ns)
    found: Counter[str] = Counter()
    for window in aggregator.close(time.time_ns() + 20 * 10**9).windows:
        of_key = dict(zip(window.keys, range(len(window.keys)), strict=True))
        assert {key.scope for key in of_key} <= {PLACE}
        by_signal = {key.signal: at for key, at in of_key.items()}
        if not by_signal or not window.weight[by_signal["traffic"]]:
            continue
        calls = float(window.weight[by_signal["traffic"]])
        found["calls"] += round(calls)
        found["failed"] += round(calls * float(window.value[by_signal["errors"]]))
        latency_s = float(window.value[by_signal["latency"]])
        assert latency_s == pytest.approx(0.2, rel=0.2) or latency_s == pytest.approx(2, rel=0.2)
        found["slow"] += round(calls) if latency_s > 1 else 0
        assert float(window.value[by_signal["traffic"]]) > 0
    return found


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:])
@pytest.mark.parametrize(
    "aggregation",
    [
        ExplicitBucketHistogramAggregation(boundaries=BOUNDS),
        ExponentialBucketHistogramAggregation(),
    ],
    ids=["explicit", "exponential"],
)
async def test_durations_become_calls(
    transport: str, temporality: AggregationTemporality, aggregation: Aggregation
) -> None:
    sink = Kept()
    surroundings = replace(make_surroundings(), clock=SystemClock())
    http = OtlpHttpReceiver(
        OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
        Downstream(sink=sink),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    rpc = OtlpGrpcReceiver(
        OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
        Downstream(sink=sink),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    start_ns = time.time_ns()

    def make() -> MetricExporter:
        if transport == "http":
            return HttpExporter(
                f"{http.url}/v1/metrics",
                preferred_temporality={Histogram: temporality},
                preferred_aggregation={Histogram: aggregation},
            )
        return GrpcExporter(
            endpoint=f"http://127.0.0.1:{rpc.port}",
            insecure=True,
            preferred_temporality={Histogram: temporality},
            preferred_aggregation={Histogram: aggregation},
        )

    await http.start()
    await rpc.start()
    try:
        await asyncio.to_thread(one_life, make, reports=4)
        await asyncio.to_thread(one_life, make, reports=3)
    finally:
        await rpc.stop()
        await http.stop()
    found = reduced(sink.batches, start_ns=start_ns)
    reports, failing_reports = 7, 5
    if temporality is AggregationTemporality.CUMULATIVE:
        # The first report of all is what later ones are compared with; after the restart nothing is lost.
        reports -= 1
    assert found["failed"] == FAILED * failing_reports
    assert found["calls"] == GOOD * reports + FAILED * failing_reports
    assert found["slow"] == (GOOD + FAILED) * failing_reports
