"""Single values of a part as plain data and back: checked one by one, for who sends a part may send anything."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import PointStream, Scope, SeriesKey
from sentinel.core.stats import log_linear

_INT64_MAX = 2**63 - 1
_COUNT_MAX = 2**53
"""What is counted in one part stays below, as what comes in does; so that no sum over collectors leaves 64 bits."""

Item = TypeVar("Item")


class TextTable:
    """Texts that are said once and meant by their number."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number that stands for a text; the same for the same text."""
        number = self._number.get(text)
        if number is None:
            number = self._number[text] = len(self.entries)
            self.entries.append(text)
        return number

    def stream(self, stream: PointStream) -> list[int]:
        """The numbers that stand for the parts of a stream's identity."""
        return [self.number(str(part)) for part in stream]


def stream_of(numbers: Sequence[int], digests: Sequence[str]) -> PointStream:
    """The stream that numbers of the table stand for."""
    if not numbers or len(numbers) > 5:
        msg = "a stream has one to five parts"
        raise ValueError(msg)
    return PointStream(digests[whole_of(number)] for number in numbers)


def times_of(plain: Iterable[Any], name_of: Callable[[Any], Item]) -> dict[Item, int]:
    """Times, each of something that has a name."""
    return {name_of(name): whole_of(at_ns) for name, at_ns in plain}


def scope_of(plain: Any) -> Scope:
    """A place."""
    service, stage, route = plain
    return Scope(text_of(service), text_of(stage), text_of(route))


def key_of(plain: Any) -> SeriesKey:
    """A series."""
    service, stage, route, signal = plain
    return SeriesKey(text_of(service), text_of(stage), text_of(route), text_of(signal))


def text_of(value: object) -> str:
    """A text, and nothing that Python would take for one."""
    if not isinstance(value, str):
        msg = "a text is expected"
        raise TypeError(msg)
    return value


def flag_of(value: object) -> bool:
    """True or false, and no number."""
    if not isinstance(value, bool):
        msg = "true or false is expected"
        raise TypeError(msg)
    return value


def whole_of(value: object) -> int:
    """An integer from 0 on that 64 bits hold."""
    if type(value) is not int or not 0 <= value <= _INT64_MAX:
        msg = "an integer from 0 to 2**63 - 1 is expected"
        raise ValueError(msg)
    return value


def positive_of(value: object) -> int:
    """A count of what is there."""
    number = whole_of(value)
    if not 0 < number < _COUNT_MAX:
        msg = "a count is above 0 and below 2**53"
        raise ValueError(msg)
    return number


def ints_of(values: Sequence[Any]) -> NDArray[np.int64]:
    """Integers as a column."""
    if not all(type(value) is int for value in values):
        msg = "integers are expected"
        raise TypeError(msg)
    return np.array(values, np.int64)


def counts_of(values: Sequence[Any]) -> NDArray[np.int64]:
    """Counts, none below 0, and of all together fewer than there can be."""
    found = ints_of(values)
    if any(not 0 <= value < _COUNT_MAX for value in values) or sum(values) >= _COUNT_MAX:
        msg = "counts are from 0 on, and together below 2**53"
        raise ValueError(msg)
    return found


def buckets_of(values: Sequence[Any], *, least: int = 0) -> NDArray[np.int16]:
    """Numbers of buckets of durations, from `least` on."""
    found = ints_of(values)
    if len(found) and not (least <= int(found.min()) and int(found.max()) <= log_linear.UNTIMED):
        msg = "a bucket's number is out of range"
        raise ValueError(msg)
    return found.astype(np.int16)


def plain_floats(values: Sequence[float] | NDArray[np.float64]) -> str:
    """Floats to the last bit, as text."""
    return b64encode(np.asarray(values, "<f8").tobytes()).decode()


def floats_of(text: str) -> NDArray[np.float64]:
    """The floats behind such a text."""
    return np.frombuffer(b64decode(text, validate=True), "<f8").astype(np.float64)
