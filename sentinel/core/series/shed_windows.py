"""Windows in which telemetry was turned away: what did not come is not known, and is no fall."""

from __future__ import annotations

from collections.abc import Set

_WINDOWS_MAX = 1024


class ShedWindows:
    """The open windows in which spans or log records were shed, by number; bounded."""

    def __init__(self) -> None:
        self._signals: dict[int, set[str]] = {}

    def note(self, signals: Set[str], *, first: int, last: int) -> None:
        """These signals are shed while the windows `[first, last]` are open."""
        for index in range(max(first, last - _WINDOWS_MAX + 1), last + 1):
            self._signals.setdefault(index, set()).update(signals)

    def take(self, index: int) -> Set[str]:
        """What was shed of a window that is closed now; it and all before it are forgotten."""
        found = self._signals.get(index, set())
        for one in [one for one in self._signals if one <= index]:
            del self._signals[one]
        return found

    def clear(self) -> None:
        """Begin anew, because the clock was wrong."""
        self._signals.clear()
