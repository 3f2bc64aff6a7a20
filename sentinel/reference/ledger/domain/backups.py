"""Base backups of an archive: which of them a server can come back from, and what none of them needs any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sentinel.reference.ledger.domain.wal import between, is_wal_file, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One base backup; it counts only once its description is stored, which is last.

    Attributes:
        name: its folder below `base/`; names are in the order of their times.
        begun_s: Unix seconds by the database's clock before it began.
        ended_s: likewise, after it had ended: no point before this can be restored from it.
        first_segment: the segment of the log that recovery begins with.
        last_segment: the one without which it is not whole; empty where that was not noted.
    """

    name: str
    begun_s: float
    ended_s: float
    first_segment: str
    last_segment: str = ""


def restorable(backups: Sequence[Backup], segments: Collection[str]) -> list[Backup]:
    """Return those whose own part of the log is archived, in their order.

    Args:
        backups: descriptions, the oldest first.
        segments: names of the log's files in the archive.
    """
    there = frozenset(segments)
    return [
        one
        for one in backups
        if there.issuperset(between(one.first_segment, one.last_segment or one.first_segment))
    ]


def unneeded(backups: Sequence[Backup], keys: Collection[str], *, before_s: float) -> list[str]:
    """Return the keys without which every point from `before_s` on can still be restored, in order.

    What is kept begins with a backup: the newest restorable one that had ended by then. While there is none, everything is
    kept, whatever its age: so the last good backup stays, and the log after it, for as long as nobody has taken a newer one.

    Args:
        backups: descriptions, the oldest first.
        keys: all that the archive holds below `base/` and `wal/`.
        before_s: Unix seconds; points before it need no longer be restorable.
    """
    segments = {key.rpartition("/")[2] for key in keys if key.startswith("wal/")}
    old = [one for one in restorable(backups, segments) if one.ended_s <= before_s]
    if not old:
        return []
    first = old[-1]
    kept = {one.name for one in backups if one.ended_s >= first.ended_s}
    # One that is kept may have begun earlier than the one that ended first.
    begins = min(place(one.first_segment) for one in backups if one.name in kept)
    return sorted(
        key for key in keys if _is_left_over(key, kept, first.name) or _is_before(key, begins)
    )


def _is_left_over(key: str, kept: Collection[str], first: str) -> bool:
    """Say whether it is of a backup before the first that is kept, or of one that never became whole."""
    if not key.startswith("base/"):
        return False
    name = key.split("/")[1]
    return name not in kept and name < first


def _is_before(key: str, begins: int) -> bool:
    """Say whether it is of the log before `begins`; histories of timelines are small, and all are needed."""
    name = key.rpartition("/")[2]
    return (
        key.startswith("wal/")
        and is_wal_file(name)
        and not name.endswith(".history")
        and place(name[:24]) < begins
    )
