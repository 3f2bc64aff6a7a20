"""Bytes that were taken in and are not reduced yet: one bound over all receivers and scrapers.

    asked for by       while it holds them
    a request          from its admission until it is answered; what it inflates to is asked for as well
    the reduction      from when it queued a batch until that is part of a window
    a metrics page     while it is asked for and read, as much as the last one weighed
    log files          while a piece of them is read and handed on, as much as a piece may have

Each of them has bounds of its own besides. Together those come to more than a sidecar's memory; this is what they may not
come to. Counting is an addition: it is done for every request.
"""

from __future__ import annotations

LIMIT_BYTES = 64 * 2**20
_PRESSURE_MAX = 0.999
"""What is full for a moment is turned away; only what stays full is an overload."""


class Inflight:
    """The bytes that are held, for one event loop."""

    __slots__ = ("_held_bytes", "_limit_bytes", "_peak_bytes")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._peak_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How many are held now."""
        return self._held_bytes

    def take(self, size_bytes: int, *, own_bytes: int = 0) -> bool:
        """Hold so many more, if there is room; whoever gets True gives them back.

        More than the whole bound is held when nothing is but the `own_bytes` that whoever asks holds already; otherwise it
        could never pass.
        """
        held = self._held_bytes
        total = held + size_bytes
        # What is asked for in vain presses, too: a bound that turns much away is never quite reached.
        if total > self._peak_bytes:
            self._peak_bytes = total
        if total > self._limit_bytes and held > own_bytes:
            return False
        self._held_bytes = total
        return True

    def take_if_calm(self, size_bytes: int) -> bool:
        """The same for what waits where it is: it gets the first half alone, so that it turns no sender away."""
        held = self._held_bytes
        if held and held + size_bytes > self._limit_bytes // 2:
            return False
        return self.take(size_bytes)

    def hold(self, size_bytes: int) -> None:
        """Hold what was let in already, such as a batch that is handed from a request to a queue."""
        self._held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Hold so many less."""
        self._held_bytes -= size_bytes

    def pressure(self) -> float:
        """How full it was at most since this was asked last; below 1."""
        peak, self._peak_bytes = self._peak_bytes, self._held_bytes
        return min(peak / self._limit_bytes, _PRESSURE_MAX)
