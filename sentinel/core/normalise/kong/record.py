"""What one record of Kong's http-log says, field by field; of another type than Kong's is as if it were not there."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from sentinel.core.normalise.labels import OTHER

_DURATION_MAX_MS = 24 * 3600 * 1000.0
_ID_CHARS_MAX = 256
_IDENTITY_BYTES = 16
_TRIES_MAX = 32
_NAMES_MAX = 64
HEX_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""Ids of requests since Kong 3.5, and of traces."""


def mended(body: bytes) -> bytes:
    """A body that can be read although a client wrote into it what is no text."""
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode("utf-8", "replace").encode()
    if b"\\u0000" not in body:
        return body
    # Escaped backslashes stand aside as what is in no UTF-8, for behind one `u0000` is text; a search for both at once
    # took two seconds for a body of nothing else.
    aside = body.replace(b"\\\\", b"\xff\xff").replace(b"\\u0000", b"\\ufffd")
    return aside.replace(b"\xff\xff", b"\\\\")


def object_of(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object, an empty one when it is absent or something else."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def text_of(record: Mapping[str, Any], name: str) -> str:
    """A text, "" when it is absent or something else."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


def names_of(value: object) -> list[str]:
    """Texts of a list; Lua writes an empty list as an empty object. Objects in it are named by `name`."""
    if not isinstance(value, list):
        return []
    names = [each.get("name") if isinstance(each, dict) else each for each in value[:_NAMES_MAX]]
    return [name for name in names if isinstance(name, str)]


def milliseconds(latencies: Mapping[str, Any], name: str) -> float:
    """A latency, NaN when it is absent, negative, no number or more than a day."""
    value = number_of(latencies, name)
    return value if 0 <= value <= _DURATION_MAX_MS else math.nan


def number_of(record: Mapping[str, Any], name: str) -> float:
    """A number, NaN when it is absent or something else; `true` is no number."""
    value = record.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value is not None else math.nan


def route_of(record: Mapping[str, Any]) -> str:
    """The name of its route, or else the id; `OTHER` for a request that matched none."""
    route = object_of(record, "route")
    return text_of(route, "name") or text_of(route, "id") or OTHER


def is_by_gateway(record: Mapping[str, Any], status: int) -> bool:
    """Whether Kong made the answer; where it does not say, whether no upstream answered so."""
    source = record.get("source")
    if source in ("kong", "upstream", "service"):
        return bool(source == "kong")
    last = text_of(record, "upstream_status")[-3:]
    return last != str(status)


def failed_tries(record: Mapping[str, Any]) -> int:
    """How many tries to reach an upstream failed: only those have a `state`."""
    tries = record.get("tries")
    if not isinstance(tries, list):
        return 0
    return sum(1 for each in tries[:_TRIES_MAX] if isinstance(each, dict) and each.get("state"))


def trace_id_of(record: Mapping[str, Any]) -> str:
    """32 hexadecimal digits, "" without a trace."""
    trace_id = record.get("trace_id")
    text = trace_id.get("w3c") if isinstance(trace_id, dict) else trace_id
    if not isinstance(text, str) or not HEX_ID.fullmatch(text) or not text.strip("0"):
        return ""
    return text


def identity_of(record: Mapping[str, Any]) -> bytes:
    """Of the request's id, which nginx draws; of the whole record where an older Kong gives it none."""
    request_id = text_of(object_of(record, "request"), "id")
    if HEX_ID.fullmatch(request_id):
        return bytes.fromhex(request_id)
    if request_id:
        told = request_id[:_ID_CHARS_MAX].encode("utf-8", "replace")
    else:
        told = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    return blake2b(told, digest_size=_IDENTITY_BYTES).digest()
