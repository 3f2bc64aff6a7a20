r"""Lines of container runtimes to the lines the container wrote: CRI (containerd, CRI-O) and Docker's json-file.

CRI: `<time> <stdout|stderr> <tags> <text>`. A tag `P` says that the text goes on in the next line of the same stream, `F` that
it ends here; containerd cuts at 16 KiB. Docker: `{"log": "text\n", "stream": ..., "time": ...}`; a text that does not end
with a line feed goes on. Parts are joined before anything looks into them: a card number may lie across a cut.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from sentinel.core.normalise.logs.settings import ContainerFormat


class Unwrapped(NamedTuple):
    """A part of a line as the container wrote it.

    Attributes:
        stream: `stdout`, `stderr`, or "" where that is not known.
        time: when the runtime got it, as it wrote that; "" when it did not.
        text: without the wrapping.
        goes_on: whether the next part of the same stream continues it.
    """

    stream: str
    time: str
    text: bytes
    goes_on: bool


_CRI = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([A-Z]+(?::[A-Za-z]+)*) ?"
)
_STREAMS = ("stdout", "stderr")


def unwrap(line: bytes, form: ContainerFormat) -> Unwrapped:
    r"""A line without its wrapping; one that is not wrapped as it should be is a line of its own.

    >>> unwrap(b"2026-11-22T06:35:37.1Z stderr P it goes", ContainerFormat.AUTO)
    Unwrapped(stream='stderr', time='2026-11-22T06:35:37.1Z', text=b'it goes', goes_on=True)
    >>> unwrap(b'{"log":"up\\n","stream":"stdout","time":"2026-11-22T06:35:37.1Z"}', ContainerFormat.AUTO)
    Unwrapped(stream='stdout', time='2026-11-22T06:35:37.1Z', text=b'up', goes_on=False)
    """
    if form is not ContainerFormat.NONE:
        if form is not ContainerFormat.DOCKER and (match := _CRI.match(line)) is not None:
            time, stream, tags = match.groups()
            return Unwrapped(
                stream.decode(), time.decode(), line[match.end() :], tags.split(b":")[0] == b"P"
            )
        if form is not ContainerFormat.CRI and line[:1] == b"{":
            found = _docker(line)
            if found is not None:
                return found
    return Unwrapped("", "", line, goes_on=False)


def _docker(line: bytes) -> Unwrapped | None:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    log, stream, time = (fields.get(key) for key in ("log", "stream", "time"))
    if type(log) is not str or type(time) is not str or stream not in _STREAMS:
        return None
    text = log.encode("utf-8", "replace")
    goes_on = not text.endswith(b"\n")
    return Unwrapped(stream, time, text if goes_on else text[:-1].removesuffix(b"\r"), goes_on)
