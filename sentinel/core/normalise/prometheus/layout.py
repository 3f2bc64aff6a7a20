"""A page whose lines are known: their values are read all at once.

From one scrape to the next a page has the same lines in the same order, with other values. So once its lines are known, what
stands in front of the values is cut off, and what is left is read as one JSON list of numbers, which is ten times as
fast as reading line by line. Nothing is taken for granted by that:

- a line that does not begin as it did keeps its beginning, which holds characters that no number has;
- a value that is not written as a JSON number, a timestamp or an exemplar is seen by the same, and read on its own;
- of comments, and of lines that made no sense, nothing must be left, or there are more numbers than samples.

Where anything differs, the page is learned anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from sentinel.core.model import RejectReason
from sentinel.core.normalise.prometheus.cells import PageCells
from sentinel.core.normalise.prometheus.grammar import tail_of
from sentinel.errors import MalformedInputError

FAULTS_MAX = 5
"""So many lines that make no sense are told of; the others are counted."""

_WITHOUT = bytes.removeprefix
_NUMBERS = b"0123456789+-.eE,"
_NOT_FINITE = (b"NaN", b"+Inf", b"-Inf")
_EXEMPLAR = b" # "
_PART_BYTES = 64_000

Lines = Sequence[bytes]


@dataclass(slots=True)
class PageValues:
    """The values of a page's samples, in the order of its lines.

    Attributes:
        value: float64[n]; NaN also where a line's end makes no sense.
        timestamp: float64[n] as written, NaN where there is none; None when no line has one.
        faults: what made no sense, the first few, with the number of the line.
        wrong: positions of samples whose lines' ends made none.
    """

    value: NDArray[np.float64]
    timestamp: NDArray[np.float64] | None = None
    faults: list[str] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Layout:
    """The lines of a page, and where the values among them belong.

    Attributes:
        line_count: all lines, the empty one after the last newline too.
        heads: of each sample, what stands in front of its value.
        sample_lines: the number of each sample's line, from 0.
        fixed_lines: the same of all others.
        fixed: those lines.
        cells: where the values belong.
        rejected: samples that are left out each time, by reason.
        faults: what made no sense in lines that are left out, the first few.
        wrong_count: how many lines made none.
        families: names of the metrics that are described.
        is_whole: whether nothing of the page is left out that ought to be taken.
        openmetrics: whether it is in that format.
    """

    line_count: int
    heads: list[bytes]
    sample_lines: list[int]
    fixed_lines: list[int]
    fixed: tuple[bytes, ...]
    cells: PageCells
    rejected: Counter[RejectReason]
    faults: list[str]
    wrong_count: int
    families: frozenset[str]
    is_whole: bool
    openmetrics: bool

    def __post_init__(self) -> None:
        self._beginnings = [b""] * self.line_count
        for at, head in zip(self.sample_lines, self.heads, strict=True):
            self._beginnings[at] = head
        for at, line in zip(self.fixed_lines, self.fixed, strict=True):
            self._beginnings[at] = line

    _beginnings: list[bytes] = field(init=False, repr=False)

    def values(self, body: bytes, *, strict: bool) -> PageValues | None:
        """The values of a page that is laid out like this, or None when it is not.

        Raises:
            MalformedInputError: a line's end makes no sense, and that is not put up with.
        """
        joined = self._joined(body)
        if joined is None:
            return None
        value = self._numbers(joined)
        if value is not None:
            return PageValues(value)
        lines = body.split(b"\n")
        if any(lines[at] != line for at, line in zip(self.fixed_lines, self.fixed, strict=True)):
            return None
        samples = [lines[at] for at in self.sample_lines]
        if not strict:
            # What follows a value is nothing that is used here, but where it is a time.
            ends = (line.partition(_EXEMPLAR)[0] for line in map(_WITHOUT, samples, self.heads))
            value = self._numbers(b",".join(ends))
            if value is not None:
                return PageValues(value)
        return self._one_by_one(samples, strict=strict)

    def _joined(self, body: bytes) -> bytes | None:
        """What is left of the lines without their beginnings, with commas between; None when there are more or fewer.

        Part by part, so that the pieces of one are still at hand when it is put together.
        """
        parts: list[bytes] = []
        at = line = 0
        while at <= len(body):
            end = body.find(b"\n", at + _PART_BYTES)
            end = len(body) if end < 0 else end
            lines = body[at:end].split(b"\n")
            beginnings = self._beginnings[line : line + len(lines)]
            parts.append(b",".join(map(_WITHOUT, lines, beginnings)))
            at, line = end + 1, line + len(lines)
        if line != self.line_count:
            return None
        joined = b",".join(parts).strip(b",")
        # Nothing is left of comments.
        while b",," in joined:
            joined = joined.replace(b",,", b",")
        return joined

    def _numbers(self, joined: bytes) -> NDArray[np.float64] | None:
        """One number for each sample; None when there is anything else."""
        if joined.translate(None, _NUMBERS):
            plain = joined
            for word in _NOT_FINITE:
                plain = plain.replace(word, b"")
                joined = joined.replace(word, b"null")
            if plain.translate(None, _NUMBERS):
                return None
        try:
            numbers = orjson.loads(b"[" + joined + b"]")
        except orjson.JSONDecodeError:
            return None
        return np.array(numbers, np.float64) if len(numbers) == len(self.heads) else None

    def _one_by_one(self, samples: Lines, *, strict: bool) -> PageValues | None:
        value = np.full(len(samples), np.nan)
        timestamp = np.full(len(samples), np.nan)
        faults: list[str] = []
        wrong: list[int] = []
        for at, (line, head) in enumerate(zip(samples, self.heads, strict=True)):
            if not line.startswith(head):
                return None
            try:
                tail = tail_of(line[len(head) :].decode("utf-8", "replace"))
            except MalformedInputError as error:
                fault = f"line {self.sample_lines[at] + 1}: {error}"
                if strict:
                    raise MalformedInputError(fault) from None
                wrong.append(at)
                if len(faults) < FAULTS_MAX:
                    faults.append(fault)
                continue
            value[at] = tail.value
            if tail.timestamp is not None:
                timestamp[at] = tail.timestamp
        times = None if np.isnan(timestamp).all() else timestamp
        return PageValues(value, times, faults, wrong)
