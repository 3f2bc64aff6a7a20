"""JSON read strictly: what parsers let through, and later code chokes on, is refused.

NaN and Infinity as bare words, numbers that overflow, a key twice, nesting beyond `DEPTH_MAX`, NUL and lone surrogates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import orjson

from sentinel.core.normalise.otlp_elements import refuse_dense_json
from sentinel.core.normalise.otlp_values import DEPTH_MAX
from sentinel.errors import MalformedInputError

_QUOTE, _COLON = ord('"'), ord(":")
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1
_CONTAINERS = frozenset((dict, list))
_ESCAPED_PAIR = re.compile(rb"\\\\")
_NUL = re.compile(rb"\\u0000")
_HIGH_THEN_LOW = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def parse_strictly(body: bytes) -> object:
    """The value of a JSON text, refusing what `json` alone would let through.

    Raises:
        MalformedInputError: with one clause on what is wrong.
        InputTooLargeError: it would take far more memory than its size.
    """
    refuse_dense_json(body)
    key_count = _check_structure(body)
    _check_escapes(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        msg = f"the body is not JSON: {error}"
        raise MalformedInputError(msg) from error
    if _keys_in(value) != key_count:
        msg = "the body has a key twice in one object"
        raise MalformedInputError(msg)
    return value


def _check_structure(body: bytes) -> int:
    """Refuse what is nested too deeply; the number of keys, which are the colons outside texts."""
    # With escapes blanked, quotes alternate between opening and closing a text.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    chars = np.frombuffer(body, np.uint8)
    # Small types, because a wide one would take eight times the body: whether a sum is odd survives its wrapping.
    outside = (np.cumsum(chars == _QUOTE, dtype=np.uint8) & 1) == 0
    skeleton = chars[outside]
    step = _STEP[skeleton]
    depth = np.cumsum(step[step != 0], dtype=np.int32)
    if len(depth) and int(depth.max()) > DEPTH_MAX:
        msg = f"the body is nested deeper than {DEPTH_MAX}"
        raise MalformedInputError(msg)
    return int(np.count_nonzero(skeleton == _COLON))


def _keys_in(value: object) -> int:
    """How many keys are left in all the objects of a value; of a key that came twice, one is."""
    count = 0
    waiting = [value] if type(value) in _CONTAINERS else []
    while waiting:
        each = waiting.pop()
        inside: Iterable[object]
        if type(each) is dict:
            count += len(each)
            inside = each.values()
        else:
            inside = each  # type: ignore[assignment]  # a list: there are no other containers
        # Most values hold nothing, and are not worth a place in the list.
        waiting += [one for one in inside if type(one) in _CONTAINERS]
    return count


def _check_escapes(body: bytes) -> None:
    if b"\\u" not in body:
        return
    # Escaped backslashes go first, so that what remains of "\\\\u0000" is not taken for an escape.
    escapes = _ESCAPED_PAIR.sub(b"", body)
    if _NUL.search(escapes):
        msg = "the body holds a NUL character"
        raise MalformedInputError(msg)
    if _SURROGATE.search(_HIGH_THEN_LOW.sub(b"", escapes)):
        msg = "the body holds half of a surrogate pair"
        raise MalformedInputError(msg)
