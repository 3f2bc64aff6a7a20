"""How far a replica is behind, in bytes and in seconds, as somebody sees it who looks at both servers.

The seconds are told by one clock, the watcher's: how long ago the primary was last seen no further than the
replica is now. The replica's own measure, the age of the last transaction it replayed, grows on an idle primary.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_SEEN_COUNT_MAX: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far behind a replica is."""

    behind_bytes: int
    behind_s: float


class LagClock:
    """Remembers where the primary was and when, and tells from it how late a replica is."""

    def __init__(self) -> None:
        # Where the primary was and when it was seen there, in the order of both.
        self._seen: deque[tuple[int, float]] = deque(maxlen=_SEEN_COUNT_MAX)

    def primary_at(self, lsn: int, now_s: float) -> None:
        """Note where the primary is; one that is back before it was begins a new history."""
        if self._seen and lsn < self._seen[-1][0]:
            self._seen.clear()
        if self._seen and lsn == self._seen[-1][0]:
            self._seen.pop()  # it stood still: what counts is when it was last there
        self._seen.append((lsn, now_s))

    def lag(self, replayed_lsn: int) -> Lag | None:
        """Return how late a replica is that has come this far; None while the primary was never seen."""
        if not self._seen:
            return None
        newest_lsn, now_s = self._seen[-1]
        behind_bytes = max(newest_lsn - replayed_lsn, 0)
        if behind_bytes == 0:
            return Lag(behind_bytes=0, behind_s=0.0)
        # At least as long as it is remembered, when it has not even come to where that begins.
        reached_s = self._seen[0][1]
        for lsn, seen_s in reversed(self._seen):
            if lsn <= replayed_lsn:
                reached_s = seen_s
                break
        return Lag(behind_bytes=behind_bytes, behind_s=now_s - reached_s)
