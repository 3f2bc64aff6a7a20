"""The values of lines' fields: where they are, what a word, a number or a duration among them is, and what lines tell by them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.normalise.call_logs import DURATION_MAX_S
from sentinel.core.normalise.logs.names import Path

Fields = dict[str, Any]

UNKNOWN_DURATION = -1.0

_GO_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ns|us|\u00b5s|ms|s|m)?")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Told:
    """What n lines tell.

    Attributes:
        number: int32[n], of the kind of each.
        time_ns: int64[n], since 1970; 0 when a line names no time.
        duration_s: float64[n], of the call that it tells of, or `UNKNOWN_DURATION`.
    """

    number: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    duration_s: NDArray[np.float64]

    @classmethod
    def of_nothing(cls, count: int) -> Told:
        """Of lines that are still to be put in."""
        return cls(
            np.zeros(count, np.int32), np.zeros(count, np.int64), np.full(count, UNKNOWN_DURATION)
        )

    def put(self, places: list[int], part: Told) -> None:
        """Put in what the lines at these places tell."""
        self.number[places] = part.number
        self.time_ns[places] = part.time_ns
        self.duration_s[places] = part.duration_s


def duration_of(value: object, scale: float) -> float:
    """Seconds of a number, or of a text such as `12.5ms`; `UNKNOWN_DURATION` when it is neither.

    >>> duration_of(250, 1e-3), duration_of("0.250s", 1.0), duration_of("soon", 1.0)
    (0.25, 0.25, -1.0)
    """
    if type(value) is str:
        match = _GO_DURATION.fullmatch(value) if len(value) <= 32 else None
        if match is None:
            return UNKNOWN_DURATION
        scale = _UNITS_S[match.group(2)] if match.group(2) else scale
        value = float(match.group(1))
    if type(value) is not float and type(value) is not int:
        return UNKNOWN_DURATION
    seconds = value * scale
    return seconds if 0.0 <= seconds <= DURATION_MAX_S else UNKNOWN_DURATION


def durations_of(values: list[object], scale: float) -> NDArray[np.float64]:
    """As `duration_of`, for many values."""
    if not set(map(type, values)) <= {int, float}:
        return np.array([duration_of(value, scale) for value in values], np.float64)
    seconds = np.array(values, np.float64) * scale
    seconds[~((seconds >= 0) & (seconds <= DURATION_MAX_S))] = UNKNOWN_DURATION
    return seconds


def value_at(fields: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401, RUF100
    """What is at the end of a path; None when it leads nowhere."""
    value: Any = fields
    for key in path:
        if type(value) is not dict:
            return None
        value = value.get(key)
    return value


def first_of(fields: Fields, paths: tuple[Path, ...]) -> Any:  # noqa: ANN401, RUF100
    """The first value that is there and neither an object nor a list."""
    for path in paths:
        value = value_at(fields, path)
        if value is not None and type(value) is not dict and type(value) is not list:
            return value
    return None


def first_number(fields: Fields, paths: tuple[Path, ...]) -> str:
    """The first value that may be a status code; an object or a word such as `ok` under an equal name is none."""
    for path in paths:
        text = text_of(value_at(fields, path))
        if text[:1].isdigit():
            return text
    return ""


def text_of(value: object) -> str:
    """A word or a number as text, "" for anything else."""
    if type(value) is str:
        return value
    if type(value) is int or type(value) is float:
        return str(value)
    return ""
