"""OTLP's JSON, mapped by hand to the messages of `otlp_schema`, so that one set of rules serves both encodings.

OTLP's mapping is not protobuf's own: ids are hexadecimal, enumerations are integers only, keys are lowerCamelCase
only, 64-bit integers come as text or as numbers, and unknown keys are passed over.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from sentinel.core.normalise.otlp_schema import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
    LogsRequest,
    MetricsRequest,
    Resource,
    Status,
    TracesRequest,
)
from sentinel.core.normalise.span_rules import ATTRIBUTES
from sentinel.core.normalise.strict_json import parse_strictly
from sentinel.errors import MalformedInputError

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DOUBLE = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def traces_message(body: bytes) -> Any:  # noqa: ANN401, RUF100
    """The traces request that a JSON body says.

    Raises:
        MalformedInputError: it is not JSON, or not as OTLP writes it.
    """
    return _message(
        TracesRequest(), body, {"resourceSpans": _each("resource_spans", _RESOURCE_SPANS)}
    )


def metrics_message(body: bytes) -> Any:  # noqa: ANN401, RUF100
    """The metrics request that a JSON body says; raises as `traces_message` does."""
    return _message(
        MetricsRequest(), body, {"resourceMetrics": _each("resource_metrics", _RESOURCE_METRICS)}
    )


def logs_message(body: bytes) -> Any:  # noqa: ANN401, RUF100
    """The logs request that a JSON body says; raises as `traces_message` does."""
    return _message(LogsRequest(), body, {"resourceLogs": _each("resource_logs", _RESOURCE_LOGS)})


# A rule sets one field of a message from a JSON value; a table of rules by key makes a message.
_Rule = Callable[[Any, Any], None]
_Table = Mapping[str, _Rule]


def _message(message: Any, body: bytes, table: _Table) -> Any:  # noqa: ANN401, RUF100
    value = parse_strictly(body)
    try:
        _fill(message, value, table)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        msg = f"the body is not OTLP: {error}"
        raise MalformedInputError(msg) from error
    return message


def _fill(message: Any, value: object, table: _Table) -> None:  # noqa: ANN401, RUF100
    if not isinstance(value, dict):
        msg = f"an object was expected, not {_kind(value)}"
        raise TypeError(msg)
    for key, given in value.items():
        rule = table.get(key)
        if rule is not None and given is not None:
            rule(message, given)


def _scalar(field: str, convert: Callable[[Any], Any]) -> _Rule:
    def rule(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
        setattr(message, field, convert(given))

    return rule


def _many(field: str, convert: Callable[[Any], Any]) -> _Rule:
    def rule(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
        getattr(message, field).extend([convert(item) for item in _list(given)])

    return rule


def _one(field: str, table: _Table) -> _Rule:
    def rule(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
        part = getattr(message, field)
        part.SetInParent()
        _fill(part, given, table)

    return rule


def _each(field: str, table: _Table) -> _Rule:
    def rule(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
        parts = getattr(message, field)
        for item in _list(given):
            _fill(parts.add(), item, table)

    return rule


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        msg = f"a list was expected, not {_kind(value)}"
        raise TypeError(msg)
    return value


def _text(value: object) -> bytes:
    if not isinstance(value, str):
        msg = f"text was expected, not {_kind(value)}"
        raise TypeError(msg)
    return value.encode()


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"true or false was expected, not {_kind(value)}"
        raise TypeError(msg)
    return value


def _small(value: object) -> int:
    """A 32-bit integer or an enumeration: a number, never text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"a whole number was expected, not {_kind(value)}"
        raise TypeError(msg)
    return value


def _large(value: object) -> int:
    """A 64-bit integer: a number, or its digits as text."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            msg = "a whole number was expected in the text"
            raise ValueError(msg)
        return int(value)
    return _small(value)


def _double(value: object) -> float:
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        if not _DOUBLE.fullmatch(value):
            msg = "a number was expected in the text"
            raise ValueError(msg)
        return float(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        msg = f"a number was expected, not {_kind(value)}"
        raise TypeError(msg)
    return float(value)


def _hex(value: object) -> bytes:
    """An id; one that is not hexadecimal becomes empty, and its sample alone is rejected."""
    text = _text(value)
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        return b""


def _any_value(value: object) -> bytes:
    """An encoded AnyValue."""
    encoded: bytes = _any_message(value).SerializeToString()
    return encoded


def _any_message(value: object) -> Any:  # noqa: ANN401, RUF100
    message = AnyValue()
    _fill(message, value, _ANY_VALUE)
    return message


def _array(value: object) -> bytes:
    values = value.get("values") if isinstance(value, dict) else None
    array = ArrayValue(values=[_any_value(item) for item in _list(values or [])])
    encoded: bytes = array.SerializeToString()
    return encoded


def _key_value_list(value: object) -> bytes:
    values = value.get("values") if isinstance(value, dict) else None
    pairs = KeyValueList(values=[_key_value_message(item) for item in _list(values or [])])
    encoded: bytes = pairs.SerializeToString()
    return encoded


def _base64(value: object) -> bytes:
    return base64.b64decode(_text(value), validate=True)


def _key_value_message(value: object) -> Any:  # noqa: ANN401, RUF100
    message = KeyValue()
    _fill(message, value, _KEY_VALUE)
    return message


def _key_value(value: object) -> bytes:
    encoded: bytes = _key_value_message(value).SerializeToString()
    return encoded


def _deciding_attributes(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
    """A span's attributes, those only that a rule reads."""
    message.attributes.extend(
        [
            _key_value(item)
            for item in _list(given)
            if not isinstance(item, dict) or item.get("key") in ATTRIBUTES
        ]
    )


def _resource(value: object) -> bytes:
    resource = Resource()
    _fill(resource, value, _RESOURCE)
    encoded: bytes = resource.SerializeToString()
    return encoded


def _scope(value: object) -> bytes:
    """A scope is only an identity; its text, with sorted keys, is as good as its encoding."""
    return json.dumps(value, sort_keys=True).encode()


def _status(value: object) -> bytes:
    status = Status()
    _fill(status, value, {"code": _scalar("code", _small)})
    encoded: bytes = status.SerializeToString()
    return encoded


_ANY_VALUE: _Table = {
    "stringValue": _scalar("string_value", _text),
    "boolValue": _scalar("bool_value", _flag),
    "intValue": _scalar("int_value", _large),
    "doubleValue": _scalar("double_value", _double),
    "arrayValue": _scalar("array_value", _array),
    "kvlistValue": _scalar("kvlist_value", _key_value_list),
    "bytesValue": _scalar("bytes_value", _base64),
}
_KEY_VALUE: _Table = {"key": _scalar("key", _text), "value": _scalar("value", _any_value)}


def _typed_attributes(message: Any, given: Any) -> None:  # noqa: ANN401, RUF100
    message.attributes.extend([_key_value_message(item) for item in _list(given)])


_RESOURCE: _Table = {"attributes": _typed_attributes}
_ATTRIBUTES = _many("attributes", _key_value)

_SPAN: _Table = {
    "traceId": _scalar("trace_id", _hex),
    "spanId": _scalar("span_id", _hex),
    "name": _scalar("name", _text),
    "kind": _scalar("kind", _small),
    "startTimeUnixNano": _scalar("start_ns", _large),
    "endTimeUnixNano": _scalar("end_ns", _large),
    "attributes": _deciding_attributes,
    "status": _scalar("status", _status),
}
_RESOURCE_SPANS: _Table = {
    "resource": _scalar("resource", _resource),
    "scopeSpans": _each("scope_spans", {"spans": _each("spans", _SPAN)}),
}

_POINT: _Table = {
    "startTimeUnixNano": _scalar("start_ns", _large),
    "timeUnixNano": _scalar("time_ns", _large),
    "attributes": _ATTRIBUTES,
    "flags": _scalar("flags", _small),
}
_NUMBER_POINT: _Table = {
    **_POINT,
    "asDouble": _scalar("as_double", _double),
    "asInt": _scalar("as_int", _large),
}
_HISTOGRAM_POINT: _Table = {
    **_POINT,
    "count": _scalar("count", _large),
    "sum": _scalar("sum", _double),
    "bucketCounts": _many("bucket_counts", _large),
    "explicitBounds": _many("explicit_bounds", _double),
}
_BUCKETS: _Table = {
    "offset": _scalar("offset", _small),
    "bucketCounts": _many("bucket_counts", _large),
}
_EXPONENTIAL_POINT: _Table = {
    **_POINT,
    "count": _scalar("count", _large),
    "sum": _scalar("sum", _double),
    "scale": _scalar("scale", _small),
    "zeroCount": _scalar("zero_count", _large),
    "positive": _one("positive", _BUCKETS),
    "negative": _one("negative", _BUCKETS),
}
_TEMPORALITY = _scalar("temporality", _small)
_METRIC: _Table = {
    "name": _scalar("name", _text),
    "unit": _scalar("unit", _text),
    "gauge": _one("gauge", {"dataPoints": _each("data_points", _NUMBER_POINT)}),
    "sum": _one(
        "sum",
        {
            "dataPoints": _each("data_points", _NUMBER_POINT),
            "aggregationTemporality": _TEMPORALITY,
            "isMonotonic": _scalar("monotonic", _flag),
        },
    ),
    "histogram": _one(
        "histogram",
        {
            "dataPoints": _each("data_points", _HISTOGRAM_POINT),
            "aggregationTemporality": _TEMPORALITY,
        },
    ),
    "exponentialHistogram": _one(
        "exponential_histogram",
        {
            "dataPoints": _each("data_points", _EXPONENTIAL_POINT),
            "aggregationTemporality": _TEMPORALITY,
        },
    ),
    "summary": _one(
        "summary",
        {"dataPoints": _each("data_points", {"timeUnixNano": _scalar("time_ns", _large)})},
    ),
}
_RESOURCE_METRICS: _Table = {
    "resource": _scalar("resource", _resource),
    "scopeMetrics": _each(
        "scope_metrics", {"scope": _scalar("scope", _scope), "metrics": _each("metrics", _METRIC)}
    ),
}

_LOG_RECORD: _Table = {
    "timeUnixNano": _scalar("time_ns", _large),
    "observedTimeUnixNano": _scalar("observed_ns", _large),
    "severityNumber": _scalar("severity", _small),
    "severityText": _scalar("severity_text", _text),
    "body": _scalar("body", _any_value),
    "attributes": _ATTRIBUTES,
    "traceId": _scalar("trace_id", _hex),
    "eventName": _scalar("event_name", _text),
}
_RESOURCE_LOGS: _Table = {
    "resource": _scalar("resource", _resource),
    "scopeLogs": _each("scope_logs", {"logRecords": _each("log_records", _LOG_RECORD)}),
}
