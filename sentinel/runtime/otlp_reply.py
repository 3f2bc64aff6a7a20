"""What an OTLP receiver answers, as bytes: success, partial success, and `google.rpc.Status`.

These messages have two or three fields each, the same numbers for every signal, so they are written here
by hand rather than by six generated modules.
"""

from __future__ import annotations

from enum import StrEnum

import orjson

_RETRY_INFO_URL = "type.googleapis.com/google.rpc.RetryInfo"


class OtlpSignal(StrEnum):
    """The signals OTLP carries that are taken here; fit to be a metric label."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


class OtlpEncoding(StrEnum):
    """The two encodings of OTLP over HTTP, by media type."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


_REJECTED_FIELD = {
    OtlpSignal.TRACES: "rejectedSpans",
    OtlpSignal.METRICS: "rejectedDataPoints",
    OtlpSignal.LOGS: "rejectedLogRecords",
}


def encode_success(
    signal: OtlpSignal, encoding: OtlpEncoding, *, rejected_count: int = 0, message: str = ""
) -> bytes:
    """The export response; `partial_success` is left out when nothing was rejected and nothing is to be said.

    >>> encode_success(OtlpSignal.TRACES, OtlpEncoding.JSON)
    b'{}'
    >>> encode_success(OtlpSignal.LOGS, OtlpEncoding.JSON, rejected_count=2, message="no time")
    b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no time"}}'
    >>> encode_success(OtlpSignal.LOGS, OtlpEncoding.PROTOBUF, rejected_count=2, message="no").hex()
    '0a06080212026e6f'
    """
    partial = rejected_count > 0 or bool(message)
    if encoding is OtlpEncoding.JSON:
        if not partial:
            return b"{}"
        # 64-bit integers are strings in protobuf's JSON.
        fields = {_REJECTED_FIELD[signal]: str(rejected_count), "errorMessage": message}
        return orjson.dumps({"partialSuccess": fields})
    if not partial:
        return b""
    inner = _number(1, rejected_count) + _bytes(2, message.encode())
    return _bytes(1, inner)


def encode_status(
    encoding: OtlpEncoding, *, code: int, message: str, retry_after_s: float | None = None
) -> bytes:
    """A `google.rpc.Status`, with `RetryInfo` when the sender is asked to come back.

    >>> encode_status(OtlpEncoding.JSON, code=3, message="not OTLP")
    b'{"code":3,"message":"not OTLP"}'
    """
    if encoding is OtlpEncoding.JSON:
        fields: dict[str, object] = {"code": code, "message": message}
        if retry_after_s is not None:
            fields["details"] = [{"@type": _RETRY_INFO_URL, "retryDelay": f"{retry_after_s:g}s"}]
        return orjson.dumps(fields)
    encoded = _number(1, code) + _bytes(2, message.encode())
    if retry_after_s is not None:
        seconds, nanos = divmod(round(retry_after_s * 1e9), 1_000_000_000)
        retry_info = _bytes(1, _number(1, seconds) + _number(2, nanos))
        encoded += _bytes(3, _bytes(1, _RETRY_INFO_URL.encode()) + _bytes(2, retry_info))
    return encoded


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3,)) + _varint(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(value)) + value if value else b""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
