"""OTLP's attributes and values, from bytes to text, only where a rule asks for them.

On the wire an attribute is `0a <length> <key> 12 <length> <value>`: key first, as every encoder writes it. The hot
paths rely on that order to skip attributes by their first bytes; an attribute written the other way round is legal
and is not seen by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError

from sentinel.core.normalise.labels import UNKNOWN_SERVICE, label_of, text_of
from sentinel.core.normalise.otlp_schema import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
    Resource,
)
from sentinel.errors import MalformedInputError

_RESOURCES_MAX = 1024
_RESOURCE_BYTES_MAX = 8192

DEPTH_MAX = 32
"""Values nested deeper are refused: nobody logs like that, and a decoder must not recurse as a sender pleases."""


def attributes_of(raw: Iterable[bytes], wanted: frozenset[str]) -> dict[str, str]:
    """The wanted attributes as text; what cannot be decoded, or is not a scalar, is left out."""
    found: dict[str, str] = {}
    for attribute in raw:
        length = attribute[1] if len(attribute) > 1 else 0
        key = text_of(attribute[2 : 2 + length])
        if key in wanted:
            value = scalar_text(_value_of(attribute))
            if value is not None:
                found[key] = value
    return found


def all_attributes_of(raw: Iterable[bytes]) -> dict[str, str]:
    """Every scalar attribute as text."""
    found: dict[str, str] = {}
    for attribute in raw:
        try:
            pair = KeyValue.FromString(attribute)
            value = scalar_text(pair.value)
        except DecodeError:
            continue
        if value is not None:
            found[text_of(pair.key)] = value
    return found


class ResourceLabels(NamedTuple):
    """What a resource says of who sends, as labels; an empty version is none."""

    service: str
    version: str


def resource_labels(resource: bytes) -> ResourceLabels:
    """The service a resource names, and its version.

    Raises:
        MalformedInputError: the resource cannot be decoded.
    """
    try:
        pairs = Resource.FromString(resource).attributes
    except DecodeError as error:
        msg = "a resource is not valid protobuf"
        raise MalformedInputError(msg) from error
    found = {b"service.name": "", b"service.version": ""}
    for pair in reversed(pairs):
        if pair.key in found:
            found[pair.key] = label_of(scalar_text(pair.value) or "")
    return ResourceLabels(found[b"service.name"] or UNKNOWN_SERVICE, found[b"service.version"])


class ResourceNames:
    """Encoded resources to their service and version, remembered; bounded in number and in size."""

    def __init__(self) -> None:
        self._known: dict[bytes, ResourceLabels] = {}

    def labels(self, resource: bytes) -> ResourceLabels:
        """As `resource_labels`."""
        labels = self._known.get(resource)
        if labels is None:
            labels = resource_labels(resource)
            if len(self._known) >= _RESOURCES_MAX:
                self._known.clear()
            if len(resource) <= _RESOURCE_BYTES_MAX:
                self._known[resource] = labels
        return labels


def scalar_text(value: bytes) -> str | None:
    """An encoded AnyValue as text, or None when it is empty, nested, or cannot be decoded."""
    try:
        decoded = AnyValue.FromString(value)
    except DecodeError:
        return None
    match decoded.WhichOneof("value"):
        case "string_value":
            return text_of(decoded.string_value)
        case "int_value":
            return str(decoded.int_value)
        case "bool_value":
            return "true" if decoded.bool_value else "false"
        case "double_value":
            return repr(decoded.double_value)
        case _:
            return None


def value_text(value: bytes, *, chars_max: int, depth: int = 0) -> str:
    """An encoded AnyValue as text for people: nested values are written out, bytes only by their size.

    Raises:
        MalformedInputError: it is not valid protobuf, or nested deeper than `DEPTH_MAX`.
    """
    if depth > DEPTH_MAX:
        msg = f"a value is nested deeper than {DEPTH_MAX}"
        raise MalformedInputError(msg)
    try:
        decoded = AnyValue.FromString(value)
        which = decoded.WhichOneof("value")
        if which == "array_value":
            texts = [
                value_text(item, chars_max=chars_max, depth=depth + 1)
                for item in ArrayValue.FromString(decoded.array_value).values[:chars_max]
            ]
            return _cut(f"[{', '.join(texts)}]", chars_max)
        if which == "kvlist_value":
            pairs = KeyValueList.FromString(decoded.kvlist_value).values[:chars_max]
            texts = [
                f"{text_of(pair.key)}={value_text(pair.value, chars_max=chars_max, depth=depth + 1)}"
                for pair in pairs
            ]
            return _cut(" ".join(texts), chars_max)
    except DecodeError as error:
        msg = "a value is not valid protobuf"
        raise MalformedInputError(msg) from error
    if which == "bytes_value":
        return f"({len(decoded.bytes_value)} bytes)"
    return _cut(scalar_text(value) or "", chars_max)


def _cut(text: str, chars_max: int) -> str:
    return text[:chars_max]


def _value_of(attribute: bytes) -> bytes:
    try:
        value: bytes = KeyValue.FromString(attribute).value
    except DecodeError:
        return b""
    return value
