"""Past data as OpenMetrics text with timestamps.

Read are gauges: `sentinel_value` and `sentinel_weight` with the labels service, stage, route and signal, and
any other gauge with exactly the labels service, stage and route, whose name becomes the signal. Samples
of other families are passed over and counted. A reader of our own, because the library's takes 20 times
as long: what is in front of a sample's value is the same on each of its lines, so it is parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import numpy as np

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.history.lines import Faults, Lines, number_of, time_ns_of
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

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_QUOTED = r'"(?:[^"\\\n]|\\["\\n])*"'
_HEAD = re.compile(rf"({_NAME})(?:\{{((?:{_NAME}={_QUOTED},?)*)\}})?")
_LABEL = re.compile(rf"({_NAME})=({_QUOTED})(?:,|$)")
_DESCRIPTION = re.compile(rf"# (TYPE|HELP|UNIT) ({_NAME})(?: (.*))?")
_ESCAPE = re.compile(r'\\(["\\n])')
_VALUE, _WEIGHT = "sentinel_value", "sentinel_weight"
_PLACE = frozenset({"service", "stage", "route"})
_HEADS_MAX = 400_000


class _Part(IntEnum):
    """Which column of a row a sample gives."""

    VALUE = 0
    WEIGHT = 1


class OpenMetricsFile:
    """One file, read once.

    Attributes:
        skipped_count: samples that were passed over so far, because they are not such gauges.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._type_of: dict[str, str] = {}
        self._meaning_of: dict[str, tuple[int, _Part] | None] = {}
        self._bounds_of: dict[int, tuple[float, float]] = {}
        self._last_ns: dict[tuple[int, _Part], int] = {}
        self.skipped_count = 0

    def rows(
        self, numbers: SeriesNumbers, *, not_after_ns: int, mark: Mark | None = None
    ) -> Iterator[HistoryRows]:
        """The samples, batch by batch; a sample gives a value or a weight, and NaN for the other.

        With the `mark` of a batch it goes on after that; `numbers` must be those of then.

        Raises:
            MalformedInputError: the file breaks a rule of the format, has a sample without a
                timestamp or after `not_after_ns`, or with a value that its signal cannot have, or
                does not end with `# EOF`; the message has a line a fault, each with file and line.
        """
        gatherer = RowGatherer()
        faults = Faults(self._path)
        line_number = 0
        ended = False
        lines = Lines(self._path)
        if mark is not None:
            lines = self._gone_on(mark, numbers)
        for line_number, line in lines:
            try:
                if ended:
                    msg = "there is something after # EOF"
                    raise ValueError(msg)  # noqa: TRY301  # told with its place, like the others
                if line == "# EOF":
                    ended = True
                elif line.startswith("#"):
                    self._describe(line)
                else:
                    self._sample(line, numbers, gatherer, not_after_ns=not_after_ns)
            except ValueError as error:
                faults.add(line_number, error)
            if gatherer.is_full:
                rows = gatherer.take(self._mark(lines))
                if not faults:
                    yield rows
        if not ended:
            faults.add(line_number, "the file does not end with # EOF")
        faults.raise_any()
        yield gatherer.take()

    def _mark(self, lines: Lines) -> Mark:
        return {
            "line": lines.number,
            "offset": lines.offset,
            "types": self._type_of,
            "last": [
                [number, int(part), at_ns] for (number, part), at_ns in self._last_ns.items()
            ],
            "skipped": self.skipped_count,
        }

    def _gone_on(self, mark: Mark, numbers: SeriesNumbers) -> Lines:
        self._type_of = dict(mark["types"])
        self._last_ns = {
            (int(number), _Part(part)): int(at_ns) for number, part, at_ns in mark["last"]
        }
        for number, key in enumerate(numbers.keys):
            self._bounds_of[number] = bounds_of(kind_of_signal(key.signal))
        self.skipped_count = int(mark["skipped"])
        return Lines(self._path, number=int(mark["line"]), offset=int(mark["offset"]))

    def _describe(self, line: str) -> None:
        match = _DESCRIPTION.fullmatch(line)
        if match is None:
            msg = "only TYPE, HELP, UNIT and EOF may follow #"
            raise ValueError(msg)
        if match[1] == "TYPE":
            self._type_of[match[2]] = match[3] or ""

    def _sample(
        self, line: str, numbers: SeriesNumbers, gatherer: RowGatherer, *, not_after_ns: int
    ) -> None:
        head, _, rest = line.rpartition(" ")
        head, _, value_text = head.rpartition(" ")
        if head in self._meaning_of:
            meaning = self._meaning_of[head]
        else:
            meaning = self._meaning(head, line, numbers)
        if meaning is None:
            self.skipped_count += 1
            return
        time_ns = time_ns_of(rest)
        if time_ns > not_after_ns:
            msg = f"timestamp {rest} lies in the future"
            raise ValueError(msg)
        if time_ns <= self._last_ns.get(meaning, -1):
            msg = f"timestamp {rest} is not after the one before it in the same series"
            raise ValueError(msg)
        self._last_ns[meaning] = time_ns
        number = number_of(value_text)
        if meaning[1] is _Part.VALUE:
            lowest, highest = self._bounds_of[meaning[0]]
            if number < lowest or number > highest:
                kind = kind_of_signal(numbers.keys[meaning[0]].signal)
                raise ValueError(beyond_bounds(kind, number))
            gatherer.add(meaning[0], time_ns, number, np.nan)
        elif number < 0:
            msg = f"weight {value_text} is negative"
            raise ValueError(msg)
        else:
            gatherer.add(meaning[0], time_ns, np.nan, number)

    def _meaning(self, head: str, line: str, numbers: SeriesNumbers) -> tuple[int, _Part] | None:
        """What samples with this head are to us; None when they are passed over."""
        match = _HEAD.match(line)
        if match is None:
            msg = "not a sample"
            raise ValueError(msg)
        name = match[1]
        if self._type_of.get(name, "unknown") not in ("gauge", "unknown") or (
            self._family_is_described(name)
        ):
            return None
        if match[0] != head:
            fields = len(line[match.end() :].split())
            msg = "a sample needs a timestamp" if fields == 1 else "not a sample"
            raise ValueError(msg)
        labels = _labels_of(match[2] or "")
        part = _Part.WEIGHT if name == _WEIGHT else _Part.VALUE
        if name in (_VALUE, _WEIGHT) and labels.keys() == {*_PLACE, "signal"}:
            signal = labels["signal"]
        elif name not in (_VALUE, _WEIGHT) and labels.keys() == _PLACE:
            signal = name
        else:
            self._remember(head, None)
            return None
        key = SeriesKey(labels["service"], labels["stage"], labels["route"], signal)
        for label, text in zip(SeriesKey._fields, key, strict=True):
            check_label(label, text)
        check_signal(signal)
        meaning = (numbers.number(key), part)
        self._bounds_of[meaning[0]] = bounds_of(kind_of_signal(signal))
        self._remember(head, meaning)
        return meaning

    def _family_is_described(self, name: str) -> bool:
        """Whether the sample belongs to a described family of another name, such as a histogram's count."""
        for suffix in (
            "_total",
            "_created",
            "_bucket",
            "_count",
            "_sum",
            "_info",
            "_gcount",
            "_gsum",
        ):
            family = name.removesuffix(suffix)
            if family != name and self._type_of.get(family, "gauge") not in ("gauge", "unknown"):
                return True
        return False

    def _remember(self, head: str, meaning: tuple[int, _Part] | None) -> None:
        if len(self._meaning_of) < _HEADS_MAX:
            self._meaning_of[head] = meaning


def _labels_of(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, quoted in _LABEL.findall(text):
        if name in labels:
            msg = f"label {name} is there twice"
            raise ValueError(msg)
        labels[name] = _ESCAPE.sub(
            lambda match: "\n" if match[1] == "n" else match[1], quoted[1:-1]
        )
    return labels
