"""Lines of a file to records: parts of container lines joined, then lines that belong together, such as a stack trace.

For each stream of a file (`stdout`, `stderr`, or one without a name) at most one record is unfinished. It is known where
it begins, so that a reader that starts again can begin there: `starts` says for each stream from which place in the file
on its lines were not handed out. Everything is bounded: a record beyond its bound is cut, and how many were is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sentinel.core.normalise.logs.containers import unwrap
from sentinel.core.normalise.logs.settings import ContainerFormat, JoinSettings, Multiline


class Record(NamedTuple):
    """What one or more lines say together.

    Attributes:
        start: where in the file it begins.
        time: when a container's runtime got its first line, as it wrote that; or "".
        text: its lines, with line feeds between them.
    """

    start: int
    time: str
    text: bytes


@dataclass(slots=True)
class _Stream:
    """An unfinished record: its whole lines, and the parts of one that goes on."""

    start: int
    time: str
    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    part: bytes = b""
    goes_on: bool = False
    is_cut: bool = False


class LineJoiner:
    """Joins the lines of one file."""

    def __init__(self, settings: JoinSettings) -> None:
        self._settings = settings
        self._plain = (
            settings.container is ContainerFormat.NONE and settings.multiline is Multiline.NONE
        )
        self._streams: dict[str, _Stream] = {}
        self.cut_count = 0
        """Records that were cut at a bound; whoever reads it sets it back."""

    @property
    def is_waiting(self) -> bool:
        """Whether a record is unfinished."""
        return bool(self._streams)

    def starts(self) -> dict[str, int]:
        """Where the unfinished record of each stream begins."""
        return {name: stream.start for name, stream in self._streams.items()}

    def feed(
        self, line: bytes, start: int, ready: list[Record], after: Mapping[str, int] | None = None
    ) -> None:
        """Take the line that begins at `start`; records that it shows to be whole are added to `ready`.

        With `after`, lines of a stream that begin before its place in it were handed out already, and are passed over;
        `*` is the place of streams that are not named.
        """
        if self._plain:
            if after is None or start >= after[EVERY]:
                ready.append(Record(start, "", line))
            return
        name, time, text, goes_on = unwrap(line, self._settings.container)
        if after is not None and start < after.get(name, after[EVERY]):
            return
        stream = self._streams.get(name)
        if stream is not None and not stream.goes_on and self._is_first(text, stream):
            ready.append(_record(stream))
            stream = None
        if stream is None:
            stream = self._streams[name] = _Stream(start=start, time=time)
        self._add_part(stream, text)
        stream.goes_on = goes_on
        if not goes_on:
            self._add_line(stream)
            if self._settings.multiline is Multiline.NONE:
                ready.append(_record(stream))
                del self._streams[name]

    def flush(self, ready: list[Record], before: Mapping[str, int] | None = None) -> None:
        """Take what is unfinished for whole; with `before`, only what begins before its stream's place in it."""
        for name, stream in list(self._streams.items()):
            if before is None or stream.start < before.get(name, before[EVERY]):
                if stream.goes_on:
                    self._add_line(stream)
                ready.append(_record(stream))
                del self._streams[name]

    def _add_part(self, stream: _Stream, text: bytes) -> None:
        room = self._settings.bytes_max - stream.size - len(stream.part)
        if len(text) > room:
            self._cut(stream)
            text = text[: max(room, 0)]
        stream.part += text

    def _add_line(self, stream: _Stream) -> None:
        line, stream.part, stream.goes_on = stream.part, b"", False
        if stream.is_cut and not line and stream.lines:
            return
        if len(stream.lines) >= self._settings.lines_max:
            self._cut(stream)
            return
        stream.lines.append(line)
        stream.size += len(line) + 1

    def _cut(self, stream: _Stream) -> None:
        self.cut_count += not stream.is_cut
        stream.is_cut = True

    def _is_first(self, text: bytes, stream: _Stream) -> bool:
        """Whether a line begins a record, as far as the lines before it tell."""
        if self._settings.multiline is Multiline.FIRST:
            first = self._settings.first
            return first is None or first.search(text[:_LOOKED_AT_BYTES]) is not None
        if not text or text[:1] in _INDENTS or text.startswith(_GOES_ON):
            return False
        # The last line of a Python stack trace is not indented.
        after_indented = bool(stream.lines) and stream.lines[-1][:1] in _INDENTS
        return not (after_indented and _RAISED.match(text))


EVERY = "*"
"""In places by stream: that of every stream that is not named."""

_LOOKED_AT_BYTES = 1024
_INDENTS = (b" ", b"\t")
_GOES_ON = (
    b"Traceback (most recent call last)",
    b"During handling of the above exception",
    b"The above exception was",
    b"Caused by: ",
    b"}",
    b"]",
)
"""How lines begin that are part of what is before them and not indented."""
_RAISED = re.compile(rb"[A-Za-z_][\w.]{0,200}(?:Error|Exception|Interrupt|Exit|Warning)(?::|$)")


def _record(stream: _Stream) -> Record:
    return Record(stream.start, stream.time, b"\n".join(stream.lines))
