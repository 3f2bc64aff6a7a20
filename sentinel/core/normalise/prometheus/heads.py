"""What stands in front of a page's values, compared with a page all at once, and the values that are left as one text.

From one scrape to the next, lines begin as they did and end otherwise. Where they end is where the line feeds are; where a value
begins follows from how long its line's beginning is. So beginnings are compared as blocks of bytes, those of like length
together, and values are laid side by side in a table of bytes: a few operations on arrays, and no object a line. That counts
twice in a process that wakes once a second, for what it touches is no longer in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD_BYTES = 8
_VALUE_BYTES_MAX = 32
"""The longest float that anybody writes has some 25."""
_EXEMPLAR = b" # "
_COMMA, _LINE_FEED, _SPACE, _HASH = b",\n #"

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a page's samples, in the order of their lines: where each begins, and how many bytes it has."""

    at: Ints
    length: Ints


@dataclass(frozen=True, slots=True)
class _Block:
    """Beginnings of between `size` and twice as many bytes: their lines, their first bytes and their last, `size` of each."""

    lines: Ints
    size: int
    first: NDArray[Any]
    last: NDArray[Any]

    def begins(self, body: bytes, start: Ints, end: Ints) -> bool:
        """Whether the page has these beginnings, those of all lines being from `start` to `end`."""
        first = _cut(body, start[self.lines], self.size).view(self.first.dtype)
        last = _cut(body, end[self.lines] - self.size, self.size).view(self.last.dtype)
        return bool((first == self.first).all() and (last == self.last).all())


class Heads:
    """The beginnings of the lines of one layout."""

    def __init__(self, beginnings: Sequence[bytes], sample_lines: Sequence[int]) -> None:
        """Know the beginning of each line, and which lines are samples; of all others the beginning is all there is."""
        self._length: Ints = np.array([len(each) for each in beginnings], np.int64)
        self._sample_lines: Ints = np.array(sample_lines, np.int64)
        self._other_lines: Ints = np.setdiff1d(np.arange(len(beginnings)), self._sample_lines)
        self._blocks = _blocks_of(beginnings)

    def ends(self, body: bytes) -> Ends | None:
        """Where the samples of a page end, or None when any line of it begins otherwise."""
        (feeds,) = (np.frombuffer(body, np.uint8) == _LINE_FEED).nonzero()
        if len(feeds) + 1 != len(self._length):
            return None
        start = np.concatenate(([0], feeds + 1))
        at = start + self._length
        length = np.concatenate((feeds, [len(body)])) - at
        if (length < 0).any() or length[self._other_lines].any():
            return None
        for block in self._blocks:
            if not block.begins(body, start, at):
                return None
        return Ends(at[self._sample_lines], length[self._sample_lines])


def text_of(body: bytes, ends: Ends, *, without_exemplars: bool) -> bytes | None:
    """The ends with commas between, filled up with line feeds, which none of them has; None when one is too long.

    Args:
        body: the page.
        ends: of its samples; at least one.
        without_exemplars: whether what follows ` # ` is left out.
    """
    width = min(int(ends.length.max()), _VALUE_BYTES_MAX)
    table, length = _table(body, ends.at, width + 1), ends.length
    if (length > width).any():
        if not without_exemplars:
            return None
        length = _without_exemplars(table, length)
        if (length > width).any():
            return None
    text = _filled(table, length)
    if without_exemplars and (text == _HASH).any():
        text = _filled(table, _without_exemplars(table, length))
    return text.tobytes()


def _filled(table: Bytes, length: Ints) -> Bytes:
    """The first bytes of each row, so many as its length says, a comma at its end and line feeds for the others."""
    kept, filled = _fillings(table.shape[1] - 1)
    text = kept.take(length, axis=0)
    text &= table
    text |= filled.take(length, axis=0)
    text[-1, -1] = _LINE_FEED
    return text


def _without_exemplars(table: Bytes, length: Ints) -> Ints:
    """The lengths of ends up to their ` # `."""
    if table.shape[1] < len(_EXEMPLAR):
        return length
    marked = table[:, 2:] == _SPACE
    marked &= table[:, 1:-1] == _HASH
    marked &= table[:, :-2] == _SPACE
    (rows,) = marked.any(axis=1).nonzero()
    # What is beyond an end is the next line.
    first = marked[rows].argmax(axis=1)
    own = first < length[rows]
    length = length.copy()
    length[rows[own]] = first[own]
    return length


def _blocks_of(beginnings: Sequence[bytes]) -> tuple[_Block, ...]:
    by_size: dict[int, list[int]] = {}
    for line, beginning in enumerate(beginnings):
        if beginning:
            by_size.setdefault(1 << (len(beginning).bit_length() - 1), []).append(line)
    return tuple(
        _Block(
            lines=np.array(lines, np.int64),
            size=size,
            first=_pieces([beginnings[line][:size] for line in lines], size),
            last=_pieces([beginnings[line][-size:] for line in lines], size),
        )
        for size, lines in sorted(by_size.items())
    )


def _pieces(pieces: list[bytes], size: int) -> NDArray[Any]:
    return np.frombuffer(b"".join(pieces), np.uint64 if size >= _WORD_BYTES else np.uint8)


def _cut(body: bytes, at: Ints, size: int) -> NDArray[np.void]:
    """Pieces of a page, all of one size above 0; they must lie within it."""
    # Every place of the page as a piece that begins there: copied are only those that are asked for.
    places: NDArray[np.void] = np.ndarray(
        (len(body) - size + 1,), f"V{size}", buffer=body, strides=(1,)
    )
    return places[at]


def _table(body: bytes, at: Ints, width: int) -> Bytes:
    """uint8[n, width], the bytes from each place on; beyond the end of the page they are of no meaning."""
    body = body.ljust(width)
    last = len(body) - width
    table = _cut(body, np.minimum(at, last), width).view(np.uint8).reshape(-1, width)
    for row in np.flatnonzero(at > last).tolist():
        rest = np.frombuffer(body, np.uint8)[at[row] :]
        table[row, : len(rest)] = rest
    return table


@lru_cache(maxsize=_VALUE_BYTES_MAX + 1)
def _fillings(width: int) -> tuple[Bytes, Bytes]:
    """By the length of an end: which of its row's bytes are kept, and what the others become."""
    own = np.arange(width + 1) < np.arange(width + 1)[:, None]
    filled = np.where(own, 0, _LINE_FEED).astype(np.uint8)
    filled[:, -1] = _COMMA
    return np.where(own, 0xFF, 0).astype(np.uint8), filled
