"""How far the files behind a queue's payloads were taken into it, so that a payload that comes again is known.

Who reads a file notes how far it came only after the queue has what came of it, and a kill in between makes it read the same
again. A payload therefore carries a mark, `(origin, count)`: so many records of this origin, up to and with this payload. The
mark is written in the same write as the payload: the queue has both or neither. Per origin the greatest is kept, and what is
not beyond it was taken before.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

_MARK = Struct("<16sQ")
MARK_BYTES = _MARK.size
MARKS_MAX = 4096
"""Most origins that are remembered, those that were heard of last; as many as positions of files are kept."""


class Marks:
    """The greatest mark of each origin; one thread at a time uses it."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def has(self, marks: Mapping[bytes, int]) -> bool:
        """Whether all that these marks stand for was taken before; False when there are none."""
        return bool(marks) and all(
            count <= self._counts.get(origin, -1) for origin, count in marks.items()
        )

    def note(self, marks: Mapping[bytes, int]) -> None:
        """What has these marks is taken."""
        for origin, count in marks.items():
            known = self._counts.pop(origin, 0)
            self._counts[origin] = max(known, count)
            if len(self._counts) > MARKS_MAX:
                del self._counts[next(iter(self._counts))]

    def newest(self, bytes_max: int) -> dict[bytes, int]:
        """As many as fit, those that were heard of last."""
        fitting = bytes_max // MARK_BYTES
        return dict(list(self._counts.items())[-fitting:]) if fitting else {}


def joined_marks(one: Mapping[bytes, int], other: Mapping[bytes, int]) -> dict[bytes, int]:
    """The marks of two payloads that become one."""
    found = dict(one)
    for origin, count in other.items():
        found[origin] = max(found.get(origin, 0), count)
    return found


def encode_marks(marks: Mapping[bytes, int]) -> bytes:
    """`MARK_BYTES` each."""
    return b"".join(_MARK.pack(origin, count) for origin, count in marks.items())


def decode_marks(raw: bytes) -> dict[bytes, int]:
    """The same back; a rest that is no whole mark is left out."""
    return dict(_MARK.iter_unpack(raw[: len(raw) - len(raw) % MARK_BYTES]))
