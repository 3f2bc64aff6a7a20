"""Windows to the value of every series: the whole reduction, without a clock or a socket.

Each live place (service, stage, route) of calls gives traffic, errors and latency; each metric stream and each kind of log
line gives a gauge.

- A series is live from its first data until it was idle for `idle_ns`, at most `series_count_max` at once. What comes
  after the cap is counted on the overflow series, exactly; a series that is known is never put out for one that is not.
- A live place without calls has traffic 0 when its service was heard in or after the window, and no value when not:
  "nothing happened" and "nobody told us" are different answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sentinel.core.model import (
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    Exemplar,
    MeasuredColumns,
    RejectReason,
    SeriesKey,
)
from sentinel.core.series.call_sources.call_metrics import CallMetrics
from sentinel.core.series.calls import CallSums, sums_of
from sentinel.core.series.columns import Columns
from sentinel.core.series.counts import SIGNAL_METRICS
from sentinel.core.series.gauges import Gauges, GaugeValues
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import OVERFLOW_POINTS
from sentinel.core.series.measured_series import MayBeMeasured, MeasuredSeries
from sentinel.core.series.metric_gains import MetricGains
from sentinel.core.series.open_window import Held, OpenWindow
from sentinel.core.series.reduction import Reduction
from sentinel.core.series.settings import SERIES_PER_SCOPE, SeriesSettings
from sentinel.core.series.templates import Templates
from sentinel.core.series.windows import ClosedWindow


class Aggregator(Reduction[ClosedWindow]):
    """Reduces batches to windows; one thread at a time."""

    def __init__(
        self,
        settings: SeriesSettings,
        *,
        start_ns: int | None = None,
        templates: Templates | None = None,
        may_be_measured: MayBeMeasured = lambda _: False,
    ) -> None:
        """Make an empty aggregator.

        Args:
            settings: see `SeriesSettings`.
            start_ns: as of `Reduction`.
            templates: likewise.
            may_be_measured: which series of calls that were live before a restart another system may have worked out.
        """
        super().__init__(settings, start_ns=start_ns, templates=templates)
        self._measured = MeasuredSeries(self._live, may_be_measured=may_be_measured)
        self._metrics_begin()

    def remember(self, keys: Iterable[SeriesKey], *, last_ns: int) -> None:
        """Take series for live that were so before a restart, so that their silence is noticed."""
        super().remember(self._measured.remember(keys, last_ns=last_ns), last_ns=last_ns)

    def _close_window(self, index: int, start_ns: int, *, silence_known: bool) -> ClosedWindow:
        return self._settle(self._open.take_out(index), start_ns, silence_known=silence_known)

    def _settle(self, window: OpenWindow, start_ns: int, *, silence_known: bool) -> ClosedWindow:
        gauges = self._gauge_values(window, start_ns)
        if self._measured:
            self._measured.settle_calls(window.calls, self._counts)
        key, count = window.calls.totals()
        sums = sums_of(key, count, width=self._live.scopes.width)
        self._live.scopes.mark(np.flatnonzero(sums.calls), start_ns)
        self._live.gauges.mark(gauges.slot, start_ns)
        layout = self._live.layout()
        columns = self._columns(
            layout, sums, gauges, start_ns, window.measured, silence_known=silence_known
        )
        column = np.zeros(self._live.scopes.width, np.int64)
        column[layout.scopes] = np.arange(len(layout.scopes)) * SERIES_PER_SCOPE + 2
        return ClosedWindow(
            start_ns=start_ns,
            step_ns=self._settings.window_ns,
            keys=layout.keys,
            kind=layout.kind,
            value=columns.value.astype(np.float32),
            weight=columns.weight.astype(np.float32),
            heard=columns.heard,
            histograms=sums.histograms(column) if len(sums.slot) else None,
            exemplars=self._exemplars(window),
            logs=window.logs.evidence(),
        )

    def _columns(
        self,
        layout: Layout,
        sums: CallSums,
        gauges: GaugeValues,
        start_ns: int,
        measured: Sequence[MeasuredColumns],
        *,
        silence_known: bool,
    ) -> Columns:
        columns = Columns(layout)
        columns.put_calls(
            sums,
            heard=self._live.scopes_heard(layout, start_ns) & silence_known,
            window_s=self._settings.window_ns / 1e9,
        )
        self._call_metrics.correct(layout, start_ns, value=columns.value, heard=columns.heard)
        columns.put_gauges(
            gauges,
            heard=self._live.gauges_heard(layout, start_ns) & silence_known,
            quiet=self._events.quiet(layout, self._call_metrics.services_told),
            width=self._live.gauges.width,
        )
        if silence_known:
            columns.mark_late(
                scopes=self._live.scopes_late(layout, start_ns),
                gauges=self._live.gauges_late(layout, start_ns),
            )
        self._unknown.mark(columns, layout, start_ns, self._call_metrics, self._counts)
        if self._measured:
            self._measured.mark_unreached(columns, layout, measured)
        if wrong := columns.leave_out_immense():
            self._counts.dropped[SIGNAL_METRICS, RejectReason.NOT_FINITE] += wrong
        return columns

    def _gauge_values(self, window: OpenWindow, start_ns: int) -> GaugeValues:
        """Value and weight of each gauge that got points, by slot; call distributions go to the window's calls."""
        gauges = Gauges()
        self._call_metrics.settle_complete(window, start_ns, self._counts)
        metrics = self._metrics.put(window, gauges, self._counts)
        self._call_metrics.settle(
            window, start_ns, metrics.of_calls, self._counts, scraped=metrics.told
        )
        window_s = self._settings.window_ns / 1e9
        values = gauges.values()
        values.update(
            (key, (count / window_s, float(count)))
            for key, count in window.logs.counts.items()
            if key != OVERFLOW_POINTS
        )
        by_slot: dict[int, tuple[float, float]] = {}
        of_events, over = self._events.values(window.events, window_s=window_s)
        over += window.logs.counts[OVERFLOW_POINTS]
        # Sorted, so that which names are beyond the cap does not depend on the order of arrival.
        for key in sorted(values):
            slot = self._live.gauge_slot(key)
            if self._live.gauges.names[slot] == OVERFLOW_POINTS:
                over += int(values[key][1])
            else:
                by_slot[slot] = values[key]
        by_slot.update(of_events)
        by_slot.update(self._measured.values(window.measured, self._counts))
        if over:
            self._counts.overflow += over
            by_slot[self._live.gauge_slot(OVERFLOW_POINTS)] = (over / window_s, float(over))
        return metrics.direct.with_values(by_slot)

    def _exemplars(self, window: OpenWindow) -> tuple[Exemplar, ...]:
        found: list[Exemplar] = []
        for slot, error, call in window.named_calls():
            scope = self._live.scopes.names[slot]
            if scope is not None:
                found.append(
                    Exemplar(
                        trace_id=call.trace_id,
                        key=SeriesKey(*scope, SIGNAL_ERRORS if error else SIGNAL_LATENCY),
                        time_ns=call.end_ns,
                        duration_s=call.duration_s,
                        error=error,
                    )
                )
        return tuple(found)

    def _metrics_begin(self) -> None:
        self._call_metrics = CallMetrics(self._settings, self._live)
        self._metrics = MetricGains(self._settings, self._live, self._call_metrics)

    def _metrics_set_back(self, now_ns: int) -> None:
        self._metrics.set_back(now_ns)
        self._call_metrics.set_back()

    def _metrics_forget(self, start_ns: int, before_ns: int, held: Held) -> None:
        self._metrics.forget_idle(before_ns, held)
        self._call_metrics.forget_idle(start_ns)
        self._measured.forget_idle()
