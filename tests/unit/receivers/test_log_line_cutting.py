"""Goal: a file's bytes are cut into the same lines, at the same places, however they come in.

Method: bytes with empty, ended by CR LF, overlong and unended lines, whole and in pieces of every small size.
"""

from __future__ import annotations

from typing import cast

import pytest

from sentinel.core.normalise.logs.joined import LineJoiner, Record
from sentinel.receivers.log_files.cutting import LINE_BYTES_MAX, LineCutter

DATA = b"one\n\ntwo\r\n" + b"x" * (LINE_BYTES_MAX + 10) + b"\nthree\nrest"


class Heard:
    """A joiner that only notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, int]] = []

    def feed(self, line: bytes, start: int, *_rest: object) -> None:
        """Note a line and where it begins."""
        self.lines.append((line, start))


def cut(size: int) -> tuple[list[tuple[bytes, int]], int, LineCutter]:
    cutter, heard, ready = LineCutter(), Heard(), list[Record]()
    joiner = cast("LineJoiner", heard)
    count = sum(
        cutter.feed(DATA[at : at + size], joiner, ready, None) for at in range(0, len(DATA), size)
    )
    assert cutter.at == len(DATA)
    assert cutter.rest_bytes == len(b"rest")
    cutter.end(joiner, ready, None)
    assert (cutter.offset, cutter.rest_bytes) == (len(DATA), 0)
    return heard.lines, count, cutter


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, LINE_BYTES_MAX + 20])
def test_any_pieces_give_the_same_lines(size: int) -> None:
    lines, count, _ = cut(size)
    assert (lines, count) == cut(len(DATA))[:2]
    starts = [0, 4, 5, 10, 10 + LINE_BYTES_MAX + 11, len(DATA) - 4]
    texts = [b"one", b"", b"two", b"x" * LINE_BYTES_MAX, b"three", b"rest"]
    assert lines == list(zip(texts, starts, strict=True))
    assert count == 1
