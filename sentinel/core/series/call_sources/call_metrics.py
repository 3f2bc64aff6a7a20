"""Histograms of durations and logged calls become the calls of a window, where their sources say that they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import OVERFLOW, DistributionPoint, NumberPoint, RejectReason, Scope
from sentinel.core.series.call_sources.complete_calls import CompleteCalls
from sentinel.core.series.call_sources.joined import with_times
from sentinel.core.series.call_sources.log_sources import LogSources
from sentinel.core.series.call_sources.order import CallSources, Stage, stage_of
from sentinel.core.series.call_sources.stage_calls import Gain
from sentinel.core.series.calls import key_of, slot_of
from sentinel.core.series.counts import SIGNAL_CALLS, SIGNAL_LOGS, SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import OVERFLOW_SCOPE, LiveNames
from sentinel.core.series.open_window import OpenWindow
from sentinel.core.series.settings import (
    HOUR_NS,
    SERIES_PER_SCOPE,
    CallsFromLogs,
    CallsFromMetrics,
    SeriesSettings,
)
from sentinel.core.stats import log_linear


class CallMetrics:
    """Adds histograms and logged calls to those of windows, takes spans out that they stand for, and says what is not known."""

    def __init__(self, settings: SeriesSettings, live: LiveNames) -> None:
        self._live = live
        self._mode = settings.calls_from_metrics
        self._sources = CallSources(settings.calls_from_metrics, window_ns=settings.window_ns)
        self._logs = LogSources(window_ns=settings.window_ns)
        self._complete = CompleteCalls(window_ns=settings.window_ns)
        self._telling: frozenset[Stage] = frozenset()
        self._services_told: frozenset[str] = frozenset()
        self._logs_mode = settings.calls_from_logs
        self._idle_ns = settings.idle_ns
        # The last window in which spans told of a place, by its slot: whether they do is asked when a histogram comes.
        self._span_ns: NDArray[np.int64] = np.zeros(0, np.int64)

    def takes(self, point: DistributionPoint) -> bool:
        """Whether a histogram may become calls; any other is a gauge."""
        return point.is_calls and self._mode is not CallsFromMetrics.NEVER

    @property
    def takes_logs(self) -> bool:
        """Whether logged calls may count as calls."""
        return self._logs_mode is not CallsFromLogs.NEVER

    @property
    def services_told(self) -> frozenset[str]:
        """The services of which a complete log told in the window just settled."""
        return self._services_told

    def settle_complete(self, window: OpenWindow, start_ns: int, counts: SeriesCounts) -> None:
        """Put the calls of complete logs in the place of spans; to be called before all else of a window."""
        key, count = window.complete.totals()
        self._services_told = frozenset()
        if not len(key) and not self._complete:
            return
        slot = slot_of(key)
        told = self._by_stage(np.bincount(slot, count).astype(np.int64))
        span_key, span_count = window.calls.totals()
        spans = self._by_stage(np.bincount(slot_of(span_key), span_count).astype(np.int64))
        settled = self._complete.settle(
            start_ns, told=told, spans=spans, span_seen_ns=self._last_spans()
        )
        if settled.spans_left_out:
            counts.told_twice[SIGNAL_CALLS] += sum(
                spans[stage] for stage in settled.spans_left_out
            )
            window.calls.leave_out(self._slots_of(settled.spans_left_out))
        if settled.given_up:
            counts.dropped[SIGNAL_LOGS, RejectReason.LIMIT] += sum(
                told[stage] for stage in settled.given_up
            )
            window.complete.leave_out(self._slots_of(settled.given_up))
            key, count = window.complete.totals()
        window.calls.add(key, count)
        self._services_told = frozenset(stage.service for stage in told)
        self._telling = self._complete.telling(start_ns)

    def yields(self, point: NumberPoint | DistributionPoint) -> bool:
        """Whether a complete log tells the same as a point, in the window being settled."""
        return point.yields and point.scope.service in self.services_telling()

    def services_telling(self) -> frozenset[str]:
        """The services whose complete logs tell of the window being settled."""
        return frozenset(stage.service for stage in self._telling)

    @property
    def takes_histograms(self) -> bool:
        """Whether histograms of calls may count as calls."""
        return self._mode is not CallsFromMetrics.NEVER

    def settle(
        self,
        window: OpenWindow,
        start_ns: int,
        gains: list[Gain],
        counts: SeriesCounts,
        *,
        scraped: Sequence[DistributionPoint] = (),
    ) -> None:
        """Make the window's calls what is to be counted, once all of it has come; `scraped` are histograms of its pages."""
        gains = with_times(gains)
        key, count = window.calls.totals()
        slot = slot_of(key)
        points = [point for point in window.distributions if self.takes(point)]
        points += scraped
        if points or self._sources:
            settled = self._sources.settle(
                start_ns,
                points=points,
                gains=gains,
                spans=self._by_stage(np.bincount(slot, count).astype(np.int64)),
                span_seen_ns=self._last_spans() if points else {},
                logged_ns=self._logs.counted_ns(),
                told_wholly=self._telling,
            )
            counts.told_twice[SIGNAL_METRICS] += settled.twice_from_metrics
            counts.told_twice[SIGNAL_CALLS] += settled.twice_from_spans
            if settled.given_up:
                counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += settled.given_up
            if settled.left_out:
                window.calls.leave_out(self._slots_of(settled.left_out))
            self._count_gains(window, settled.gains, start_ns, counts)
        if len(slot):
            if len(self._span_ns) < self._live.scopes.width:
                grown = np.zeros(2 * self._live.scopes.width, np.int64)
                grown[: len(self._span_ns)] = self._span_ns
                self._span_ns = grown
            self._span_ns[slot] = start_ns
        if window.logs.calls or self._logs:
            self._settle_logs(window, start_ns, counts)

    def correct(
        self,
        layout: Layout,
        start_ns: int,
        *,
        value: NDArray[np.float64],
        heard: NDArray[np.bool_],
    ) -> None:
        """Put in what is known of the traffic of places that histograms tell of; columns as in a closed window."""
        if not self._sources and not self._logs and not self._complete:
            return
        for row, slot in enumerate(layout.scopes.tolist()):
            scope = self._live.scopes.names[slot]
            if scope is None:
                continue
            last_ns = int(self._live.scopes.last_ns[slot])
            reading = self._logs.reading(scope, last_ns=last_ns)
            if reading is None and not self._logs.tell_of(scope):
                reading = self._sources.reading(scope, start_ns)
            if reading is None:
                reading = self._complete.reading(scope, last_ns=last_ns)
            at = SERIES_PER_SCOPE * row
            if reading is not None:
                value[at], heard[at : at + SERIES_PER_SCOPE] = reading
            elif (
                value[at] == 0.0
                and not self._logs.tell_of(scope)
                and self._sources.is_lost(scope, start_ns)
            ):
                value[at] = np.nan

    def told_by(
        self, layout: Layout, *, spans: bool = False, logs: bool = False, metrics: bool = False
    ) -> NDArray[np.bool_]:
        """bool[n], places of calls that are told of by spans, by log records, by histograms, or by any of those asked for."""
        found = np.zeros(len(layout.scopes), np.bool_)
        if not (spans or logs or metrics):
            return found
        for row, slot in enumerate(layout.scopes.tolist()):
            scope = self._live.scopes.names[slot]
            if scope is not None:
                by_logs = self._logs.tell_of(scope)
                # A gateway's log is no spans, and is not turned away with the logs either: its lines are, its calls are not.
                if by_logs:
                    found[row] = logs
                elif self._sources.tell_of(scope):
                    found[row] = metrics
                else:
                    found[row] = spans and stage_of(scope) not in self._telling
        return found

    def forget_idle(self, start_ns: int) -> None:
        """Forget what has not told of calls for an hour, and of logs and pages for as long as their places are live."""
        self._sources.forget_idle(start_ns - HOUR_NS, pages_before_ns=start_ns - self._idle_ns)
        self._logs.forget_idle(start_ns - self._idle_ns)
        self._complete.forget_idle(start_ns - self._idle_ns)
        # A slot may have another name next; what spans told of the one before is not about it.
        width = min(len(self._span_ns), self._live.scopes.width)
        self._span_ns[:width][~self._live.scopes.live[:width]] = 0

    def set_back(self) -> None:
        """Begin anew, because the clock was wrong."""
        self._sources.set_back()
        self._logs.set_back()
        self._complete.set_back()
        self._telling = frozenset()
        self._span_ns[:] = 0

    def _settle_logs(self, window: OpenWindow, start_ns: int, counts: SeriesCounts) -> None:
        logged: Counter[Stage] = Counter()
        for call, count in window.logs.calls.items():
            logged[stage_of(call.scope)] += count
        told_ns = self._last_spans()
        for stage, report_ns in self._sources.told_ns().items():
            told_ns[stage] = max(told_ns.get(stage, 0), report_ns)
        settled = self._logs.settle(
            start_ns, logged=logged, told_ns=told_ns, reported=self._sources.reported()
        )
        counts.told_twice[SIGNAL_LOGS] += settled.told_twice
        if settled.given_up:
            counts.dropped[SIGNAL_LOGS, RejectReason.LIMIT] += settled.given_up
        if settled.spans_left_out:
            key, count_of_key = window.calls.totals()
            slots = self._slots_of(settled.spans_left_out)
            counts.told_twice[SIGNAL_CALLS] += int(
                count_of_key[np.isin(slot_of(key), slots)].sum()
            )
            window.calls.leave_out(slots)
        # Sorted, so that which places are beyond the cap does not depend on the order of arrival.
        counted = sorted(
            (call, count)
            for call, count in window.logs.calls.items()
            if stage_of(call.scope) in settled.counted
        )
        for scope, of_scope in groupby(counted, key=lambda item: item[0].scope):
            told = list(of_scope)
            self._count(
                window,
                scope,
                start_ns,
                counts,
                bucket=np.array([call.bucket for call, _ in told], np.int16),
                error=np.array([call.error for call, _ in told], np.bool_),
                count=np.array([count for _, count in told], np.int64),
            )

    def _count_gains(
        self, window: OpenWindow, gains: Iterable[Gain], start_ns: int, counts: SeriesCounts
    ) -> None:
        """Count what histograms gained, all at once: a page of an application has hundreds of them."""
        told = [
            (self._place(gain.point.scope, int(gain.histogram[1].sum()), start_ns, counts), gain)
            for gain in gains
            if gain.histogram is not None and len(gain.histogram[0])
        ]
        if not told:
            return
        histograms = [gain.histogram for _, gain in told if gain.histogram is not None]
        length = [len(bucket) for bucket, _ in histograms]
        window.calls.add(
            key_of(
                np.repeat(np.array([place for place, _ in told], np.int64), length),
                np.concatenate([bucket for bucket, _ in histograms]),
                np.repeat(np.array([gain.point.error for _, gain in told], np.bool_), length),
            ),
            np.concatenate([count for _, count in histograms]),
        )

    def _count(
        self,
        window: OpenWindow,
        scope: Scope,
        start_ns: int,
        counts: SeriesCounts,
        *,
        bucket: log_linear.Buckets,
        error: NDArray[np.bool_],
        count: log_linear.Counts,
    ) -> None:
        place = self._place(scope, int(count.sum()), start_ns, counts)
        window.calls.add(key_of(np.full(len(bucket), place, np.int64), bucket, error), count)

    def _place(self, scope: Scope, count: int, start_ns: int, counts: SeriesCounts) -> int:
        """The slot that so many calls of a place are counted under."""
        place = self._live.scope_slot(scope)
        if place == self._live.scopes.find(OVERFLOW_SCOPE):
            counts.overflow += count
            self._live.hear(OVERFLOW, start_ns)
        return place

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
