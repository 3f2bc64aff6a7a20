"""What has come for one window that is not closed yet."""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.core.model import CallExemplar, DistributionPoint, NumberPoint
from sentinel.core.series.calls import CallCounts
from sentinel.core.series.exemplars import NamedCalls
from sentinel.core.series.logs import LogWindow


class OpenWindow:
    """What has come for one window so far.

    Attributes:
        calls: its calls, counted.
        exemplars: the calls worth naming, by slot of the place and outcome.
        numbers, distributions: its metric points, held because their order of arrival must not matter.
        logs: its log records, counted.
    """

    __slots__ = ("calls", "distributions", "exemplars", "logs", "numbers")

    def __init__(self) -> None:
        self.calls = CallCounts()
        self.exemplars: dict[tuple[int, bool], NamedCalls] = {}
        self.numbers: list[NumberPoint] = []
        self.distributions: list[DistributionPoint] = []
        self.logs = LogWindow()

    def name_call(self, slot: int, call: CallExemplar) -> None:
        """Look at a call that may be worth naming."""
        name = (slot, call.error)
        kept = self.exemplars.get(name)
        self.exemplars[name] = (
            NamedCalls(first=call, slowest=call) if kept is None else kept.with_call(call)
        )

    def named_calls(self) -> Iterator[tuple[int, bool, CallExemplar]]:
        """Slot, outcome and call, in order of time within a place and outcome."""
        for (slot, error), named in self.exemplars.items():
            yield slot, error, named.first
            if named.slowest is not named.first:
                yield slot, error, named.slowest
