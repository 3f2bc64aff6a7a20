"""Log records to OTLP, as protobuf bytes: what is handed on of logs that did not come as OTLP.

A record is encoded alone, so that it can be made where its text is at hand, and joined to a request later. Texts must
have been redacted before they get here; nothing here looks into them. Field numbers are those of opentelemetry-proto 1.x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import pack

Scalar = str | int | float
"""A value of an attribute; a `bool` is an `int` here and is encoded as a bool."""

_SHORT = 126
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_SEVERITY_TEXTS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


def encode_record(
    *,
    time_ns: int,
    severity: int,
    body: str,
    attributes: Mapping[str, Scalar] | None = None,
    observed_ns: int = 0,
    event: str = "",
    trace_id: bytes = b"",
    span_id: bytes = b"",
) -> bytes:
    """One `LogRecord`.

    Args:
        time_ns: when it was written, 0 when unknown.
        severity: OTLP's severity number, 0-24; its class is given as text too.
        body: the text, redacted.
        attributes: texts (redacted), numbers and bools by name.
        observed_ns: when it was read, 0 when that is not known.
        event: the event's name, or "".
        trace_id: 16 bytes, or b"".
        span_id: 8 bytes, or b"".

    >>> encode_record(time_ns=1, severity=9, body="up", attributes={"a": 1}).hex()
    '09010000000000000010091a04494e464f2a040a02757032070a016112021801'
    """
    parts = [pack("<Bq", 0x09, time_ns)] if time_ns else []
    if 0 < severity <= 24:
        parts.append(bytes((0x10, severity)))
        parts.append(_sized(b"\x1a", _SEVERITY_TEXTS[(severity - 1) // 4].encode()))
    if body:
        parts.append(_sized(b"\x2a", _value(body)))
    if attributes:
        for key, value in attributes.items():
            pair = _pair(key, value)
            parts.append(
                b"\x32%c%b" % (len(pair), pair) if len(pair) < 128 else _sized(b"\x32", pair)
            )
    if len(trace_id) == 16:
        parts.append(b"\x4a\x10" + trace_id)
    if len(span_id) == 8:
        parts.append(b"\x52\x08" + span_id)
    if observed_ns:
        parts.append(pack("<Bq", 0x59, observed_ns))
    if event:
        parts.append(_sized(b"\x62", _utf8(event)))
    return b"".join(parts)


def encode_uid(uid: str) -> bytes:
    """The attribute `log.record.uid`, to be put after a record: who gets it twice can tell."""
    return _sized(b"\x32", _pair("log.record.uid", uid))


def encode_logs_request(
    records: Iterable[bytes], *, resource: Mapping[str, Scalar], scope_name: str = ""
) -> bytes:
    r"""One `ExportLogsServiceRequest` of records of one resource, as `encode_record` made them.

    >>> encode_logs_request([b"\x10\x09"], resource={"service.name": "k"}).hex()
    '0a1d0a150a130a0c736572766963652e6e616d6512030a016b120412021009'
    """
    about = b"".join([_sized(b"\x0a", _pair(key, value)) for key, value in resource.items()])
    inside = _sized(b"\x0a", _sized(b"\x0a", _utf8(scope_name))) if scope_name else b""
    inside += b"".join([_sized(b"\x12", record) for record in records])
    return _sized(b"\x0a", _sized(b"\x0a", about) + _sized(b"\x12", inside))


def _pair(key: str, value: Scalar) -> bytes:
    written = _key(key) if len(key) < _SHORT else _sized(b"\x0a", _utf8(key))
    if isinstance(value, str):
        text = _utf8(value)
        size = len(text)
        if size < _SHORT:
            # Most are; a length below 128 is one byte.
            return b"%b\x12%c\x0a%c%b" % (written, size + 2, size, text)
    return written + _sized(b"\x12", _value(value))


@lru_cache(maxsize=1024)
def _key(key: str) -> bytes:
    return _sized(b"\x0a", _utf8(key))


def _value(value: Scalar) -> bytes:
    if isinstance(value, str):
        return _sized(b"\x0a", _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
        # A negative number is its two's complement, ten bytes long.
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return pack("<Bd", 0x21, float(value))


def _utf8(text: str) -> bytes:
    # Half of a surrogate pair cannot be written; one such text must not cost the batch.
    return text.encode("utf-8", "replace")


def _sized(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    return tag + (bytes((size,)) if size < 0x80 else _varint(size)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
