"""Goal: requests are turned from JSON to protobuf, and halved, without loss.

Method: the same request in both encodings; halves joined give the whole, in order.
"""

from __future__ import annotations

import orjson
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.core.normalise.otlp_count import item_count_of
from sentinel.core.normalise.otlp_requests import halves, protobuf_of
from sentinel.errors import MalformedInputError
from tests.support.otlp_messages import as_json, span, traces


def names(body: bytes) -> list[str]:
    return [
        one.name
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for one in scope.spans
    ]


def request(count: int) -> ExportTraceServiceRequest:
    made = traces(*(span(name=f"s{number}", number=number + 1) for number in range(count)))
    made.MergeFrom(traces(span(name="other", number=99), service="cards"))
    return made


def test_json_becomes_the_same_protobuf() -> None:
    """Ids are hexadecimal in OTLP/JSON; protobuf's own JSON would read them as base64, to 24 wrong bytes."""
    made = request(3)
    made.resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    assert ExportTraceServiceRequest.FromString(protobuf_of("traces", as_json(made))) == made


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"resourceSpans":1}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}'],
)  # fmt: skip
def test_what_is_no_otlp_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedInputError):
        protobuf_of("traces", body)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_halves_joined_are_the_whole(count: int) -> None:
    made = request(count)
    first, second = halves("traces", made.SerializeToString(), is_json=False)
    assert names(first[0]) + names(second[0]) == names(made.SerializeToString())
    assert (len(names(first[0])), len(names(second[0]))) == (first[1], second[1])
    first, second = halves("traces", as_json(made), is_json=True)
    assert first[1] + second[1] == count + 1
    both = protobuf_of("traces", first[0]), protobuf_of("traces", second[0])
    assert names(both[0]) + names(both[1]) == names(made.SerializeToString())


def test_one_item_cannot_be_halved() -> None:
    made = traces(span())
    assert halves("traces", made.SerializeToString(), is_json=False) == ()
    assert halves("traces", as_json(made), is_json=True) == ()
    assert halves("metrics", b"", is_json=False) == ()
    assert halves("logs", orjson.dumps({}), is_json=True) == ()


@pytest.mark.parametrize("is_json", [True, False])
def test_what_is_no_otlp_cannot_be_halved(*, is_json: bool) -> None:
    with pytest.raises(MalformedInputError):
        halves("logs", b"\xff", is_json=is_json)


def test_everything_in_a_request_is_counted() -> None:
    """Spans that are no call are no samples, and were counted as nothing when they were handed on or dropped."""
    made = request(4)
    made.resource_spans[0].scope_spans[0].spans[0].kind = 1  # type: ignore[assignment]  # internal
    assert item_count_of("traces", made.SerializeToString(), is_json=False) == 5
    assert item_count_of("traces", as_json(made), is_json=True) == 5
    metrics = ExportMetricsServiceRequest()
    scope = metrics.resource_metrics.add().scope_metrics.add()
    for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        for _ in range(2):
            getattr(scope.metrics.add(name="m"), kind).data_points.add()
    assert item_count_of("metrics", metrics.SerializeToString(), is_json=False) == 10
    assert item_count_of("logs", b"\xff", is_json=False) == 0
    assert item_count_of("logs", b"{}", is_json=True) == 0
