"""What has come for one window that is not closed yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sentinel.core.model import (
    CallExemplar,
    DistributionPoint,
    MeasuredColumns,
    NumberPoint,
    Placed,
    PointStream,
    Reading,
    Scope,
    ScrapedColumns,
    SeriesKey,
)
from sentinel.core.series.calls import CallCounts, slot_of
from sentinel.core.series.event_window import EventWindow
from sentinel.core.series.exemplars import NamedCalls
from sentinel.core.series.logs import LogWindow


class OpenWindow:
    """What has come for one window so far.

    Attributes:
        calls: its calls, counted.
        complete: its calls that complete logs tell of, counted.
        exemplars: the calls worth naming, by slot of the place and outcome.
        numbers, distributions: its metric points, held because their order of arrival must not matter.
        scraped: its metrics pages, held for the same reason.
        measured: what other systems have worked out for it.
        logs: its log records, counted.
        events: its events, counted.
    """

    __slots__ = (
        "calls",
        "complete",
        "distributions",
        "events",
        "exemplars",
        "logs",
        "measured",
        "numbers",
        "scraped",
    )

    def __init__(self) -> None:
        self.calls = CallCounts()
        self.complete = CallCounts()
        self.exemplars: dict[tuple[int, bool], NamedCalls] = {}
        self.numbers: list[NumberPoint] = []
        self.distributions: list[DistributionPoint] = []
        self.scraped: list[ScrapedColumns] = []
        self.measured: list[MeasuredColumns] = []
        self.logs = LogWindow()
        self.events = EventWindow()

    @property
    def pending_point_count(self) -> int:
        """How many metric points are held."""
        return len(self.numbers) + len(self.distributions)

    @property
    def pending_cell_count(self) -> int:
        """How many numbers of pages are held."""
        return sum(len(one.value) for held in (self.scraped, self.measured) for one in held)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What open windows still speak of; forgotten, it would be counted under no name or under another's.

    Attributes:
        scope_slots: slots of places that calls were counted under.
        scopes: places that histograms may add calls to.
        gauges: series that points or log records belong to.
        gauge_slots: slots of series that events belong to.
        streams: streams that have points.
        pages: metrics pages.
    """

    scope_slots: set[int] = field(default_factory=set)
    scopes: set[Scope] = field(default_factory=set)
    gauges: set[SeriesKey] = field(default_factory=set)
    gauge_slots: set[int] = field(default_factory=set)
    streams: set[PointStream] = field(default_factory=set)
    pages: list[ScrapedColumns] = field(default_factory=list)


def held_by(windows: Iterable[OpenWindow]) -> Held:
    """What these windows speak of."""
    held = Held()
    for window in windows:
        for counts in (window.calls, window.complete):
            key, _ = counts.totals()
            held.scope_slots.update(np.unique(slot_of(key)).tolist())
        held.gauge_slots.update(window.events.named)
        held.scope_slots.update(slot for slot, _ in window.exemplars)
        held.gauges.update(window.logs.counts)
        for number in window.numbers:
            held.streams.add(number.stream)
            held.gauges.add(SeriesKey(*number.scope, number.signal))
        for point in window.distributions:
            held.streams.add(point.stream)
            held.scopes.add(point.scope)
            held.gauges.update(key for key in distribution_keys(point) if key is not None)
        for measured in window.measured:
            held.gauges.update(measured.keys)
        for columns in window.scraped:
            held.pages.append(columns)
            for stream in np.unique(columns.table.stream_of_cell[columns.cell]).tolist():
                placed = columns.table.placed[stream]
                held.scopes.add(placed.scope)
                held.gauges.update(keys_of(placed))
    return held


def distribution_keys(point: DistributionPoint) -> tuple[SeriesKey | None, SeriesKey]:
    """The two gauges of a distribution that is not of calls: its rate, if that is one, and its 95th percentile."""
    return _rate_and_p95(point.scope, point.signal, bare=point.bare)


def keys_of(placed: Placed) -> tuple[SeriesKey, ...]:
    """The gauges a scraped stream becomes: one for a number, rate and quantile for a histogram, or that alone."""
    if placed.reading < Reading.DISTRIBUTION:
        return (SeriesKey(*placed.scope, placed.signal),)
    rate, p95 = _rate_and_p95(placed.scope, placed.signal, bare=placed.bare)
    return (p95,) if rate is None else (rate, p95)


def _rate_and_p95(scope: Scope, signal: str, *, bare: bool) -> tuple[SeriesKey | None, SeriesKey]:
    if bare:
        return None, SeriesKey(*scope, signal)
    return SeriesKey(*scope, f"{signal}:rate"), SeriesKey(*scope, f"{signal}:p95")
