"""Histograms of call durations become the calls of a window, where `CallSources` says that they count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import OVERFLOW, DistributionPoint, RejectReason
from sentinel.core.series.call_sources import CallSources, Gain, Stage, stage_of
from sentinel.core.series.calls import key_of, slot_of
from sentinel.core.series.counts import SIGNAL_CALLS, SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import OVERFLOW_SCOPE, LiveNames
from sentinel.core.series.open_window import OpenWindow
from sentinel.core.series.settings import (
    HOUR_NS,
    SERIES_PER_SCOPE,
    CallsFromMetrics,
    SeriesSettings,
)


class CallMetrics:
    """Adds histograms to the calls of windows, takes spans out that they stand for, and says what is not known."""

    def __init__(self, settings: SeriesSettings, live: LiveNames) -> None:
        self._live = live
        self._mode = settings.calls_from_metrics
        self._sources = CallSources(settings.calls_from_metrics, window_ns=settings.window_ns)
        # The last window in which spans told of a place, by its slot: whether they do is asked when a histogram comes.
        self._span_ns: NDArray[np.int64] = np.zeros(0, np.int64)

    def takes(self, point: DistributionPoint) -> bool:
        """Whether a histogram may become calls; any other is a gauge."""
        return point.is_calls and self._mode is not CallsFromMetrics.NEVER

    def settle(
        self, window: OpenWindow, start_ns: int, gains: list[Gain], counts: SeriesCounts
    ) -> None:
        """Make the window's calls what is to be counted, once all of it has come."""
        key, count = window.calls.totals()
        slot = slot_of(key)
        points = [point for point in window.distributions if self.takes(point)]
        if points or self._sources:
            settled = self._sources.settle(
                start_ns,
                points=points,
                gains=gains,
                spans=self._by_stage(np.bincount(slot, count).astype(np.int64)),
                span_seen_ns=self._last_spans() if points else {},
            )
            counts.told_twice[SIGNAL_METRICS] += settled.twice_from_metrics
            counts.told_twice[SIGNAL_CALLS] += settled.twice_from_spans
            if settled.given_up:
                counts.dropped[SIGNAL_METRICS, RejectReason.UNSUPPORTED] += settled.given_up
            if settled.left_out:
                window.calls.leave_out(self._slots_of(settled.left_out))
            for gain in settled.gains:
                self._count(window, gain, start_ns, counts)
        if len(slot):
            if len(self._span_ns) < self._live.scopes.width:
                grown = np.zeros(2 * self._live.scopes.width, np.int64)
                grown[: len(self._span_ns)] = self._span_ns
                self._span_ns = grown
            self._span_ns[slot] = start_ns

    def correct(
        self,
        layout: Layout,
        start_ns: int,
        *,
        value: NDArray[np.float64],
        heard: NDArray[np.bool_],
    ) -> None:
        """Put in what is known of the traffic of places that histograms tell of; columns as in a closed window."""
        if not self._sources:
            return
        for row, slot in enumerate(layout.scopes.tolist()):
            scope = self._live.scopes.names[slot]
            reading = None if scope is None else self._sources.reading(scope, start_ns)
            if reading is not None:
                at = SERIES_PER_SCOPE * row
                value[at], heard[at : at + SERIES_PER_SCOPE] = reading

    def forget_idle(self, start_ns: int) -> None:
        """Forget what has not told of calls for an hour."""
        self._sources.forget_idle(start_ns - HOUR_NS)
        # A slot may have another name next; what spans told of the one before is not about it.
        width = min(len(self._span_ns), self._live.scopes.width)
        self._span_ns[:width][~self._live.scopes.live[:width]] = 0

    def set_back(self) -> None:
        """Begin anew, because the clock was wrong."""
        self._sources.set_back()
        self._span_ns[:] = 0

    def _count(self, window: OpenWindow, gain: Gain, start_ns: int, counts: SeriesCounts) -> None:
        if gain.histogram is None or not len(gain.histogram[0]):
            return
        bucket, count = gain.histogram
        place = self._live.scope_slot(gain.point.scope)
        if place == self._live.scopes.find(OVERFLOW_SCOPE):
            counts.overflow += int(count.sum())
            self._live.hear(OVERFLOW, start_ns)
        slot = np.full(len(bucket), place, np.int64)
        window.calls.add(key_of(slot, bucket, np.full(len(bucket), gain.point.error)), count)

    def _by_stage(self, by_slot: NDArray[np.int64]) -> dict[Stage, int]:
        found: dict[Stage, int] = {}
        for slot in np.flatnonzero(by_slot).tolist():
            scope = self._live.scopes.names[slot]
            if scope is not None:
                stage = stage_of(scope)
                found[stage] = found.get(stage, 0) + int(by_slot[slot])
        return found

    def _last_spans(self) -> dict[Stage, int]:
        found: dict[Stage, int] = {}
        for slot in np.flatnonzero(self._span_ns).tolist():
            scope = self._live.scopes.names[slot] if slot < self._live.scopes.width else None
            if scope is not None:
                stage = stage_of(scope)
                found[stage] = max(found.get(stage, 0), int(self._span_ns[slot]))
        return found

    def _slots_of(self, stages: frozenset[Stage]) -> NDArray[np.int64]:
        return np.array(
            [
                slot
                for slot, scope in enumerate(self._live.scopes.names)
                if scope is not None and stage_of(scope) in stages
            ],
            np.int64,
        )
