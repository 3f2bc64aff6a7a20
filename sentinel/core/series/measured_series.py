"""Series whose values another system has worked out: which they are, and how they stand beside what is counted here.

    what comes of a place of calls              then
    measured values alone                       they are its series
    measured values, and calls                  the values stand: each call would count twice, so the calls are left out
    calls, and values only before a restart     the calls count, as they would have if nothing had been remembered

A measured series without a value in a window has none: its source answered and left it out, or was not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from sentinel.core.model import (
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    SIGNAL_TRAFFIC,
    MeasuredColumns,
    Scope,
    SeriesKey,
)
from sentinel.core.series.calls import CallCounts, slot_of
from sentinel.core.series.columns import Columns
from sentinel.core.series.counts import SIGNAL_CALLS, SeriesCounts
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import LiveNames

OF_CALLS = frozenset({SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_SLOW})

MayBeMeasured = Callable[[SeriesKey], bool]


class MeasuredSeries:
    """Knows which live series are measured, and by whom."""

    def __init__(self, live: LiveNames, *, may_be_measured: MayBeMeasured) -> None:
        self._live = live
        self._may_be_measured = may_be_measured
        self._source_of: dict[SeriesKey, str] = {}
        self._scopes: dict[Scope, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._live.measured)

    def remember(self, keys: Iterable[SeriesKey], *, last_ns: int) -> list[SeriesKey]:
        """Take series for live that were so before a restart and may have been measured; the others are handed back."""
        others: list[SeriesKey] = []
        for key in keys:
            if key.signal in OF_CALLS and self._may_be_measured(key):
                slot = self._live.measured_slot(key)
                if slot is not None:
                    self._live.gauges.mark(np.array([slot]), last_ns)
                    self._scopes.setdefault(key.scope, False)
            else:
                others.append(key)
        return others

    def values(
        self, told: Iterable[MeasuredColumns], counts: SeriesCounts
    ) -> dict[int, tuple[float, float]]:
        """Value and weight of each series that is told of in one window, by its slot; the last word of several counts."""
        found: dict[int, tuple[float, float]] = {}
        for columns in sorted(told, key=lambda one: one.source):
            for key, value, weight in zip(
                columns.keys, columns.value.tolist(), columns.weight.tolist(), strict=True
            ):
                slot = self._live.measured_slot(key)
                if slot is None:
                    counts.overflow += 1
                    continue
                found[slot] = (value, weight)
                self._source_of[key] = columns.source
                if key.signal in OF_CALLS:
                    self._scopes[key.scope] = True
        return found

    def settle_calls(self, calls: CallCounts, counts: SeriesCounts) -> None:
        """Leave out the calls of places that are measured; to be called when nothing more is added to them."""
        if not self._scopes:
            return
        measured: list[int] = []
        for scope, is_told in list(self._scopes.items()):
            slot = self._live.scopes.find(scope)
            if slot is None:
                continue
            if is_told:
                measured.append(slot)
                # It stays known, so that calls of the next window are left out too, and has no series of its own.
                self._live.scopes.born[slot] = False
        key, count = calls.totals()
        slots = slot_of(key)
        left_out = np.isin(slots, measured)
        if left_out.any():
            counts.told_twice[SIGNAL_CALLS] += int(count[left_out].sum())
            calls.leave_out(np.array(measured, np.int64))
        for slot in np.unique(slots[~left_out]).tolist():
            scope = self._live.scopes.names[slot]
            if scope is not None and self._scopes.get(scope) is False:
                self._forget(scope)

    def mark_unreached(
        self, columns: Columns, layout: Layout, told: Iterable[MeasuredColumns]
    ) -> None:
        """Say of series without a value that nothing came from the one who tells of them, where that is so."""
        answered = {one.source for one in told}
        silent = [key for key, source in self._source_of.items() if source not in answered]
        if silent:
            slots = [slot for key in silent if (slot := self._live.gauges.find(key)) is not None]
            columns.mark_unreached(gauges=np.isin(layout.gauges, slots))

    def forget_idle(self) -> None:
        """Forget what is not live any more."""
        live = self._live
        for key in [key for key in live.measured if live.gauges.find(key) is None]:
            live.measured.discard(key)
            self._source_of.pop(key, None)
        scopes = {key.scope for key in live.measured if key.signal in OF_CALLS}
        self._scopes = {scope: told for scope, told in self._scopes.items() if scope in scopes}

    def _forget(self, scope: Scope) -> None:
        """Let go of series that were taken for measured after a restart, and are not."""
        self._scopes.pop(scope, None)
        gone = [
            key for key in self._live.measured if key.scope == scope and key.signal in OF_CALLS
        ]
        slots = [slot for key in gone if (slot := self._live.gauges.find(key)) is not None]
        self._live.gauges.release(slots)
        self._live.measured.difference_update(gone)
