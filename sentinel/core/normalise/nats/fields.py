"""Fields of NATS' JSON, read so that a wrong type is an absent field and never a fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from sentinel.core.normalise.otlp_elements import refuse_dense_json
from sentinel.errors import MalformedInputError

_COUNT_MAX = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_MAX = 512
_NOTHING: dict[str, Any] = {}


def object_of(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object a body is.

    Raises:
        MalformedInputError: it is none.
        InputTooLargeError: it would take far more memory than its size.
    """
    refuse_dense_json(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        msg = f"{what} is not JSON: {error}"
        raise MalformedInputError(msg) from error
    if not isinstance(value, dict):
        msg = f"{what} is not a JSON object"
        raise MalformedInputError(msg)
    return value


def part(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside another; an empty one when there is none."""
    found = of.get(name)
    return found if isinstance(found, dict) else _NOTHING


def parts(of: Mapping[str, Any], name: str) -> list[Any]:
    """A list inside an object; an empty one when there is none."""
    found = of.get(name)
    return found if isinstance(found, list) else []


def count_or_none(of: Mapping[str, Any], name: str) -> int | None:
    """A whole number that is not negative, or None.

    >>> count_or_none({"a": 3, "b": -1, "c": True}, "a"), count_or_none({"b": -1}, "b")
    (3, None)
    """
    found = of.get(name)
    # Servers write -1 for "no limit", and what an unsigned counter makes of it; both are no number of anything.
    if type(found) is int and 0 <= found < _COUNT_MAX:
        return found
    return None


def count(of: Mapping[str, Any], name: str) -> int:
    """A whole number that is not negative; 0 when there is none."""
    return count_or_none(of, name) or 0


def text(of: Mapping[str, Any], name: str) -> str:
    """A short text; "" when there is none."""
    found = of.get(name)
    return found[:_TEXT_MAX] if isinstance(found, str) else ""


def instant_ns(of: Mapping[str, Any], name: str) -> int | None:
    """RFC 3339 as Unix nanoseconds, to the microsecond; None for Go's zero time and for what is no time.

    >>> instant_ns({"ts": "2026-11-30T08:52:10.000452083Z"}, "ts")
    1796028730000452000
    >>> instant_ns({"ts": "0001-01-01T00:00:00Z"}, "ts")
    """
    found = of.get(name)
    if not isinstance(found, str) or len(found) > 40:
        return None
    try:
        at = datetime.fromisoformat(found)
    except ValueError:
        return None
    if at.tzinfo is None or at.year < 1971:
        return None
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
