"""Goal: what is written as OTLP logs is what others read. Method: decoded with OpenTelemetry's own messages."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.normalise.otlp_decoder import OtlpDecoder
from sentinel.core.normalise.otlp_logs_encode import encode_logs_request, encode_record

NOW_NS = 1_790_000_000 * 10**9


def test_a_record_is_read_by_others_as_it_was_written() -> None:
    record = encode_record(
        time_ns=NOW_NS,
        observed_ns=NOW_NS + 5,
        severity=17,
        body="x" * 300 + "é",
        attributes={"text": "ü", "whole": -7, "large": 2**62, "part": 0.25, "yes": True},
        event="kong.request",
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
    )
    body = encode_logs_request([record, record], resource={"service.name": "kong"}, scope_name="s")

    read = ExportLogsServiceRequest.FromString(body)
    (resource_logs,) = read.resource_logs
    assert [(each.key, each.value.string_value) for each in resource_logs.resource.attributes] == [
        ("service.name", "kong")
    ]
    (scope_logs,) = resource_logs.scope_logs
    assert scope_logs.scope.name == "s"
    first, second = scope_logs.log_records
    assert first == second
    assert (first.time_unix_nano, first.observed_time_unix_nano) == (NOW_NS, NOW_NS + 5)
    assert (first.severity_number, first.severity_text) == (17, "ERROR")
    assert first.body.string_value == "x" * 300 + "é"
    assert first.event_name == "kong.request"
    assert (first.trace_id, first.span_id) == (bytes(range(16)), bytes(range(8)))
    values = {each.key: each.value for each in first.attributes}
    assert values["text"].string_value == "ü"
    assert values["whole"].int_value == -7
    assert values["large"].int_value == 2**62
    assert values["part"].double_value == 0.25
    assert values["yes"].bool_value is True


def test_it_is_read_back_by_the_receiver_of_logs() -> None:
    record = encode_record(time_ns=NOW_NS, severity=13, body="slow", event="kong.request")
    body = encode_logs_request([record], resource={"service.name": "kong"})
    batch = OtlpDecoder().decode("logs", "application/x-protobuf", body, now_ns=NOW_NS)
    (read,) = batch.logs
    assert (read.service, read.severity, read.event, read.body) == (
        "kong",
        13,
        "kong.request",
        "slow",
    )


def test_what_is_not_known_is_left_out_and_what_is_odd_costs_nothing_else() -> None:
    record = encode_record(
        time_ns=0,
        severity=0,
        body="half \ud800",
        attributes={"immense": 2**70},
        trace_id=b"short",
    )
    read = ExportLogsServiceRequest.FromString(encode_logs_request([record], resource={}))
    (written,) = read.resource_logs[0].scope_logs[0].log_records
    assert (written.time_unix_nano, written.severity_number, written.trace_id) == (0, 0, b"")
    assert written.body.string_value == "half ?"
    assert written.attributes[0].value.double_value == 2.0**70
