"""Goal: points keep their numbers, time and identity; bad points go alone, under a reason.

Method: requests in OpenTelemetry's own messages, in both encodings, decoded and read back.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from sentinel.core.model import DistributionPoint, RejectReason, SampleBatch, Scope, Temporality
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.stats import log_linear
from tests.support.otlp_messages import NOW_NS, SECOND_NS, as_json, attribute, resource

START_NS = NOW_NS - 60 * SECOND_NS
DELTA, CUMULATIVE = 1, 2


def request(*metrics: Metric, service: str = "ledger") -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    made.resource_metrics.add(resource=resource(service)).scope_metrics.add().metrics.extend(
        metrics
    )
    return made


def decode(*metrics: Metric, is_json: bool = False) -> SampleBatch:
    made = request(*metrics)
    body = as_json(made) if is_json else made.SerializeToString()
    return OtlpDecoder().decode_metrics(body, now_ns=NOW_NS, is_json=is_json)


def number(value: float, **names: str) -> NumberDataPoint:
    return NumberDataPoint(
        as_double=value,
        time_unix_nano=NOW_NS,
        start_time_unix_nano=START_NS,
        attributes=[attribute(key, text) for key, text in names.items()],
    )


def gauge(*points: NumberDataPoint, name: str = "queue.depth") -> Metric:
    metric = Metric(name=name, unit="{message}")
    metric.gauge.data_points.extend(points)
    return metric


def total(
    *points: NumberDataPoint, temporality: int = CUMULATIVE, monotonic: bool = True
) -> Metric:
    metric = Metric(name="jobs")
    metric.sum.data_points.extend(points)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = monotonic
    return metric


def histogram(
    bounds: list[float],
    counts: list[int],
    *,
    name: str = "http.server.request.duration",
    unit: str = "s",
    count: int | None = None,
    **names: str,
) -> Metric:
    metric = Metric(name=name, unit=unit)
    metric.histogram.aggregation_temporality = CUMULATIVE  # type: ignore[assignment]
    metric.histogram.data_points.add(
        time_unix_nano=NOW_NS,
        start_time_unix_nano=START_NS,
        explicit_bounds=bounds,
        bucket_counts=counts,
        count=sum(counts) if count is None else count,
        sum=1.5,
        attributes=[attribute(key.replace("__", "."), text) for key, text in names.items()],
    )
    return metric


@pytest.mark.parametrize("is_json", [False, True])
def test_numbers_keep_value_time_and_place(*, is_json: bool) -> None:
    batch = decode(gauge(number(3.5, queue="a", zone="b")), is_json=is_json)
    (point,) = batch.numbers
    assert point.scope == Scope("ledger", "metrics", "queue=a,zone=b")
    assert (point.signal, point.value, point.time_ns) == ("queue.depth", 3.5, NOW_NS)
    assert point.temporality is Temporality.GAUGE


@pytest.mark.parametrize("is_json", [False, True])
def test_integers_may_be_as_large_as_they_are(*, is_json: bool) -> None:
    point = NumberDataPoint(as_int=-(2**53), time_unix_nano=NOW_NS)
    (decoded,) = decode(gauge(point), is_json=is_json).numbers
    assert decoded.value == -(2.0**53)


@pytest.mark.parametrize(
    ("temporality", "monotonic", "expected"),
    [
        (CUMULATIVE, True, Temporality.CUMULATIVE),
        (DELTA, True, Temporality.DELTA),
        (DELTA, False, Temporality.DELTA),
        (CUMULATIVE, False, Temporality.GAUGE),
    ],
)
def test_a_sum_that_may_fall_is_a_level(
    temporality: int, expected: Temporality, *, monotonic: bool
) -> None:
    (point,) = decode(total(number(1), temporality=temporality, monotonic=monotonic)).numbers
    assert point.temporality is expected


def test_bad_points_are_rejected_alone() -> None:
    no_time, ahead = number(1), number(1)
    no_time.time_unix_nano = 0
    ahead.time_unix_nano = NOW_NS + 301 * SECOND_NS
    backwards = number(1)
    backwards.start_time_unix_nano = NOW_NS + 1
    no_value = NumberDataPoint(time_unix_nano=NOW_NS)
    batch = decode(
        gauge(
            number(1), number(math.nan), number(math.inf), number(1e308), no_time, ahead,
            backwards, no_value,
        ),
        total(number(-1)),
        total(number(1), temporality=0),
    )  # fmt: skip
    assert len(batch.numbers) == 1
    assert batch.rejected == {
        RejectReason.NOT_FINITE: 3,
        RejectReason.NO_TIME: 1,
        RejectReason.FUTURE: 1,
        RejectReason.NEGATIVE: 2,
        RejectReason.NO_VALUE: 1,
        RejectReason.NO_TEMPORALITY: 1,
    }


def test_a_point_without_recorded_value_is_no_fault() -> None:
    stale = NumberDataPoint(time_unix_nano=NOW_NS, flags=1)
    batch = decode(gauge(stale))
    assert (batch.numbers, batch.rejected) == ((), {})


@pytest.mark.parametrize("is_json", [False, True])
def test_an_explicit_histogram_keeps_its_counts(*, is_json: bool) -> None:
    metric = histogram([0.1, 0.2], [5, 3, 1], http__route="/r", http__request__method="GET")
    (point,) = decode(metric, is_json=is_json).distributions
    assert point.scope == Scope("ledger", "edge", "GET /r")
    assert point.count.tolist() == [5, 3, 1]
    assert log_linear.midpoint_of(point.bucket) == pytest.approx([0.05, 0.15, 0.2], rel=1 / 64)
    assert (point.total, point.is_calls) == (1.5, True)


def place_of(name: str, unit: str = "s", **names: str) -> tuple[str, str, bool]:
    metric = histogram([0.1], [1, 0], name=name, unit=unit, count=None, **names)
    (point,) = decode(metric).distributions
    assert point.is_calls
    return point.scope.stage, point.scope.route, point.error


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("http.server.request.duration",
         {"http__route": "/r", "http__request__method": "GET", "http__response__status_code": "200"},
         ("edge", "GET /r", False)),
        ("http.server.request.duration",
         {"http__request__method": "GET", "http__response__status_code": "503"},
         ("edge", "GET", True)),
        ("http.server.request.duration",
         {"http__route": "/r", "error__type": "404", "http__response__status_code": "404"},
         ("edge", "/r", False)),
        ("http.server.request.duration", {"http__route": "/r", "error__type": "TimeoutError"},
         ("edge", "/r", True)),
        ("http.server.duration",
         {"http__route": "/r", "http__method": "GET", "http__status_code": "500"},
         ("edge", "GET /r", True)),
        ("http.client.request.duration",
         {"http__request__method": "GET", "server__address": "bank", "http__response__status_code": "404"},
         ("client", "GET bank", True)),
        ("rpc.server.duration",
         {"rpc__service": "pay.Api", "rpc__method": "Get", "rpc__grpc__status_code": "13"},
         ("edge", "pay.Api/Get", True)),
        ("rpc.server.duration",
         {"rpc__service": "pay.Api", "rpc__method": "Get", "rpc__grpc__status_code": "5"},
         ("edge", "pay.Api/Get", False)),
        ("rpc.client.duration",
         {"rpc__service": "pay.Api", "rpc__method": "Get", "rpc__grpc__status_code": "5"},
         ("client", "pay.Api/Get", True)),
        ("rpc.server.call.duration",
         {"rpc__method": "pay.Api/Get", "rpc__response__status_code": "UNAVAILABLE"},
         ("edge", "pay.Api/Get", True)),
        ("db.client.operation.duration",
         {"db__system__name": "postgresql", "db__operation__name": "INSERT",
          "db__collection__name": "posting"},
         ("database", "INSERT posting", False)),
        ("db.client.operation.duration", {"db__system": "redis", "error__type": "08006"},
         ("database", "redis", True)),
        ("messaging.process.duration",
         {"messaging__operation__name": "process", "messaging__destination__name": "transfers"},
         ("consumer", "process transfers", False)),
        ("messaging.client.operation.duration",
         {"messaging__operation__name": "poll", "messaging__operation__type": "receive",
          "messaging__destination__name": "transfers"},
         ("consumer", "poll transfers", False)),
        ("messaging.publish.duration",
         {"messaging__destination__name": "transfers", "error__type": "timeout"},
         ("queue", "publish transfers", True)),
    ],
)  # fmt: skip
def test_histograms_of_calls_are_where_the_spans_of_those_calls_are(
    name: str, names: dict[str, str], expected: tuple[str, str, bool]
) -> None:
    assert place_of(name, **names) == expected


def test_durations_are_seconds_whatever_their_unit() -> None:
    (point,) = decode(histogram([0.1], [1, 0], unit="ms")).distributions
    assert log_linear.midpoint_of(point.bucket) == pytest.approx([0.05e-3], rel=1 / 64)
    # The older conventions measured in milliseconds; some senders leave the unit out.
    (point,) = decode(
        histogram([100.0], [1, 0], name="http.server.duration", unit="")
    ).distributions
    assert log_linear.midpoint_of(point.bucket) == pytest.approx([0.05], rel=1 / 64)


def test_a_size_under_a_durations_name_is_no_call() -> None:
    (point,) = decode(histogram([100.0], [1, 0], unit="By", http__route="/r")).distributions
    assert (point.is_calls, point.scope.stage) == (False, "metrics")


@pytest.mark.parametrize(
    "metric",
    [
        histogram([0.1, 0.2], [1, 2]),
        histogram([0.2, 0.1], [1, 2, 3]),
        histogram([0.1, math.nan], [1, 2, 3]),
        histogram([0.1], [1, 2], count=4),
        histogram([0.1], [], count=4),
        histogram([0.1], []),
        histogram([], [3], count=4),
    ],
    ids=[
        "too_few_counts",
        "falling_bounds",
        "bound_not_finite",
        "wrong_sum",
        "no_counts",
        "no_counts_of_none",
        "wrong_sum_of_one",
    ],
)
def test_a_histogram_that_contradicts_itself_is_rejected(metric: Metric) -> None:
    assert decode(metric).rejected == {RejectReason.BAD_SHAPE: 1}


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("scale", [-2, 0, 3, 8])
def test_an_exponential_histogram_is_mapped_within_its_own_resolution(
    scale: int, *, is_json: bool
) -> None:
    values = np.array([0.004, 0.02, 0.02, 1.0, 7.5])
    index = np.ceil(np.log2(values) * 2.0**scale).astype(int) - 1
    offset = int(index.min())
    metric = Metric(name="work", unit="s")
    metric.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        time_unix_nano=NOW_NS, count=6, zero_count=1, scale=scale
    )
    point.positive.offset = offset
    point.positive.bucket_counts.extend(np.bincount(index - offset).tolist())
    (decoded,) = decode(metric, is_json=is_json).distributions
    assert int(decoded.count.sum()) == 6
    assert (decoded.bucket[0], decoded.count[0]) == (0, 1)
    mapped = np.repeat(log_linear.midpoint_of(decoded.bucket), decoded.count)[1:]
    half_bucket = 2.0 ** (0.5 * 2.0**-scale) * (1 + 1 / 32)
    assert np.all(mapped / values <= half_bucket)
    assert np.all(values / mapped <= half_bucket)


def test_a_new_scale_is_told_with_the_point() -> None:
    """Counts before and after a sender halved its resolution cannot be subtracted; doing so made up a spike."""

    def at_scale(scale: int) -> DistributionPoint:
        metric = Metric(name="work")
        metric.exponential_histogram.aggregation_temporality = CUMULATIVE  # type: ignore[assignment]
        metric.exponential_histogram.data_points.add(time_unix_nano=NOW_NS, scale=scale)
        return decode(metric).distributions[0]

    assert at_scale(3).stream == at_scale(2).stream
    assert (at_scale(3).resolution, at_scale(2).resolution) == (3, 2)


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
def test_an_interval_of_56_years_is_refused_where_it_would_be_a_rate(temporality: int) -> None:
    """A sender without a clock began in 1970; what it counted since then would be a rate of nothing."""
    metric = histogram([0.1], [1, 0])
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.histogram.data_points[0].start_time_unix_nano = 1
    counter = total(number(1), temporality=temporality)
    counter.sum.data_points[0].start_time_unix_nano = 1
    expected = {RejectReason.TOO_LONG: 2} if temporality == DELTA else {}
    assert decode(metric, counter).rejected == expected


def test_a_summary_is_refused_and_counted() -> None:
    metric = Metric(name="old")
    metric.summary.data_points.add(time_unix_nano=NOW_NS, count=1)
    assert decode(metric).rejected == {RejectReason.UNSUPPORTED: 1}


def test_the_order_of_attributes_is_not_identity() -> None:
    (one,) = decode(gauge(number(1, a="1", b="2"))).numbers
    (other,) = decode(gauge(number(1, b="2", a="1"))).numbers
    (different,) = decode(gauge(number(1, a="2", b="1"))).numbers
    assert one.stream == other.stream
    assert one.stream != different.stream
