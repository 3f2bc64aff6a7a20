"""Past data as CSV: one series a file, or many series in one file (the long format).

Both are read as a stream: a file may be larger than memory, its columns (16 bytes a row for one series)
may not. What is wrong is told with file and line, and nothing of the file is used then.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.errors import InputTooLargeError, MalformedInputError
from sentinel.history.lines import Faults, Lines, malformed, number_of, numbered_lines, time_ns_of
from sentinel.history.rows import (
    HistoryRows,
    Mark,
    RowGatherer,
    SeriesNumbers,
    beyond_bounds,
    bounds_of,
    check_label,
    check_signal,
)

LONG_HEADER = ("timestamp", "service", "stage", "route", "signal", "value", "weight")
_ROW_COUNT_MAX = 20_000_000
_PLAIN_ROW = re.compile(r"([0-6]?[0-9]{1,9}),(-?[0-9]{1,17}(?:\.[0-9]{1,17})?)(?:,|$)", re.ASCII)
_STARTS_LIKE_A_NUMBER = re.compile(r"\s*[-+.0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFile:
    """The samples of one series.

    Attributes:
        times_ns: int64[n], ascending.
        values: float64[n], NaN where a sample is missing.
        weights: float64[n], calls behind each value, NaN where unknown; None when the file has no such column.
    """

    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None

    @property
    def step_ns(self) -> int:
        """The usual distance of two samples: the median, in whole nanoseconds; 0 for fewer than two."""
        if self.times_ns.size < 2:
            return 0
        return round(float(np.median(np.diff(self.times_ns))))


def read_series(path: Path, *, row_count_max: int = _ROW_COUNT_MAX) -> SeriesFile:
    """Read `timestamp,value[,label...]`; of columns after the second only one named `weight` is looked at.

    It says how many calls stand behind a value: without it shares of failed calls cannot be told from chance. Timestamps are Unix seconds, whole or with a fraction, and ascend. A value is a finite number;
    an empty one or `nan` is missing; infinity and text are refused. The first line may be a header
    whose first two names are `timestamp` (or `time`) and `value`; a file without one begins with a
    number.

    Raises:
        MalformedInputError: it breaks one of these rules; the message has file and line.
        InputTooLargeError: it has more rows than the bound.
        OSError: it cannot be read.
    """
    times_ns = array("q")
    values = array("d")
    weights = array("d")
    weight_at: int | None = None
    last_ns = -1
    for line_number, line in numbered_lines(path):
        if line_number == 1 and not _STARTS_LIKE_A_NUMBER.match(line):
            weight_at = _check_header(path, line)
            continue
        if not line:
            continue
        try:
            time_ns, value = _sample_of(line)
            if weight_at is not None:
                weights.append(_weight_in(line, weight_at))
        except ValueError as error:
            raise malformed(path, line_number, error) from error
        if time_ns <= last_ns:
            what = "is there twice" if time_ns == last_ns else "goes back in time"
            raise malformed(path, line_number, f"timestamp {line.partition(',')[0]} {what}")
        if len(values) >= row_count_max:
            msg = f"{path}:{line_number}: too many rows"
            raise InputTooLargeError(
                msg, size_bytes=16 * len(values), limit_bytes=16 * row_count_max
            )
        last_ns = time_ns
        times_ns.append(time_ns)
        values.append(value)
    if not values:
        msg = f"{path}: has no rows"
        raise MalformedInputError(msg)
    return SeriesFile(
        times_ns=np.array(times_ns, dtype=np.int64),
        values=np.array(values, dtype=np.float64),
        weights=None if weight_at is None else np.array(weights, dtype=np.float64),
    )


def read_long(
    path: Path, numbers: SeriesNumbers, *, not_after_ns: int, mark: Mark | None = None
) -> Iterator[HistoryRows]:
    """Read `timestamp,service,stage,route,signal,value,weight`, sorted by time, batch by batch.

    An empty value is missing; an empty weight is unknown. A series has one row at most at a time. With the `mark` of a batch it goes on
    after that; `numbers` must be those of then.

    Raises:
        MalformedInputError: the file breaks a rule of the format, a row lies after `not_after_ns`, or a value is
            none that its signal can have; the message has a line a fault, each with file and line, and
            comes when the file was read or there are ten. What was given until then is not to be used.
    """
    _, header = next(numbered_lines(path), (1, ""))
    if tuple(_unquoted(name.strip()).lower() for name in header.split(",")) != LONG_HEADER:
        raise malformed(path, 1, f"the header must be {','.join(LONG_HEADER)}")
    number_of_labels: dict[str, int] = {}
    bounds: dict[int, tuple[float, float]] = {}
    faults = Faults(path)
    gatherer = RowGatherer()
    time_text, time_ns = "", -1
    seen: set[int] = set()
    lines = Lines(path)
    if mark is not None:
        lines = Lines(path, number=int(mark["line"]), offset=int(mark["offset"]))
        time_ns, seen = int(mark["time_ns"]), set(mark["seen"])
    for line_number, line in lines:
        if not line or line_number == 1:
            continue
        try:
            stamp, _, rest = line.partition(",")
            labels, value_text, weight_text = _last_fields(rest)
            if stamp != time_text:
                now_ns = time_ns_of(_unquoted(stamp))
                _check_time(stamp, now_ns, before_ns=time_ns, not_after_ns=not_after_ns)
                if now_ns != time_ns:
                    seen.clear()
                time_ns, time_text = now_ns, stamp
            number = number_of_labels.get(labels)
            if number is None:
                key = _key_of(labels)
                number = number_of_labels[labels] = numbers.number(key)
                bounds[number] = bounds_of(kind_of_signal(key.signal))
            if number in seen:
                msg = f"series {labels} is there twice at {stamp}"
                raise ValueError(msg)  # noqa: TRY301  # told with its place, like the others
            seen.add(number)
            value = number_of(value_text)
            lowest, highest = bounds[number]
            if value < lowest or value > highest:
                kind = kind_of_signal(_key_of(labels).signal)
                raise ValueError(beyond_bounds(kind, value))  # noqa: TRY301  # as above
            gatherer.add(number, time_ns, value, _weight_of(weight_text))
        except ValueError as error:
            faults.add(line_number, error)
        if gatherer.is_full:
            rows = gatherer.take(
                {
                    "line": lines.number,
                    "offset": lines.offset,
                    "time_ns": time_ns,
                    "seen": list(seen),
                }
            )
            if not faults:
                yield rows
    faults.raise_any()
    yield gatherer.take()


def _sample_of(line: str) -> tuple[int, float]:
    plain = _PLAIN_ROW.match(line)
    if plain is not None:  # nearly every line of nearly every file, in a third of the time
        return int(plain[1]) * 1_000_000_000, float(plain[2])
    stamp, comma, rest = line.partition(",")
    if not comma:
        msg = "a row needs a timestamp and a value"
        raise ValueError(msg)
    return time_ns_of(stamp.strip(" ")), number_of(rest.partition(",")[0].strip(" "))


def _check_header(path: Path, line: str) -> int | None:
    """Which column holds the calls, None when there is none."""
    names = [name.strip().lower().strip('"') for name in line.split(",")]
    if len(names) < 2 or names[0] not in ("timestamp", "time") or names[1] != "value":
        raise malformed(path, 1, "the header must begin with timestamp,value")
    if names.count("weight") > 1:
        raise malformed(path, 1, "the header names weight twice")
    return names.index("weight") if "weight" in names else None


def _weight_in(line: str, column: int) -> float:
    fields = line.split(",")
    if len(fields) <= column:
        msg = f"a row needs {column + 1} fields, as the header has a weight there"
        raise ValueError(msg)
    return _weight_of(fields[column].strip(" "))


def _last_fields(rest: str) -> tuple[str, str, str]:
    fields = rest.rsplit(",", 2)
    if len(fields) != 3:
        msg = f"a row needs {len(LONG_HEADER)} fields"
        raise ValueError(msg)
    return fields[0], _unquoted(fields[1]), _unquoted(fields[2])


def _unquoted(text: str) -> str:
    """A number or a column's name as it is where a writer quotes every field."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _check_time(stamp: str, time_ns: int, *, before_ns: int, not_after_ns: int) -> None:
    if time_ns < before_ns:
        msg = f"timestamp {stamp} goes back in time; sort the file by time"
        raise ValueError(msg)
    if time_ns > not_after_ns:
        msg = f"timestamp {stamp} lies in the future"
        raise ValueError(msg)


def _key_of(labels: str) -> SeriesKey:
    try:
        fields = next(csv.reader([labels], strict=True))
    except csv.Error as error:
        msg = f"labels cannot be read: {error}"
        raise ValueError(msg) from error
    if len(fields) != 4:
        msg = f"a row needs {len(LONG_HEADER)} fields"
        raise ValueError(msg)
    for name, text in zip(SeriesKey._fields, fields, strict=True):
        check_label(name, text)
    key = SeriesKey(*fields)
    check_signal(key.signal)
    return key


def _weight_of(text: str) -> float:
    weight = number_of(text)
    if weight < 0:
        msg = f"weight {text} is negative"
        raise ValueError(msg)
    return weight
