"""How many messages a protobuf body would make, counted before it is decoded.

An empty message is two bytes on the wire and a hundred in memory: 20 MiB of them took 689 MiB. Small bodies cannot do
harm. Larger ones are walked along their structure first, without decoding anything, and refused when they hold more
elements than any honest sender puts into one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from sentinel.errors import InputTooLargeError, MalformedInputError

HARMLESS_BYTES = 1 << 20
ELEMENTS_MAX = 100_000
_BYTES_PER_OBJECT_MIN = 10
_BYTES_PER_TEXT_MIN = 6

Structure: TypeAlias = Mapping[int, "Structure"]
"""Field numbers that hold messages, each with the structure inside."""

_POINTS: Structure = {1: {}}
TRACES: Structure = {1: {2: {2: {}}}}
LOGS: Structure = {1: {2: {2: {}}}}
METRICS: Structure = {1: {2: {2: {5: _POINTS, 7: _POINTS, 9: _POINTS, 10: _POINTS, 11: _POINTS}}}}

# A key-value of less than three bytes has no key. Attributes are kept as bytes, sixteen in memory for two on the wire,
# and honest ones are never that short; their tags are those of span, log, number and exponential points.
_EMPTY_ATTRIBUTES = tuple(bytes((tag, size)) for tag in (0x4A, 0x32, 0x3A) for size in range(3))


def refuse_amplification(body: bytes, structure: Structure) -> None:
    """Refuse a body that would grow far beyond its size when decoded.

    Raises:
        InputTooLargeError: it holds more than `ELEMENTS_MAX` elements.
        MalformedInputError: its structure is broken.
    """
    if len(body) <= HARMLESS_BYTES:
        return
    empty = sum(body.count(each) for each in _EMPTY_ATTRIBUTES)
    left = ELEMENTS_MAX - _count(body, 0, len(body), structure, ELEMENTS_MAX)
    if left < 0 or empty > ELEMENTS_MAX:
        msg = f"the body holds more than {ELEMENTS_MAX} elements"
        raise InputTooLargeError(msg, size_bytes=len(body), limit_bytes=HARMLESS_BYTES)


def refuse_dense_json(body: bytes) -> None:
    """Refuse a JSON body that is little but brackets or quotes: each object, and each text, takes some hundred bytes.

    An attribute with a one-letter key and value has an object in eighteen bytes and a text in eight.

    Raises:
        InputTooLargeError: it has an object or a list in every `_BYTES_PER_OBJECT_MIN` bytes, or a text in every
            `_BYTES_PER_TEXT_MIN`.
    """
    if len(body) <= HARMLESS_BYTES:
        return
    for count, bytes_min, what in (
        (body.count(b"{") + body.count(b"["), _BYTES_PER_OBJECT_MIN, "objects and lists"),
        # Quotes inside a text, as of a logged line that is JSON itself, begin none.
        ((body.count(b'"') - body.count(b'\\"')) // 2, _BYTES_PER_TEXT_MIN, "texts"),
    ):
        if count * bytes_min > len(body):
            msg = f"the body holds {count} {what}"
            raise InputTooLargeError(msg, size_bytes=len(body), limit_bytes=HARMLESS_BYTES)


def _count(body: bytes, at: int, end: int, structure: Structure, most: int) -> int:
    """How many elements lie in `body[at:end]`; stops soon after `most`."""
    count = 0
    while at < end and count <= most:
        tag, at = _varint(body, at, end)
        wire = tag & 7
        if wire == 2:
            length, at = _varint(body, at, end)
            inside = structure.get(tag >> 3)
            if length > end - at:
                _broken()
            if inside is not None:
                count += 1
                if inside:
                    count += _count(body, at, at + length, inside, most - count)
            at += length
        elif wire == 0:
            _, at = _varint(body, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            _broken()
    if at > end:
        _broken()
    return count


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return _broken()


def _broken() -> tuple[int, int]:
    msg = "the body is not valid protobuf"
    raise MalformedInputError(msg)
