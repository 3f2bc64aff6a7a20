"""A page whose lines are known: their values are read all at once.

From one scrape to the next a page has the same lines in the same order, with other values. So once its lines are known, what
stands in front of the values is compared, and what is left is read as one JSON list of numbers, which is twenty times as
fast as reading line by line. Nothing is taken for granted by that:

- a line that does not begin as it did, a comment that has changed, or a line more or less: the page is learned anew;
- a value that is not written as a JSON number, or that a timestamp follows, has characters that no number has, and is read
  on its own.
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
from sentinel.core.normalise.prometheus.heads import Heads, text_of
from sentinel.errors import MalformedInputError

FAULTS_MAX = 5
"""So many lines that make no sense are told of; the others are counted."""

_NUMBERS = b"0123456789+-.eE,\n"
_NOT_FINITE = (b"NaN", b"+Inf", b"-Inf")

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
        beginnings = [b""] * self.line_count
        for at, head in zip(self.sample_lines, self.heads, strict=True):
            beginnings[at] = head
        for at, line in zip(self.fixed_lines, self.fixed, strict=True):
            beginnings[at] = line
        self._heads = Heads(beginnings, self.sample_lines)

    _heads: Heads = field(init=False, repr=False)

    def values(self, body: bytes, *, strict: bool) -> PageValues | None:
        """The values of a page that is laid out like this, or None when it is not.

        Raises:
            MalformedInputError: a line's end makes no sense, and that is not put up with.
        """
        ends = self._heads.ends(body)
        if ends is None:
            return None
        if not len(ends.at):
            return PageValues(np.empty(0))
        # What follows a value is nothing that is used here, but where it is a time.
        text = text_of(body, ends, without_exemplars=not strict)
        value = None if text is None else _numbers_of(text, len(ends.at))
        return self._one_by_one(body, strict=strict) if value is None else PageValues(value)

    def _one_by_one(self, body: bytes, *, strict: bool) -> PageValues:
        lines = body.split(b"\n")
        value = np.full(len(self.heads), np.nan)
        timestamp = np.full(len(self.heads), np.nan)
        faults: list[str] = []
        wrong: list[int] = []
        for at, (number, head) in enumerate(zip(self.sample_lines, self.heads, strict=True)):
            try:
                # A number that is set to the right has more blanks in front of it as soon as it is shorter.
                end = lines[number][len(head) :].lstrip(b" \t")
                tail = tail_of(end.decode("utf-8", "replace"))
            except MalformedInputError as error:
                fault = f"line {number + 1}: {error}"
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


def _numbers_of(text: bytes, count: int) -> NDArray[np.float64] | None:
    """As many numbers as there should be; None when there is anything else."""
    if text.translate(None, _NUMBERS):
        plain = text
        for word in _NOT_FINITE:
            plain = plain.replace(word, b"")
            text = text.replace(word, b"null")
        if plain.translate(None, _NUMBERS):
            return None
    try:
        numbers = orjson.loads(b"[" + text + b"]")
    except orjson.JSONDecodeError:
        return None
    return np.array(numbers, np.float64) if len(numbers) == count else None
