"""What readers of past data give: rows of many series as columns."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_TRAFFIC, Kind, SeriesKey
from sentinel.errors import MalformedInputError
from sentinel.runtime.nearest import nearest

Mark = Mapping[str, Any]
"""Where a reader was in its file."""

_ROWS_A_BATCH = 100_000
_SIGNALS = (SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY)
_SLIPS_MAX = 2
"""A name longer or shorter by more, such as `errors_5xx`, is meant to be another."""
_MEANINGS = {
    Kind.TRAFFIC: ((0.0, math.inf), "traffic is calls a second, from 0"),
    Kind.ERRORS: ((0.0, 1.0), "errors is the share of calls that failed, from 0 to 1"),
    Kind.LATENCY: ((0.0, math.inf), "latency is seconds, from 0"),
    Kind.SLOW: ((0.0, 1.0), "slow_calls is the share of calls that were slow, from 0 to 1"),
    Kind.GAUGE: ((-math.inf, math.inf), ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRows:
    """n rows of past data.

    Attributes:
        series: int32[n], the number each series has in the `SeriesNumbers`.
        time_ns: int64[n].
        value: float64[n], NaN where a row has no value.
        weight: float64[n], NaN where a row says nothing about it.
        mark: what the reader wants back to go on after these rows, as JSON has it; None where it cannot.
    """

    series: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    mark: Mark | None = None


class SeriesNumbers:
    """Numbers the series of one or several files, in the order they are met; bounded."""

    def __init__(self, known: Iterable[SeriesKey] = (), *, count_max: int = 100_000) -> None:
        self._count_max = count_max
        self._number_of: dict[SeriesKey, int] = {key: at for at, key in enumerate(known)}

    @property
    def keys(self) -> list[SeriesKey]:
        """The series by number."""
        return list(self._number_of)

    def number(self, key: SeriesKey) -> int:
        """The series' number.

        Raises:
            MalformedInputError: there are more series than the bound.
        """
        number = self._number_of.get(key)
        if number is None:
            number = len(self._number_of)
            if number >= self._count_max:
                msg = f"the history has more than {self._count_max:,} series"
                raise MalformedInputError(msg)
            self._number_of[key] = number
        return number


class RowGatherer:
    """Collects rows until there are enough for a batch."""

    def __init__(self) -> None:
        self._clear()

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the batch."""
        return len(self._time_ns) >= _ROWS_A_BATCH

    def add(self, series: int, time_ns: int, value: float, weight: float) -> None:
        """Take one row."""
        self._series.append(series)
        self._time_ns.append(time_ns)
        self._value.append(value)
        self._weight.append(weight)

    def take(self, mark: Mark | None = None) -> HistoryRows:
        """The rows so far, leaving none; `mark` is where the reader is after them."""
        rows = HistoryRows(
            series=np.array(self._series, dtype=np.int32),
            time_ns=np.array(self._time_ns, dtype=np.int64),
            value=np.array(self._value, dtype=np.float64),
            weight=np.array(self._weight, dtype=np.float64),
            mark=mark,
        )
        self._clear()
        return rows

    def _clear(self) -> None:
        self._series = array("i")
        self._time_ns = array("q")
        self._value = array("d")
        self._weight = array("d")


def bounds_of(kind: Kind) -> tuple[float, float]:
    """The lowest and the highest value that a series of this kind can have."""
    return _MEANINGS[kind][0]


def beyond_bounds(kind: Kind, value: float) -> str:
    """What is wrong with a value that a series of this kind cannot have.

    >>> beyond_bounds(Kind.ERRORS, 12.5)
    'value 12.5 cannot be: errors is the share of calls that failed, from 0 to 1'
    """
    return f"value {value:g} cannot be: {_MEANINGS[kind][1]}"


def check_signal(signal: str) -> None:
    """Refuse a gauge's name that is nearly one of the three signals: it would be judged as something else.

    >>> check_signal("trafic")
    Traceback (most recent call last):
        ...
    ValueError: signal 'trafic' is not known: did you mean traffic?

    Raises:
        ValueError: it is one.
    """
    if signal in _SIGNALS:
        return
    near = nearest(signal, _SIGNALS)
    if near is not None and abs(len(near) - len(signal)) <= _SLIPS_MAX:
        msg = f"signal {signal!a} is not known: did you mean {near}?"
        raise ValueError(msg)


def check_label(name: str, text: str) -> None:
    """Refuse a name that is missing, too long, or that a terminal or a page would obey.

    Raises:
        ValueError: it is one of these.
    """
    if not text:
        msg = f"{name} is empty"
        raise ValueError(msg)
    if len(text) > 256:
        msg = f"{name} has more than 256 characters"
        raise ValueError(msg)
    if not text.isprintable():
        msg = f"{name} {text!a} has characters that cannot be printed"
        raise ValueError(msg)
