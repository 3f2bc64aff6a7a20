"""Goal: a record of a structured access log is the call it tells of; any other record is none.

Method: records in OpenTelemetry's own messages, in both encodings, with attributes as access logs have them.
"""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.model import LoggedCall, SampleBatch, Scope
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.stats import log_linear
from tests.support.otlp_messages import NOW_NS, Value, as_json, attribute, resource

STABLE: dict[str, Value] = {
    "http.request.method": "POST",
    "http.route": "/v1/transfers",
    "http.response.status_code": 202,
}


def decode(*records: dict[str, Value], is_json: bool = False) -> SampleBatch:
    request = ExportLogsServiceRequest()
    lines = request.resource_logs.add(resource=resource("ledger")).scope_logs.add().log_records
    for names in records:
        lines.add(
            time_unix_nano=NOW_NS,
            severity_number=9,
            attributes=[attribute(name, value) for name, value in names.items()],
        )
    body = as_json(request) if is_json else request.SerializeToString()
    return OtlpDecoder().decode_logs(body, now_ns=NOW_NS, is_json=is_json)


def call_of(names: dict[str, Value], *, is_json: bool = False) -> LoggedCall | None:
    (record,) = decode(names, is_json=is_json).logs
    return record.call


def bucket(duration_s: float) -> int:
    return int(log_linear.bucket_of([duration_s])[0])


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize(
    ("names", "error"),
    [
        (STABLE, False),
        ({"http.method": "POST", "http.route": "/v1/transfers", "http.status_code": 500}, True),
        ({"http.request.method": "POST", "http.route": "/v1/transfers", "status": "503"}, True),
        ({"http.request.method": "POST", "http.route": "/v1/transfers", "status": 404.0}, False),
    ],
    ids=["stable", "older", "text", "double"],
)
def test_an_access_log_is_a_call_where_its_span_would_be(
    names: dict[str, Value], *, error: bool, is_json: bool
) -> None:
    call = call_of(names, is_json=is_json)
    assert call is not None
    assert call.scope == Scope("ledger", "edge", "POST /v1/transfers")
    assert (call.error, call.bucket) == (error, log_linear.UNTIMED)


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("http.server.request.duration", 0.25, 0.25),
        ("duration_s", 0.25, 0.25),
        ("duration", "0.25", 0.25),
        ("request_time", 2, 2.0),
        ("http.server.duration", 250.0, 0.25),
        ("duration_ms", 250, 0.25),
        ("latency_ms", "250", 0.25),
    ],
)
def test_durations_have_the_unit_that_their_name_says(
    name: str, value: Value, seconds: float
) -> None:
    call = call_of({**STABLE, name: value})
    assert call is not None
    assert call.bucket == bucket(seconds)


@pytest.mark.parametrize("value", ["12ms", "-1", -1.0, 1e9, "1_0", "nan", "", True])
def test_a_duration_that_cannot_be_is_not_known(value: Value) -> None:
    call = call_of({**STABLE, "duration": value})
    assert call is not None
    assert call.bucket == log_linear.UNTIMED


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"http.request.method": "GET", "http.route": "/r"},
        {"http.route": "/r", "http.response.status_code": 200},
        {**STABLE, "http.response.status_code": "accepted"},
        {**STABLE, "http.response.status_code": 20},
        {**STABLE, "http.response.status_code": 200.5},
        {**STABLE, "url.full": "http://elsewhere/v1"},
    ],
    ids=["empty", "no_code", "no_method", "word", "too_small", "fraction", "client"],
)
def test_any_other_record_is_no_call(names: dict[str, Value]) -> None:
    batch = decode(names)
    assert batch.sample_count == 1
    assert batch.logs[0].call is None


def test_a_path_as_it_was_requested_is_no_route() -> None:
    names: dict[str, Value] = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": "/u/4211",
    }
    call = call_of(names)
    assert call is not None
    assert call.scope.route == "GET"


def test_calls_of_one_instant_are_not_taken_for_a_batch_sent_again() -> None:
    """An access log's records may have no body: two batches of one millisecond would look the same."""
    prints = {
        decode({**STABLE, "duration_ms": milliseconds}).fingerprint for milliseconds in (1, 2)
    }
    assert len(prints) == 2
