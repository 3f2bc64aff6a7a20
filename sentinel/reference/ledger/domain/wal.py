"""Names of the files of PostgreSQL's log, and where they are kept in an archive."""

from __future__ import annotations

import re
from typing import Final

_FILE: Final = re.compile(
    r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history", re.ASCII
)
_SEGMENT: Final = re.compile(r"[0-9A-F]{24}", re.ASCII)


def is_wal_file(name: str) -> bool:
    """Say whether PostgreSQL archives files of such a name."""
    return _FILE.fullmatch(name) is not None


def is_segment(name: str) -> bool:
    """Say whether it is a whole segment of the log."""
    return _SEGMENT.fullmatch(name) is not None


def wal_key(name: str) -> str:
    """Return where a file of the log is kept: by its timeline, so that one can be listed by itself."""
    return f"wal/{name[:8]}/{name}"


def needed_from(names: list[str], first_segment: str) -> list[str]:
    """Return the files that a recovery from a base backup can need, which began in `first_segment`.

    Of every timeline: a recovery follows the history that the target is in. Histories are all needed.
    """
    place = first_segment[8:]
    return [
        name
        for name in names
        if name.endswith(".history") or (is_segment(name) and name[8:] >= place)
    ]


def gaps(names: list[str]) -> list[str]:
    """Return the segments that are missing between the first and the last of each timeline."""
    missing = []
    by_timeline: dict[str, list[int]] = {}
    for name in names:
        if is_segment(name):
            by_timeline.setdefault(name[:8], []).append(place(name))
    for timeline, numbers in sorted(by_timeline.items()):
        there = set(numbers)
        missing += [
            _name(timeline, number)
            for number in range(min(numbers), max(numbers))
            if number not in there
        ]
    return missing


def between(first: str, last: str) -> list[str]:
    """Return the segments from one to another; of two timelines, or in the wrong order, the first alone."""
    if first[:8] != last[:8]:
        return [first]
    return [
        first,
        *(_name(first[:8], number) for number in range(place(first) + 1, place(last) + 1)),
    ]


def place(name: str) -> int:
    """Return how many segments the log had before this one, on whichever timeline."""
    # 256 segments of 16 MiB to each of the middle's numbers.
    return int(name[8:16], 16) * 256 + int(name[16:24], 16)


def _name(timeline: str, number: int) -> str:
    return f"{timeline}{number // 256:08X}{number % 256:08X}"
