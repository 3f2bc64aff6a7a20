"""Goal: no text of an OTLP request keeps a secret, in protobuf and in JSON, and nothing else of it is touched.

Method: requests whose every text field, found by reflection, holds a canary; requests with none, which come back as the same
bytes; fields that no descriptor knows.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from sentinel.core.normalise.otlp_rewrite import OtlpRewriter
from sentinel.core.redact import Redactor
from sentinel.core.redact.otlp import OtlpRedactor
from sentinel.errors import MalformedInputError
from tests.support.canaries import SHAPED
from tests.support.otlp_messages import as_json, field, span, traces

CARD = SHAPED["visa"]
REDACTOR = OtlpRedactor(Redactor())
REWRITE = SimpleNamespace(
    logs=OtlpRewriter(REDACTOR, keep_unknown=False).logs,
    traces=OtlpRewriter(REDACTOR, keep_unknown=True).traces,
    metrics=REDACTOR.metrics,
    json=REDACTOR.json,
)
REQUESTS: dict[str, Any] = {
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


def filled(
    message: Message, text: str, *, depth: int = 0, only: int = 0, number: int = int(CARD)
) -> Message:
    """The message with every text field set, every repeated one with two entries, alternatives one after the other."""
    fields: Any = message.DESCRIPTOR.fields
    for at, one in enumerate(fields):
        if one.containing_oneof is not None and at % len(one.containing_oneof.fields) != only % len(one.containing_oneof.fields):  # fmt: skip
            continue
        if depth > 12 or "strindex" in one.name:
            continue
        if one.type == FieldDescriptor.TYPE_STRING:
            value: Any = f"x {text} y"
            if one.is_repeated:
                getattr(message, one.name).append(value)
            else:
                setattr(message, one.name, value)
        elif one.type == FieldDescriptor.TYPE_BYTES and message.DESCRIPTOR.name == "AnyValue":
            message.bytes_value = text.encode()  # type: ignore[attr-defined]
        elif one.type == FieldDescriptor.TYPE_MESSAGE:
            if one.is_repeated:
                for turn in range(2):
                    filled(
                        getattr(message, one.name).add(),
                        text,
                        depth=depth + 1,
                        only=only + turn,
                        number=number,
                    )
            else:
                filled(getattr(message, one.name), text, depth=depth + 1, only=only, number=number)
        elif message.DESCRIPTOR.name == "AnyValue" and one.name == "int_value":
            message.int_value = number  # type: ignore[attr-defined]
        elif message.DESCRIPTOR.name == "AnyValue" and one.name == "double_value":
            message.double_value = float(number)  # type: ignore[attr-defined]
    return message


@pytest.mark.parametrize("signal", REQUESTS)
@pytest.mark.parametrize("only", range(7))
def test_no_text_field_keeps_a_secret(signal: str, only: int) -> None:
    for text in (CARD, SHAPED["mail"], SHAPED["jwt"]):
        request = filled(REQUESTS[signal](), text, only=only)
        body = request.SerializeToString()
        assert body.count(text.encode()) > 5
        hidden = getattr(REWRITE, signal)(body)
        assert text.encode() not in hidden
        assert CARD not in str(REQUESTS[signal].FromString(hidden))
        as_text = REWRITE.json(as_json(request))  # type: ignore[arg-type]
        assert text not in as_text.decode()
        assert CARD not in as_text.decode()


@pytest.mark.parametrize("signal", REQUESTS)
def test_a_request_without_secrets_is_what_it_was(signal: str) -> None:
    for only in range(7):
        request = filled(REQUESTS[signal](), "plain", only=only, number=7)
        body = request.SerializeToString()
        assert getattr(REWRITE, signal)(body) == body
        text = as_json(request)  # type: ignore[arg-type]
        assert REWRITE.json(text) == text


def test_fields_that_are_not_known_stay_in_traces_and_go_from_logs() -> None:
    """A log is written to disk: what nothing here can read cannot be vouched for."""
    unknown = field(15, CARD.encode())
    request = traces(span(note=CARD))
    request.MergeFromString(unknown)
    hidden = REWRITE.traces(request.SerializeToString())
    assert unknown in hidden
    assert hidden.count(CARD.encode()) == 1
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(severity_number=9)
    record = logs.resource_logs[0].scope_logs[0].log_records[0]
    record.MergeFromString(unknown)
    assert CARD.encode() not in REWRITE.logs(logs.SerializeToString())
    assert b"spanId" in REWRITE.json(b'{"new":{"spanId":"4111111111111111"}}')
    assert CARD.encode() not in REWRITE.json(b'{"new":[{"field":"4111111111111111"}]}')


def test_one_text_that_is_not_utf8_costs_neither_the_batch_nor_the_secret() -> None:
    pair = field(1, b"note") + field(2, field(1, b"\xff" + CARD.encode()))
    for number, keep in ((9, True), (6, False)):
        item = field(number, pair) + field(5, b"\xff" + CARD.encode())
        body = field(1, field(2, field(2, item)))
        rewriter = OtlpRewriter(REDACTOR, keep_unknown=keep)
        hidden = rewriter.traces(body) if keep else rewriter.logs(body)
        assert CARD.encode() not in hidden
        assert b"[REDACTION-ERROR]" in hidden


def test_ids_times_and_numbers_of_metrics_stay() -> None:
    body = orjson.dumps(
        {
            "traceId": "41111111111111114111111111111111",
            "spanId": "4111111111111111",
            "startTimeUnixNano": "4111111111111111",
            "dataPoints": [{"asInt": CARD, "count": CARD, "bucketCounts": [CARD, int(CARD)]}],
            "attributes": [
                {"key": "amount_minor", "value": {"intValue": CARD}},
                {"key": "trace_id", "value": {"stringValue": CARD}},
                {"key": "flag", "value": {"boolValue": True}},
                {"key": "password", "value": {"boolValue": True}},
                {"key": "password", "value": {"stringValue": ""}},
            ],
        }
    )
    assert REWRITE.json(body) is body


def test_named_attributes_go_whatever_they_hold() -> None:
    pairs = [
        {"key": "user.password", "value": value}
        for value in (
            {"stringValue": "hunter2"},
            {"intValue": "7"},
            {"doubleValue": 1.5},
            {"bytesValue": "aHVudGVyMg=="},
            {"arrayValue": {"values": [{"stringValue": "hunter2"}]}},
            {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "hunter2"}}]}},
        )
    ]
    hidden = orjson.loads(REWRITE.json(orjson.dumps({"attributes": pairs})))
    assert [pair["value"] for pair in hidden["attributes"]] == [{"stringValue": "[SECRET]"}] * 6
    request = traces(span())
    parsed = request.resource_spans[0].scope_spans[0].spans[0]
    for value in (AnyValue(int_value=7), AnyValue(bytes_value=b"x"), AnyValue(string_value="x")):
        parsed.attributes.append(KeyValue(key="user.password", value=value))
    found = MessageToDict(ExportTraceServiceRequest.FromString(REWRITE.traces(request.SerializeToString())))  # fmt: skip
    shown = found["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    assert [pair["value"] for pair in shown] == [{"stringValue": "[SECRET]"}] * 3


def test_what_is_nested_too_deeply_is_given_up() -> None:
    value = AnyValue(string_value=CARD)
    for _ in range(40):
        outer = AnyValue()
        outer.array_value.values.append(value)
        value = outer
    request = traces(span())
    request.resource_spans[0].scope_spans[0].spans[0].attributes.append(
        KeyValue(key="deep", value=value)
    )
    assert b"[TOO-DEEP]" in REWRITE.traces(request.SerializeToString())
    deep = b'{"a":' * 200 + b'"' + CARD.encode() + b'"' + b"}" * 200
    assert CARD.encode() not in REWRITE.json(deep)


@pytest.mark.parametrize("signal", [*REQUESTS, "json"])
def test_what_is_no_otlp_is_malformed(signal: str) -> None:
    with pytest.raises(MalformedInputError):
        getattr(REWRITE, signal)(b"\xff\xff")
