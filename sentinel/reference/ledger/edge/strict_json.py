"""JSON of which no name is given twice in one object: of two amounts nobody can say which was meant.

Decoders let the last one win, silently, and two programs on one way may take different ones. Each name of a text ends in a quote
before a colon, so there are at most as many names as such places; when as many are left in the decoded value, none was given twice.
That is cheap to see. Where they differ, because of a name that came twice or of texts that look like the end of a name, a
slower decoder looks at each object, and says where it is.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import orjson

from sentinel.reference.ledger.domain import InvalidTransferError

_SPACED: Final = (b" :", b"\t:", b"\n:", b"\r:")
_END_OF_NAME: Final = re.compile(rb'"[ \t\r\n]*:')


def decode_strictly(raw: bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        InvalidTransferError: it is no JSON, or gives a name twice, which is then told with its place.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _no_json() from None
    if _names_count_max(raw) != _names_count(value):
        _check(raw)
    return value


def _names_count_max(raw: bytes) -> int:
    """Return how many names there can be in a text; values that look like the end of one are counted too."""
    if any(spaced in raw for spaced in _SPACED):
        return sum(1 for _ in _END_OF_NAME.finditer(raw))
    return raw.count(b'":')


def _names_count(value: object) -> int:
    """Return how many names all the objects of a value have."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if type(each) is dict:
            count += len(each)
            # Most values hold nothing, and are not worth a place in the list.
            waiting += [one for one in each.values() if type(one) is dict or type(one) is list]
        elif type(each) is list:
            waiting += [one for one in each if type(one) is dict or type(one) is list]
    return count


@dataclass(frozen=True, slots=True)
class _Twice:
    """Stands for an object that gives this name twice."""

    name: str


def _check(raw: bytes) -> None:
    try:
        value = json.loads(raw, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        # Deeper than anything that is asked for here.
        raise _no_json() from None
    place = _place(value)
    if place is not None:
        raise InvalidTransferError(
            code="invalid_field", field=place, message=f"{place} is given twice."
        )


def _object(pairs: list[tuple[str, object]]) -> object:
    whole = dict(pairs)
    if len(whole) == len(pairs):
        return whole
    return _Twice(Counter(name for name, _ in pairs).most_common(1)[0][0])


def _place(value: object) -> str | None:
    """Return where the first name that is given twice stands, as problems name fields; None when there is none."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        place, each = waiting.pop(0)
        if isinstance(each, _Twice):
            return f"{place}.{each.name}" if place else each.name
        if isinstance(each, dict):
            waiting += [(f"{place}.{name}" if place else name, one) for name, one in each.items()]
        elif isinstance(each, list):
            waiting += [(f"{place}[{at}]", one) for at, one in enumerate(each)]
    return None


def _no_json() -> InvalidTransferError:
    return InvalidTransferError(code="invalid_json", field="", message="The body is not JSON.")
