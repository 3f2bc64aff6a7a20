"""OTLP requests in one piece or several: JSON to protobuf, and in halves. Whole messages, nothing left out.

Not imported with the package, because it brings OTLP's own messages, which only forwarding needs.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.errors import MalformedInputError

# By signal: the message, its groups by resource, the groups by scope in those, the items in these; as protobuf and JSON.
_SHAPES: dict[str, tuple[Any, tuple[str, str, str], tuple[str, str, str]]] = {
    "traces": (
        ExportTraceServiceRequest,
        ("resource_spans", "scope_spans", "spans"),
        ("resourceSpans", "scopeSpans", "spans"),
    ),
    "metrics": (
        ExportMetricsServiceRequest,
        ("resource_metrics", "scope_metrics", "metrics"),
        ("resourceMetrics", "scopeMetrics", "metrics"),
    ),
    "logs": (
        ExportLogsServiceRequest,
        ("resource_logs", "scope_logs", "log_records"),
        ("resourceLogs", "scopeLogs", "logRecords"),
    ),
}
_HEX_IDS = frozenset(("traceId", "spanId", "parentSpanId"))


def protobuf_of(signal: str, body: bytes) -> bytes:
    """A JSON request as protobuf; `signal` is traces, metrics or logs.

    Raises:
        MalformedInputError: it is no OTLP/JSON.
    """
    try:
        value = orjson.loads(body)
        if type(value) is not dict:
            raise TypeError  # noqa: TRY301  # told below, as everything that does not fit
        _ids_to_base64(value)
        request = ParseDict(value, _SHAPES[signal][0](), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        msg = "the body is not valid OTLP/JSON"
        raise MalformedInputError(msg) from error
    return bytes(request.SerializeToString())


def halves(signal: str, body: bytes, *, is_json: bool) -> tuple[tuple[bytes, int], ...]:
    """The request in two, each with its number of items (metrics count as one each); () when it has only one item.

    Raises:
        MalformedInputError: it is no OTLP.
    """
    return _json_halves(signal, body) if is_json else _protobuf_halves(signal, body)


def _protobuf_halves(signal: str, body: bytes) -> tuple[tuple[bytes, int], ...]:
    kind, (groups, scopes, items), _ = _SHAPES[signal]

    def half(keep: Callable[[int], bool]) -> tuple[bytes, int]:
        try:
            request = kind.FromString(body)
        except DecodeError as error:
            msg = "the body is not a valid OTLP request"
            raise MalformedInputError(msg) from error
        at = count = 0
        for group in getattr(request, groups):
            for scope in getattr(group, scopes):
                found = getattr(scope, items)
                kept = [one for number, one in enumerate(found, at) if keep(number)]
                at += len(found)
                count += len(kept)
                if len(kept) < len(found):
                    copies = [type(one).FromString(one.SerializeToString()) for one in kept]
                    del found[:]
                    found.extend(copies)
        return bytes(request.SerializeToString()), count

    total = half(lambda _: True)[1]
    if total < 2:
        return ()
    middle = total // 2
    return half(lambda number: number < middle), half(lambda number: number >= middle)


def _json_halves(signal: str, body: bytes) -> tuple[tuple[bytes, int], ...]:
    _, _, (groups, scopes, items) = _SHAPES[signal]

    def half(keep: Callable[[int], bool]) -> tuple[bytes, int]:
        try:
            value = orjson.loads(body)
            at = count = 0
            for group in value.get(groups, ()):
                for scope in group.get(scopes, ()):
                    found = scope.get(items, [])
                    scope[items] = [one for number, one in enumerate(found, at) if keep(number)]
                    at += len(found)
                    count += len(scope[items])
        except (ValueError, TypeError, AttributeError) as error:
            msg = "the body is not valid OTLP/JSON"
            raise MalformedInputError(msg) from error
        return orjson.dumps(value), count

    total = half(lambda _: True)[1]
    if total < 2:
        return ()
    middle = total // 2
    return half(lambda number: number < middle), half(lambda number: number >= middle)


def _ids_to_base64(value: Any) -> None:  # noqa: ANN401, RUF100
    """Ids are hexadecimal in OTLP/JSON, and base64 in protobuf's."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is list:
            waiting.extend(one)
        elif type(one) is dict:
            for name, inside in one.items():
                if name in _HEX_IDS and isinstance(inside, str):
                    one[name] = _base64_of(inside)
                elif type(inside) in (list, dict):
                    waiting.append(inside)


def _base64_of(text: str) -> str:
    return b64encode(bytes.fromhex(text)).decode()
