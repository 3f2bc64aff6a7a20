"""The bytes of a followed file cut into lines: what is the rest of a line waits for its end, and of a long one only the beginning is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.core.normalise.logs.joined import LineJoiner, Record
from sentinel.core.redact.text import LINE_CHARS_MAX

LINE_BYTES_MAX = LINE_CHARS_MAX + 64
"""What of a line is kept; a little more than is shown, so that it is seen to be cut."""


@dataclass(slots=True)
class LineCutter:
    """Where the lines of a file are cut.

    Attributes:
        offset: where the line begins that has no end yet.
        rest_bytes: how long it is until now.
    """

    offset: int = 0
    rest_bytes: int = 0
    _rest: bytes = b""

    @property
    def at(self) -> int:
        """Up to where bytes came."""
        return self.offset + self.rest_bytes

    def feed(
        self,
        data: bytes,
        joiner: LineJoiner,
        ready: list[Record],
        after: Mapping[str, int] | None,
    ) -> int:
        """Hand the lines that end in the next bytes to a joiner; how many of them were too long to be kept whole."""
        *lines, rest = data.split(b"\n")
        feed, start, cut_count = joiner.feed, self.offset, 0
        for line in lines:
            size = len(line) + 1
            if self.rest_bytes:
                size += self.rest_bytes
                line = self._rest + line[: max(LINE_BYTES_MAX - len(self._rest), 0)]
                self.forget()
            if size > LINE_BYTES_MAX:
                cut_count += 1
                line = line[:LINE_BYTES_MAX]
            if line[-1:] == b"\r":
                line = line[:-1]
            feed(line, start, ready, after)
            start += size
        self.offset = start
        room = LINE_BYTES_MAX - len(self._rest)
        self._rest += rest[: max(room, 0)]
        self.rest_bytes += len(rest)
        return cut_count

    def end(
        self, joiner: LineJoiner, ready: list[Record], after: Mapping[str, int] | None
    ) -> None:
        """Take what has no end for a whole line."""
        line, size = self._rest, self.rest_bytes
        self.forget()
        joiner.feed(line, self.offset, ready, after)
        self.offset += size

    def forget(self) -> None:
        """Let go of what has no end."""
        self._rest, self.rest_bytes = b"", 0
