"""Goal: no bytes, whoever sends them, make a decoder raise anything but its two errors, and what it keeps is sound.

Method: hypothesis makes random bytes, honest bodies with bytes changed, cut or doubled, and random JSON in OTLP's shape.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sentinel.core.model import SampleBatch
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.errors import InputTooLargeError, MalformedInputError
from tests.support.otlp_messages import (
    NOW_NS,
    OtlpRequest,
    as_json,
    attribute,
    resource,
    span,
    traces,
)

SIGNALS = ("traces", "metrics", "logs")
PROTOBUF, JSON = "application/x-protobuf", "application/json"
DECODER = OtlpDecoder()


def honest_metrics() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add(resource=resource("ledger")).scope_metrics.add()
    scope.metrics.add(name="g").gauge.data_points.add(time_unix_nano=NOW_NS, as_int=1)
    total = scope.metrics.add(name="s").sum
    total.aggregation_temporality = 2  # type: ignore[assignment]
    total.data_points.add(time_unix_nano=NOW_NS, as_double=1.5)
    histogram = scope.metrics.add(name="h").histogram
    histogram.aggregation_temporality = 1  # type: ignore[assignment]
    histogram.data_points.add(
        time_unix_nano=NOW_NS, count=3, bucket_counts=[1, 2], explicit_bounds=[0.5]
    )
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = 2  # type: ignore[assignment]
    point = exponential.data_points.add(time_unix_nano=NOW_NS, count=2, scale=3)
    point.positive.bucket_counts.extend([1, 1])
    return request


def honest_logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add(resource=resource("ledger")).scope_logs.add().log_records
    record = records.add(time_unix_nano=NOW_NS, severity_number=17)
    record.body.kvlist_value.values.append(attribute("step", "commit"))
    return request


HONEST: dict[str, OtlpRequest] = {
    "traces": traces(span(http__route="/r", error=True), span(number=2, kind=3, db__system="x")),
    "metrics": honest_metrics(),
    "logs": honest_logs(),
}


def check(signal: str, encoding: str, body: bytes) -> None:
    try:
        batch = DECODER.decode(signal, encoding, body, now_ns=NOW_NS)
    except (MalformedInputError, InputTooLargeError) as error:
        assert str(error)  # noqa: PT017 - it must say what is wrong
        return
    check_sound(batch)


def check_sound(batch: SampleBatch) -> None:
    """What was kept is finite, in bounds, and can be reduced."""
    batch = batch.in_columns(now_ns=NOW_NS)
    if batch.calls is not None:
        assert np.isfinite(batch.calls.duration_s).all()
        assert (batch.calls.duration_s >= 0).all()
        assert batch.calls.scope_index.max() < len(batch.calls.scopes)
    assert all(np.isfinite(point.value) for point in batch.numbers)
    assert all((point.count > 0).all() for point in batch.distributions)
    aggregator = Aggregator(SeriesSettings(), start_ns=NOW_NS - 100 * 10**9)
    aggregator.add(batch, NOW_NS)
    for window in aggregator.close(NOW_NS + 20 * 10**9).windows:
        assert not np.isinf(window.value).any()


@pytest.mark.parametrize("encoding", [PROTOBUF, JSON])
@pytest.mark.parametrize("signal", SIGNALS)
@given(body=st.binary(max_size=300))
def test_random_bytes(signal: str, encoding: str, body: bytes) -> None:
    check(signal, encoding, body)


@pytest.mark.parametrize("encoding", [PROTOBUF, JSON])
@pytest.mark.parametrize("signal", SIGNALS)
@given(data=st.data())
def test_honest_bodies_with_faults(signal: str, encoding: str, data: st.DataObject) -> None:
    request = HONEST[signal]
    body = bytearray(request.SerializeToString() if encoding == PROTOBUF else as_json(request))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(body) - 1, 0)))
        match data.draw(st.sampled_from(("change", "cut", "double", "insert"))):
            case "change" if body:
                body[place] = data.draw(st.integers(0, 255))
            case "cut":
                del body[place : place + data.draw(st.integers(1, 20))]
            case "double":
                body[place:place] = body[place : place + data.draw(st.integers(1, 40))]
            case _:
                body[place:place] = data.draw(st.binary(max_size=6))
    check(signal, encoding, bytes(body))


KEYS = [
    "resourceSpans",
    "resourceMetrics",
    "resourceLogs",
    "resource",
    "attributes",
    "scopeSpans",
    "scopeMetrics",
    "scopeLogs",
    "spans",
    "metrics",
    "logRecords",
    "key",
    "value",
    "stringValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "values",
    "traceId",
    "spanId",
    "name",
    "kind",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "timeUnixNano",
    "status",
    "code",
    "gauge",
    "sum",
    "histogram",
    "exponentialHistogram",
    "summary",
    "dataPoints",
    "asInt",
    "asDouble",
    "count",
    "bucketCounts",
    "explicitBounds",
    "scale",
    "offset",
    "positive",
    "aggregationTemporality",
    "body",
    "severityNumber",
    "eventName",
    "flags",
]
leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.integers().map(str), st.sampled_from(("NaN", "2", str(NOW_NS))),
)  # fmt: skip
tree = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("signal", SIGNALS)
@given(value=tree)
def test_json_of_the_right_words_in_any_shape(signal: str, value: object) -> None:
    check(signal, JSON, json.dumps(value).encode())
