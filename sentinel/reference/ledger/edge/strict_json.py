"""JSON of which no name is given twice in one object: of two amounts nobody can say which was meant.

Decoders let the last one win, silently, and two programs on one way may take different ones. Each name of a text ends in a quote
before a colon, so there are at most as many names as such places; when as many are left in the decoded value, none was given twice.
That is cheap to see. Where they differ, because of a name that came twice or of texts that look like the end of a name, a
slower decoder looks at each object, and says where it is.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from sentinel.reference.ledger.domain import InvalidTransferError

_SPACED: Final = (b" :", b"\t:", b"\n:", b"\r:")
# An answer quotes it twice; the places of fields that are asked for have a tenth of it.
_PLACE_CHARS_MAX: Final = 256
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


_CAN_HOLD_NAMES: Final = frozenset({dict, list, _Twice})


def _check(raw: bytes) -> None:
    twice: list[_Twice] = []

    def an_object(pairs: list[tuple[str, object]]) -> object:
        whole = dict(pairs)
        if len(whole) == len(pairs):
            return whole
        twice.append(_Twice(Counter(name for name, _ in pairs).most_common(1)[0][0]))
        return twice[-1]

    try:
        value = json.loads(raw, object_pairs_hook=an_object)
    except (ValueError, RecursionError):
        # Deeper than anything that is asked for here.
        raise _no_json() from None
    if twice:
        place = _shortened(_place(value))
        raise InvalidTransferError(
            code="invalid_field", field=place, message=f"{place} is given twice."
        )


def _place(value: object) -> str:
    """Return where the first name that is given twice stands, as problems name fields; the first of those that lie least deep.

    Whoever may write chooses what is walked here. So each value is looked at once and costs some bytes; text is made for one place only.
    """
    found = [value]
    # Of each that was found, where in `found` it lies within.
    within = array("L", [0])
    for at, each in enumerate(found):
        if type(each) is _Twice:
            return _path(found, within, at) + each.name
        for one in _inside(each):
            if type(one) in _CAN_HOLD_NAMES:
                found.append(one)
                within.append(at)
    text = "no name is given twice"
    raise ValueError(text)


def _inside(each: object) -> Iterable[object]:
    if type(each) is dict:
        return each.values()
    return each if type(each) is list else ()


def _path(found: list[object], within: Sequence[int], at: int) -> str:
    """Return what stands before the names of an object that was found."""
    steps: list[str] = []
    is_before_name = True
    while at:
        one, around = found[at], found[within[at]]
        dot = "." if is_before_name else ""
        if type(around) is dict:
            steps.append(next(name for name, each in around.items() if each is one) + dot)
            is_before_name = True
        else:
            place = next(place for place, each in enumerate(_inside(around)) if each is one)
            steps.append(f"[{place}]{dot}")
            is_before_name = False
        at = within[at]
    return "".join(reversed(steps))


def _shortened(place: str) -> str:
    """Return a place that an answer has room for; the end of it, with the name, tells most."""
    if len(place) <= _PLACE_CHARS_MAX:
        return place
    return "…" + place[1 - _PLACE_CHARS_MAX :]


def _no_json() -> InvalidTransferError:
    return InvalidTransferError(code="invalid_json", field="", message="The body is not JSON.")
