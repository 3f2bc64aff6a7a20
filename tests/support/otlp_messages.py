"""Requests in OpenTelemetry's own messages, which nobody here wrote."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SECOND_NS = 10**9
NOW_NS = 1_790_000_000 * SECOND_NS

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = 2, 3, 4, 5, 1

Value = str | int | float | bool
OtlpRequest = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest


def attribute(key: str, value: Value) -> KeyValue:
    """A key-value of the type that fits the value."""
    pair = KeyValue(key=key)
    if isinstance(value, bool):
        pair.value.bool_value = value
    elif isinstance(value, int):
        pair.value.int_value = value
    elif isinstance(value, float):
        pair.value.double_value = value
    else:
        pair.value.string_value = value
    return pair


def resource(service: str) -> Resource:
    """A resource that names a service."""
    return Resource(
        attributes=[attribute("service.name", service), attribute("host.name", "node-1")]
    )


def span(
    name: str = "GET /v1/transfers",
    *,
    kind: int = SERVER,
    number: int = 1,
    end_ns: int = NOW_NS - SECOND_NS,
    duration_s: float = 0.1,
    error: bool = False,
    **attributes: Value,
) -> Span:
    """A span; attribute names are given with `__` for a dot."""
    made = Span(
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        name=name,
        kind=kind,  # type: ignore[arg-type]  # a plain number is what arrives on the wire
        start_time_unix_nano=end_ns - round(duration_s * SECOND_NS),
        end_time_unix_nano=end_ns,
        attributes=[attribute(key.replace("__", "."), value) for key, value in attributes.items()],
    )
    if error:
        made.status.code = 2  # type: ignore[assignment]
    return made


def traces(*spans: Span, service: str = "ledger") -> ExportTraceServiceRequest:
    """One request of one service."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add(resource=resource(service)).scope_spans.add().spans.extend(spans)
    return request


def as_json(request: OtlpRequest) -> bytes:
    """The request as OTLP writes JSON: integer enumerations, hexadecimal ids."""
    document = MessageToDict(request, use_integers_for_enums=True)
    _hex_ids(document)
    return json.dumps(document).encode()


def _hex_ids(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("traceId", "spanId", "parentSpanId") and isinstance(inner, str):
                value[key] = base64.b64decode(inner).hex()
            else:
                _hex_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            _hex_ids(inner)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes on the wire, for what the official messages refuse to hold."""
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes((number << 3 | 2,)) + bytes(size) + content


def nested_value(depth: int) -> bytes:
    """An encoded AnyValue: a text in a list in a list, `depth` lists deep."""
    value = field(1, b"deep")
    for _ in range(depth):
        value = field(5, field(1, value))
    return value
