"""Which places, gauges and services are live, and the cap on how many series they may be.

What comes after the cap has the overflow series' slot; a name that is known is never put out for one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    OVERFLOW,
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    SIGNAL_TRAFFIC,
    Scope,
    SeriesKey,
)
from sentinel.core.series.layout import Layout, layout_of
from sentinel.core.series.open_window import Held
from sentinel.core.series.settings import SERIES_PER_SCOPE
from sentinel.core.series.slots import Name, Slots

OVERFLOW_SCOPE = Scope(OVERFLOW, OVERFLOW, OVERFLOW)
OVERFLOW_POINTS = SeriesKey(OVERFLOW, OVERFLOW, OVERFLOW, "points")
"""Gauges over the cap cannot be added up; this series counts their points a second instead."""


class LiveNames:
    """The live names and when each last had data or was heard.

    Attributes:
        held: whether no new name may become live for the moment.
        measured: gauges whose values another system works out; they have the kind of their signal.
        scopes: places of calls, three series each.
        gauges: all other series.
    """

    def __init__(self, *, series_count_max: int) -> None:
        """Know no name; at most `series_count_max` series will be live, the overflow series not counted."""
        self._series_count_max = series_count_max
        self.held = False
        self.scopes: Slots[Scope] = Slots()
        self.gauges: Slots[SeriesKey] = Slots()
        self.measured: set[SeriesKey] = set()
        self._services: Slots[str] = Slots()
        self._layout: Layout | None = None

    @property
    def series_count(self) -> int:
        """How many series are live."""
        return SERIES_PER_SCOPE * len(self.scopes) + len(self.gauges)

    @property
    def room(self) -> int:
        """How many more may become live."""
        return 0 if self.held else max(0, self._series_count_max - self.series_count)

    def scope_slot(self, scope: Scope) -> int:
        """The slot of a place, a new one if there is room, else that of the overflow."""
        slot = self.scopes.find(scope)
        if slot is not None:
            return slot
        if scope != OVERFLOW_SCOPE and self.room < SERIES_PER_SCOPE:
            return self.scope_slot(OVERFLOW_SCOPE)
        return self.scopes.take(scope, group=self._services.take(scope.service))

    def gauge_slot(self, key: SeriesKey) -> int:
        """The slot of a gauge, a new one if there is room, else that of the overflow."""
        slot = self.gauges.find(key)
        if slot is not None:
            return slot
        if key != OVERFLOW_POINTS and not self.room:
            return self.gauge_slot(OVERFLOW_POINTS)
        return self.gauges.take(key, group=self._services.take(key.service))

    def measured_slot(self, key: SeriesKey) -> int | None:
        """The slot of a measured series, a new one if there is room; None when there is none: its values cannot be added up."""
        if key not in self.measured or self.gauges.find(key) is None:
            if self.gauges.find(key) is None and not self.room:
                return None
            self.measured.add(key)
            # The kind it has now is another, where it was live as something else.
            self.gauges.version += 1
        return self.gauge_slot(key)

    def hear(self, service: str, now_ns: int) -> None:
        """Note that a service was heard; one too many is not noted."""
        slot = self._services.find(service)
        if slot is None:
            if len(self._services) >= self._series_count_max:
                return
            slot = self._services.take(service)
        self._services.last_ns[slot] = max(int(self._services.last_ns[slot]), now_ns)

    def hear_late(self, service: str, scopes: Iterable[Scope], now_ns: int) -> None:
        """Note that data of a service came, and of these places of it, but too late; names that are not live are not noted."""
        if (slot := self._services.find(service)) is not None:
            self._services.late_ns[slot] = now_ns
        for scope in scopes:
            if (place := self.scopes.find(scope)) is not None:
                self.scopes.late_ns[place] = now_ns

    def remember(self, keys: Iterable[SeriesKey], *, last_ns: int) -> None:
        """Take series for live that had data at `last_ns`."""
        for key in keys:
            if key.signal in (SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY):
                self.scopes.mark(np.array([self.scope_slot(key.scope)]), last_ns)
            elif key.signal != SIGNAL_SLOW:  # made from the latency of its place
                self.gauges.mark(np.array([self.gauge_slot(key)]), last_ns)

    def layout(self) -> Layout:
        """The order of the series that had data in a closed window; the last layout itself when it still holds."""
        self._layout = layout_of(
            self.scopes, self.gauges, measured=self.measured, last=self._layout
        )
        return self._layout

    def of_services(
        self, layout: Layout, services: Iterable[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """bool[n] each, the places and the gauges of these services."""
        slots = [slot for one in services if (slot := self._services.find(one)) is not None]
        return (
            np.isin(self.scopes.group[layout.scopes], slots),
            np.isin(self.gauges.group[layout.gauges], slots),
        )

    def scopes_heard(self, layout: Layout, start_ns: int) -> NDArray[np.bool_]:
        """bool[n], places whose service was heard since `start_ns`."""
        return self._services.last_ns[self.scopes.group[layout.scopes]] >= start_ns

    def gauges_heard(self, layout: Layout, start_ns: int) -> NDArray[np.bool_]:
        """bool[n], gauges whose service was heard since `start_ns`."""
        return self._services.last_ns[self.gauges.group[layout.gauges]] >= start_ns

    def scopes_late(self, layout: Layout, start_ns: int) -> NDArray[np.bool_]:
        """bool[n], places of which, or of whose service, only late data came since `start_ns`."""
        return self._services_late(self.scopes.group[layout.scopes], start_ns) | (
            self.scopes.late_ns[layout.scopes] >= start_ns
        )

    def gauges_late(self, layout: Layout, start_ns: int) -> NDArray[np.bool_]:
        """bool[n], gauges of whose service only late data came since `start_ns`."""
        return self._services_late(self.gauges.group[layout.gauges], start_ns)

    def _services_late(self, slots: NDArray[np.int32], start_ns: int) -> NDArray[np.bool_]:
        services = self._services
        late: NDArray[np.bool_] = services.late_ns[slots] >= start_ns
        return late & (services.last_ns[slots] < start_ns)

    def are_measured(self, layout: Layout) -> NDArray[np.bool_]:
        """bool[n], gauges whose values another system works out."""
        if not self.measured:
            return np.zeros(len(layout.gauges), np.bool_)
        names = (self.gauges.names[slot] for slot in layout.gauges.tolist())
        return np.array([name in self.measured for name in names], np.bool_)

    def heard_since(self, start_ns: int) -> dict[str, int]:
        """When each service was heard last that was heard since."""
        return _since(self._services, self._services.last_ns, start_ns)

    def late_since(self, start_ns: int) -> tuple[dict[str, int], dict[Scope, int]]:
        """When data of services, and of places, came too late last, where it did since."""
        return (
            _since(self._services, self._services.late_ns, start_ns),
            _since(self.scopes, self.scopes.late_ns, start_ns),
        )

    def hear_late_at(self, services: Mapping[str, int], scopes: Mapping[Scope, int]) -> None:
        """Note when data came too late, as another process knows it; names that are not live are not noted."""
        for service, late_ns in services.items():
            if (slot := self._services.find(service)) is not None:
                self._services.late_ns[slot] = max(int(self._services.late_ns[slot]), late_ns)
        for scope, late_ns in scopes.items():
            if (place := self.scopes.find(scope)) is not None:
                self.scopes.late_ns[place] = max(int(self.scopes.late_ns[place]), late_ns)

    def set_back(self, now_ns: int) -> None:
        """Take what was heard later than now for heard just before, because the clock that said so was wrong.

        Otherwise a silent service would count as heard until then, and its silence as traffic that has stopped.
        """
        for slots in (self.scopes, self.gauges, self._services):
            np.minimum(slots.last_ns, now_ns - 1, out=slots.last_ns)
            np.minimum(slots.late_ns, now_ns - 1, out=slots.late_ns)

    def forget_idle(self, before_ns: int, held: Held) -> int:
        """Forget what had no data since `before_ns` and no open window holds; how many series that were."""
        scopes = [
            slot
            for slot in self.scopes.idle_since(before_ns)
            if slot not in held.scope_slots and self.scopes.names[slot] not in held.scopes
        ]
        gauges = [
            slot
            for slot in self.gauges.idle_since(before_ns)
            if slot not in held.gauge_slots and self.gauges.names[slot] not in held.gauges
        ]
        self.scopes.release(scopes)
        self.gauges.release(gauges)
        services = {scope.service for scope in self.scopes.names if scope is not None}
        services |= {key.service for key in self.gauges.names if key is not None}
        self._services.release(
            [
                slot
                for slot, service in enumerate(self._services.names)
                if service is not None
                and service not in services
                and self._services.last_ns[slot] < before_ns
            ]
        )
        return SERIES_PER_SCOPE * len(scopes) + len(gauges)

    def mend(self) -> None:
        """Go on with the names that are live, after a fault of ours; what is known besides is made to fit them."""
        for slots in (self.scopes, self.gauges, self._services):
            slots.mend()
        for slot, scope in enumerate(self.scopes.names):
            if scope is not None:
                self.scopes.group[slot] = self._services.take(scope.service)
        for slot, key in enumerate(self.gauges.names):
            if key is not None:
                self.gauges.group[slot] = self._services.take(key.service)
        self._layout = None


def _since(slots: Slots[Name], at_ns: NDArray[np.int64], start_ns: int) -> dict[Name, int]:
    found = np.flatnonzero(slots.live[: slots.width] & (at_ns[: slots.width] >= start_ns))
    names = ((slots.names[slot], int(at_ns[slot])) for slot in found.tolist())
    return {name: last_ns for name, last_ns in names if name is not None}
