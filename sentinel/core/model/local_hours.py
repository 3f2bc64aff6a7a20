"""Which hour of the local day each UTC hour is, for what is kept by hour of day through changes of the clocks.

Hours begin where UTC's do, because nothing that scoring knows changes within one. Where the clock on the wall is half an
hour off, each has the number of the local hour that begins in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOURS_PER_DAY = 24
_HOUR_S = 3600
_HOUR_NS = _HOUR_S * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHours:
    """How many hours a wall clock is ahead of UTC.

    Attributes:
        first: hours ahead before the first of `changes`.
        changes: (from this hour since 1970 on, hours ahead), ascending.
    """

    first: int = 0
    changes: tuple[tuple[int, int], ...] = ()

    def ahead(self, hour: int) -> int:
        """How many hours ahead of UTC the clock is in an hour (since 1970, UTC)."""
        found = self.first
        for begin, hours in self.changes:
            if hour < begin:
                break
            found = hours
        return found

    def of_day(self, hour: int) -> int:
        """The hour of the local day, 0 to 23, of an hour since 1970 (UTC)."""
        return (hour + self.ahead(hour)) % HOURS_PER_DAY

    def to_text(self) -> str:
        """As `local_hours_of_text` reads it.

        >>> LocalHours(first=1, changes=((484_081, 2),)).to_text()
        '1 484081:2'
        """
        return " ".join((str(self.first), *(f"{hour}:{ahead}" for hour, ahead in self.changes)))


UTC_HOURS = LocalHours()


def local_hours(offsets: Sequence[tuple[int, int]]) -> LocalHours:
    """Of the offsets of a zone, as (from this Unix instant in ns, offset from UTC in seconds), ascending.

    >>> local_hours([(0, 19_800)])
    LocalHours(first=6, changes=())
    """
    first = latest = _whole(offsets[0][1])
    changes = []
    for at_ns, seconds in offsets[1:]:
        if (ahead := _whole(seconds)) != latest:
            changes.append(((at_ns + _HOUR_NS // 2) // _HOUR_NS, ahead))
            latest = ahead
    return LocalHours(first=first, changes=tuple(changes))


def local_hours_of_text(text: str) -> LocalHours:
    """From `LocalHours.to_text`; ValueError for anything else."""
    first, *changes = text.split()
    pairs = (change.split(":") for change in changes)
    return LocalHours(
        first=int(first), changes=tuple((int(hour), int(ahead)) for hour, ahead in pairs)
    )


def _whole(seconds: int) -> int:
    """The nearest whole hours; a half counts up."""
    return (seconds + _HOUR_S // 2) // _HOUR_S
