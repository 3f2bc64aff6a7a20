"""Goal: calls whose durations nobody told are traffic and errors, and no latency of 0.

Method: histograms without boundaries (legal, and what an SDK sends when told to drop buckets), from the wire on to the
closed windows.
"""

from __future__ import annotations

import math

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from tests.support.batches import at
from tests.support.otlp_messages import attribute, resource


def window_of(
    name: str, *, bucket_counts: bool, timed_count: int = 0, is_cumulative: bool = False
) -> ClosedWindow:
    """The second window of a service that reports 30 good and 10 failed calls in each."""
    decoder = OtlpDecoder()
    aggregator = Aggregator(SeriesSettings(), start_ns=at(0))
    for report in (1, 2):
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add(resource=resource("ledger"))
        metric = group.scope_metrics.add().metrics.add(name=name, unit="s")
        metric.histogram.aggregation_temporality = 2 if is_cumulative else 1  # type: ignore[assignment]
        for code, count, bounds in (
            (200, 30, ()),
            (500, 10, ()),
            (201, timed_count, (0.1, 0.2)),
        ):
            if not count:
                continue
            total = count * report if is_cumulative else count
            buckets = [total] if bucket_counts else []
            metric.histogram.data_points.add(
                start_time_unix_nano=at(0) if is_cumulative else at(10 * report - 10),
                time_unix_nano=at(10 * report - 1),
                count=total,
                sum=3.5,
                bucket_counts=[0, total, 0] if bounds else buckets,
                explicit_bounds=bounds,
                attributes=[
                    attribute("http.request.method", "GET"),
                    attribute("http.route", "/v1/x"),
                    attribute("http.response.status_code", code),
                ],
            )
        now_ns = at(10 * report)
        batch = decoder.decode_metrics(request.SerializeToString(), now_ns=now_ns)
        assert batch.rejected == {}
        aggregator.add(batch, now_ns)
    return aggregator.close(at(30)).windows[1]


@pytest.mark.parametrize("bucket_counts", [True, False])
@pytest.mark.parametrize("is_cumulative", [True, False])
def test_calls_without_buckets_have_traffic_and_errors(
    *, bucket_counts: bool, is_cumulative: bool
) -> None:
    """A point without buckets is legal, and was refused whole: its calls and failures were lost with its latency."""
    window = window_of(
        "http.server.request.duration", bucket_counts=bucket_counts, is_cumulative=is_cumulative
    )
    assert [key.signal for key in window.keys] == ["traffic", "errors", "latency"]
    traffic, errors, latency = window.value.tolist()
    assert errors == pytest.approx(0.25)
    assert traffic == pytest.approx(4.0, rel=0.15)
    assert math.isnan(latency)
    assert window.weight.tolist() == [40, 40, 0]
    assert window.histograms is None


def test_latency_is_that_of_the_calls_whose_duration_is_known() -> None:
    window = window_of("http.server.request.duration", bucket_counts=False, timed_count=20)
    assert window.weight.tolist() == [60, 60, 20]
    assert window.value[2] == pytest.approx(0.15, rel=0.02)


def test_any_other_histogram_without_buckets_is_a_rate_alone() -> None:
    window = window_of("queue.wait", bucket_counts=False)
    assert {key.signal for key in window.keys} == {"queue.wait:rate"}
