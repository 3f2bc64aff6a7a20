"""Batches in, closed windows out: the whole reduction, without a clock or a socket.

A window is open until the watermark passes its end; then it is summed and never changes. Each live place (service,
stage, route) of calls gives traffic, errors and latency; each metric stream and each kind of log line gives a gauge.

- A series is live from its first data until it was idle for `idle_ns`, at most `series_count_max` at once. What comes
  after the cap is counted on the overflow series, exactly; a series that is known is never put out for one that is not.
- A live place without calls has traffic 0 when its service was heard in or after the window, and no value when not:
  "nothing happened" and "nobody told us" are different answers.
- When many windows fall due at once, time jumped (a suspended machine, a wrong clock). Then only windows with data are
  reported, and silence in them proves nothing; the rest is dropped and counted.
- When the clock was ahead and has been put back for good (see `Watermark`), closing goes on from the present. What was held
  for windows that are still to come was stamped by the wrong clock; it is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    OVERFLOW,
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    CallColumns,
    Exemplar,
    LogColumns,
    MeasuredColumns,
    Missing,
    RejectReason,
    SampleBatch,
    Scope,
    SeriesKey,
)
from sentinel.core.series.call_metrics import CallMetrics
from sentinel.core.series.calls import CallSums, key_of, sums_of
from sentinel.core.series.columns import Columns
from sentinel.core.series.counts import (
    CLOCK_JUMPED,
    CLOCK_SET_BACK,
    FAULTY,
    SIGNAL_CALLS,
    SIGNAL_LOGS,
    SIGNAL_METRICS,
    SeriesCounts,
)
from sentinel.core.series.event_window import EventWindow
from sentinel.core.series.events import Events
from sentinel.core.series.gauges import Gauges, GaugeValues
from sentinel.core.series.late_services import late_services
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import OVERFLOW_POINTS, OVERFLOW_SCOPE, LiveNames
from sentinel.core.series.log_counts import LogCounts
from sentinel.core.series.measured_series import MayBeMeasured, MeasuredSeries
from sentinel.core.series.metric_gains import MetricGains
from sentinel.core.series.open_window import OpenWindow
from sentinel.core.series.open_windows import FUTURE_MAX_NS, OpenWindows
from sentinel.core.series.repeats import Repeats
from sentinel.core.series.settings import HOUR_NS, SERIES_PER_SCOPE, SeriesSettings
from sentinel.core.series.templates import Templates
from sentinel.core.series.unknown_amounts import UnknownAmounts
from sentinel.core.series.watermark import Watermark
from sentinel.core.series.windows import ClosedWindow, ClosedWindows
from sentinel.core.stats import log_linear


class Aggregator:
    """Reduces batches to windows; one thread at a time."""

    def __init__(
        self,
        settings: SeriesSettings,
        *,
        start_ns: int | None = None,
        may_be_measured: MayBeMeasured = lambda _: False,
    ) -> None:
        """Make an empty aggregator.

        Args:
            settings: see `SeriesSettings`.
            start_ns: samples before the first window boundary from here on are late. By default the first call
                decides, because the window that is running when we begin was seen only in part.
            may_be_measured: which series of calls that were live before a restart another system may have worked out.
        """
        self._settings = settings
        self._mark = Watermark(lateness_ns=settings.lateness_ns)
        self._open = OpenWindows(settings, start_ns=start_ns)
        self._live = LiveNames(series_count_max=settings.series_count_max)
        self._call_metrics = CallMetrics(settings, self._live)
        self._metrics = MetricGains(settings, self._live, self._call_metrics)
        self._events = Events(self._live)
        self._measured = MeasuredSeries(self._live, may_be_measured=may_be_measured)
        self.templates = Templates()
        """What log records without an event are counted by."""
        self._logs = LogCounts(
            self._live, self.templates, takes_calls=self._call_metrics.takes_logs
        )
        self._repeats = Repeats()
        self._unknown = UnknownAmounts(settings, self._live)
        self._hour_start_ns: int | None = None
        self._counts = SeriesCounts()

    @property
    def watermark_ns(self) -> int:
        """Windows that end by here are closed."""
        return self._mark.value_ns

    def due_ns(self, now_ns: int) -> int:
        """When the next window closes if nothing comes; in the past while the clock is not trusted."""
        return self._open.due_ns(now_ns)

    @property
    def clock_distrusted(self) -> bool:
        """Whether the receive clock has stepped forward and nothing has confirmed it yet."""
        return self._mark.clock_distrusted

    @property
    def series_count(self) -> int:
        """How many series are live."""
        return self._live.series_count

    def take_counts(self) -> SeriesCounts:
        """What was given up or noticed since the last call."""
        counts, self._counts = self._counts, SeriesCounts()
        return counts

    def remember(self, keys: Iterable[SeriesKey], *, last_ns: int) -> None:
        """Take series for live that were so before a restart, so that their silence is noticed."""
        self._live.remember(self._measured.remember(keys, last_ns=last_ns), last_ns=last_ns)

    def begin_after(self, end_ns: int) -> None:
        """Close no window that ends by `end_ns`: those were closed before a restart. To be called before all else."""
        self._open.begin_after(end_ns)
        self._mark = Watermark(lateness_ns=self._settings.lateness_ns, value_ns=end_ns)

    def add(self, batch: SampleBatch, now_ns: int) -> None:
        """Take in a batch that was received at `now_ns`."""
        self._open.begin(now_ns)
        if self.is_repeat(batch):
            return
        batch = batch.in_columns(now_ns=now_ns)
        newest_ns = 0
        late_before = self._counts.late.total()
        if batch.calls is not None and len(batch.calls.end_ns):
            newest_ns = int(batch.calls.end_ns.max())
            self._add_calls(batch.calls, now_ns)
        if batch.events is not None:
            self._events.add(
                batch.events,
                lambda time_ns, count: self._events_of(time_ns, now_ns, count),
                window_ns=self._settings.window_ns,
            )
        for number in batch.numbers:
            newest_ns = max(newest_ns, number.time_ns)
            window = self._open.window_for(number.time_ns, now_ns, SIGNAL_METRICS, self._counts)
            if window is not None:
                self._open.hold(window.numbers, number, self._counts)
        for distribution in batch.distributions:
            newest_ns = max(newest_ns, distribution.time_ns)
            window = self._open.window_for(
                distribution.time_ns, now_ns, SIGNAL_METRICS, self._counts
            )
            if window is not None:
                self._open.hold(window.distributions, distribution, self._counts)
        for columns in batch.scraped:
            newest_ns = max(newest_ns, columns.time_ns)
            self._open.hold_page(columns, now_ns, self._counts)
        for measured in batch.measured:
            newest_ns = max(newest_ns, measured.end_ns - 1)
            self._open.hold_measured(measured, now_ns, self._counts)
        for record in batch.logs:
            newest_ns = max(newest_ns, record.time_ns)
            window = self._open.window_for(record.time_ns, now_ns, SIGNAL_LOGS, self._counts)
            if window is not None:
                self._logs.add(record, window.logs, now_ns)
        if batch.log_columns is not None and len(batch.log_columns.time_ns):
            newest_ns = max(newest_ns, int(batch.log_columns.time_ns.max()))
            self._add_log_columns(batch.log_columns, now_ns)
        if (batch.numbers or batch.distributions) and not batch.pulled:
            self._unknown.points_told_of(batch.services, now_ns)
        late: Mapping[str, set[Scope]] = {}
        if self._counts.late.total() > late_before:
            late, timely = late_services(batch, self._open.is_late)
            for service, scopes in late.items():
                self._live.hear_late(service, scopes, now_ns)
            late = {service: scopes for service, scopes in late.items() if service not in timely}
        for service in batch.services:
            # What comes too late says that its source lives, and nothing of what it does now.
            if service not in late:
                self._live.hear(service, now_ns)
        if newest_ns <= now_ns + FUTURE_MAX_NS:
            self._advance(now_ns, event_ns=newest_ns)

    def is_repeat(self, batch: SampleBatch) -> bool:
        """Whether a batch came before, counted if so; for who joins batches, asked once of each."""
        repeated = self._repeats.is_repeat(batch.fingerprint)
        self._counts.duplicate_batches += repeated
        return repeated

    def shed(self, signals: Set[str], now_ns: int) -> None:
        """Note that spans (`SIGNAL_CALLS`) or log records (`SIGNAL_LOGS`) are turned away now.

        How many those of the windows that are open now were is then not known, and no fall.
        """
        if signals:
            self._unknown.shed(
                signals, first=self._open.begin(now_ns), last=now_ns // self._settings.window_ns
            )

    def hold_names(self, *, held: bool) -> None:
        """While held, names that are not live are counted on the overflow series, as beyond the cap."""
        self._live.held = held

    def close(self, now_ns: int, *, missing: Sequence[Missing] = ()) -> ClosedWindows:
        """Close every window the watermark has passed; call it every second or so, also when nothing comes.

        What is `missing` was turned away and has not come again: amounts that it may tell of are not known.
        """
        self._unknown.missing = missing
        self._open.begin(now_ns)
        watermark_ns = self._advance(now_ns)
        due = self._open.begin(now_ns)
        target = watermark_ns // self._settings.window_ns
        burst = target - due > self._settings.burst_window_count
        indices: Iterable[int] = range(due, target)
        if burst:
            indices = filled = self._open.filled_before(target)
            self._counts.dropped_windows[CLOCK_JUMPED] += target - due - len(filled)
        if target > due:
            self._open.close_before(target)
        windows: list[ClosedWindow] = []
        faults: list[Exception] = []
        for index in indices:
            start_ns = index * self._settings.window_ns
            try:
                self._turn_hour(start_ns)
                windows.append(self._close_window(index, start_ns, silence_known=not burst))
            except Exception as error:  # noqa: BLE001  # a fault of ours costs the window that met it, no other
                faults.append(error)
                self._counts.dropped_windows[FAULTY] += 1
                self._recover(index)
        return ClosedWindows(
            windows=tuple(windows), watermark_ns=watermark_ns, faults=tuple(faults)
        )

    # Taking in.

    def _advance(self, now_ns: int, *, event_ns: int = 0) -> int:
        before_ns = self._mark.value_ns
        watermark_ns = self._mark.advance(now_ns, event_ns=event_ns)
        if watermark_ns < before_ns:
            self._set_back(now_ns, lead_ns=before_ns - watermark_ns)
        return watermark_ns

    def _set_back(self, now_ns: int, *, lead_ns: int) -> None:
        """Go on at `now_ns`, with nothing known of later; the window that is running was seen only in part."""
        self._counts.set_back_ns += lead_ns
        self._counts.dropped_windows[CLOCK_SET_BACK] += len(self._open)
        self._open.set_back(now_ns)
        self._hour_start_ns = None
        self._live.set_back(now_ns)
        self._metrics.set_back(now_ns)
        self._call_metrics.set_back()
        self._logs.set_back(now_ns)
        self._unknown.set_back()

    def _add_calls(self, calls: CallColumns, now_ns: int) -> None:
        slot_of_scope = np.array(
            [self._live.scope_slot(scope) for scope in calls.scopes], np.int64
        )
        slot = slot_of_scope[calls.scope_index]
        self._note_overflow(slot, now_ns)
        bucket = log_linear.bucket_of(calls.duration_s)  # of NaN it is one that is not meant
        bucket[np.isnan(calls.duration_s)] = log_linear.UNTIMED
        key = key_of(slot, bucket, calls.error)
        index = calls.end_ns // self._settings.window_ns
        first, last = int(np.minimum.reduce(index)), int(np.maximum.reduce(index))
        # Nearly every batch lies in one window or two.
        for each in (first,) if first == last else np.unique(index).tolist():
            keys = key if first == last else key[index == each]
            window = self._open.window_for(
                each * self._settings.window_ns,
                now_ns,
                SIGNAL_CALLS,
                self._counts,
                count=len(keys),
            )
            if window is not None:
                (window.complete if calls.complete else window.calls).add(keys)
        for exemplar in calls.exemplars:
            window = self._open.find(exemplar.end_ns)
            if window is not None:
                window.name_call(int(slot_of_scope[exemplar.scope_index]), exemplar)

    def _events_of(self, time_ns: int, now_ns: int, count: int) -> EventWindow | None:
        window = self._open.window_for(time_ns, now_ns, SIGNAL_LOGS, self._counts, count=count)
        return None if window is None else window.events

    def _add_log_columns(self, columns: LogColumns, now_ns: int) -> None:
        index = columns.time_ns // self._settings.window_ns
        for each in np.unique(index).tolist():
            rows = index == each
            window = self._open.window_for(
                each * self._settings.window_ns,
                now_ns,
                SIGNAL_LOGS,
                self._counts,
                count=int(np.count_nonzero(rows)),
            )
            if window is not None:
                self._logs.add_columns(columns, rows, window.logs, now_ns)
        for record in columns.noted:
            window = self._open.find(record.time_ns)
            if window is not None:
                self._logs.note(record, window.logs, now_ns)

    def _note_overflow(self, slot: NDArray[np.int64], now_ns: int) -> None:
        overflow = self._live.scopes.find(OVERFLOW_SCOPE)
        if overflow is not None and (count := int(np.count_nonzero(slot == overflow))):
            self._counts.overflow += count
            self._live.hear(OVERFLOW, now_ns)

    # Closing.

    def _close_window(self, index: int, start_ns: int, *, silence_known: bool) -> ClosedWindow:
        window = self._open.take_out(index)
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

    def _turn_hour(self, start_ns: int) -> None:
        """Forget what was idle when the window at `start_ns` is the first of an hour."""
        hour_ns = start_ns - start_ns % HOUR_NS
        ended_ns, self._hour_start_ns = self._hour_start_ns, hour_ns
        if ended_ns is None or ended_ns == hour_ns:
            return
        before_ns = start_ns - self._settings.idle_ns
        held = self._open.held()
        self._counts.expired += self._live.forget_idle(before_ns, held)
        self._metrics.forget_idle(before_ns, held)
        self._call_metrics.forget_idle(start_ns)
        self._events.forget_idle()
        self._measured.forget_idle()
        self._unknown.forget_idle(before_ns)
        self.templates.forget_idle(before_ns)

    def _recover(self, index: int) -> None:
        """Let go of a window and of all that may have been left half changed: it would meet the next window too."""
        self._open.take_out(index)
        self._live.mend()
        self._events = Events(self._live)
        self._call_metrics = CallMetrics(self._settings, self._live)
        self._metrics = MetricGains(self._settings, self._live, self._call_metrics)
