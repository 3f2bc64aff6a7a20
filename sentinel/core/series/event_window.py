"""The events of a window that is not closed yet."""

from __future__ import annotations

from sentinel.core.series.calls import CallCounts


class EventWindow:
    """The events of one open window.

    Attributes:
        counts: events, counted by the slot of their series and the bucket of their value.
        named: slots of the series that were looked at, also those that nothing happened to.
    """

    __slots__ = ("counts", "named")

    def __init__(self) -> None:
        self.counts = CallCounts()
        self.named: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.named)
