"""Batches in, closed windows out, whatever a closed window is made into: what all reductions share.

A window is open until the watermark passes its end; then it is taken out and never changes. `Aggregator` sums it, `collected.Collecting`
writes it down for another process to sum.

- When many windows fall due at once, time jumped (a suspended machine, a wrong clock). Then only windows with data are
  reported, and silence in them proves nothing; the rest is dropped and counted.
- When the clock was ahead and has been put back for good (see `Watermark`), closing goes on from the present. What was held
  for windows that are still to come was stamped by the wrong clock; it is dropped and counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    OVERFLOW,
    CallColumns,
    LogColumns,
    Missing,
    SampleBatch,
    Scope,
    SeriesKey,
)
from sentinel.core.series.calls import key_of
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
from sentinel.core.series.late_services import late_services
from sentinel.core.series.live import OVERFLOW_SCOPE, LiveNames
from sentinel.core.series.log_counts import LogCounts
from sentinel.core.series.open_window import Held
from sentinel.core.series.open_windows import FUTURE_MAX_NS, OpenWindows
from sentinel.core.series.repeats import Repeats
from sentinel.core.series.settings import HOUR_NS, CallsFromLogs, SeriesSettings
from sentinel.core.series.templates import Templates
from sentinel.core.series.unknown_amounts import UnknownAmounts
from sentinel.core.series.watermark import Watermark
from sentinel.core.series.windows import Closed
from sentinel.core.stats import log_linear

Window = TypeVar("Window")


class Reduction(ABC, Generic[Window]):
    """Takes batches in and hands closed windows out; one thread at a time."""

    def __init__(
        self,
        settings: SeriesSettings,
        *,
        start_ns: int | None = None,
        takes_running: bool = False,
        takes_calls_of_logs: bool | None = None,
        templates: Templates | None = None,
    ) -> None:
        """Make an empty reduction.

        Args:
            settings: see `SeriesSettings`.
            start_ns: samples before the first window boundary from here on are late. By default the first call
                decides, because the window that is running when we begin was seen only in part.
            takes_running: whether the window that is running at the first call is taken as well: what we see of it is
                a part that others add to.
            takes_calls_of_logs: whether calls that log records tell of are counted; by default as the settings say.
            templates: what log records without an event are counted by.
        """
        self._settings = settings
        self._mark = Watermark(lateness_ns=settings.lateness_ns)
        self._open = OpenWindows(settings, start_ns=start_ns, takes_running=takes_running)
        self._live = LiveNames(series_count_max=settings.series_count_max)
        self._events = Events(self._live)
        self.templates = templates or Templates()
        """What log records without an event are counted by."""
        if takes_calls_of_logs is None:
            takes_calls_of_logs = settings.calls_from_logs is not CallsFromLogs.NEVER
        self._logs = LogCounts(self._live, self.templates, takes_calls=takes_calls_of_logs)
        self._repeats = Repeats()
        self._unknown = UnknownAmounts(settings, self._live)
        self._hour_start_ns: int | None = None
        self._now_ns = 0
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
        self._live.remember(keys, last_ns=last_ns)

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

    def close(self, now_ns: int, *, missing: Sequence[Missing] = ()) -> Closed[Window]:
        """Close every window the watermark has passed; call it every second or so, also when nothing comes.

        What is `missing` was turned away and has not come again: amounts that it may tell of are not known.
        """
        self._unknown.missing = missing
        self._now_ns = now_ns
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
        windows: list[Window] = []
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
        return Closed(windows=tuple(windows), watermark_ns=watermark_ns, faults=tuple(faults))

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
        self._metrics_set_back(now_ns)
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

    @abstractmethod
    def _close_window(self, index: int, start_ns: int, *, silence_known: bool) -> Window:
        """Take a window out and make of it what is handed on."""

    @abstractmethod
    def _metrics_begin(self) -> None:
        """Know nothing of metrics, as at the beginning."""

    @abstractmethod
    def _metrics_set_back(self, now_ns: int) -> None:
        """Forget what metrics told later than now."""

    @abstractmethod
    def _metrics_forget(self, start_ns: int, before_ns: int, held: Held) -> None:
        """Forget what metrics told before, and nothing held speaks of."""

    def _turn_hour(self, start_ns: int) -> None:
        """Forget what was idle when the window at `start_ns` is the first of an hour."""
        hour_ns = start_ns - start_ns % HOUR_NS
        ended_ns, self._hour_start_ns = self._hour_start_ns, hour_ns
        if ended_ns is None or ended_ns == hour_ns:
            return
        before_ns = start_ns - self._settings.idle_ns
        held = self._open.held()
        self._counts.expired += self._live.forget_idle(before_ns, held)
        self._metrics_forget(start_ns, before_ns, held)
        self._events.forget_idle()
        self._unknown.forget_idle(before_ns)
        self.templates.forget_idle(before_ns)

    def _recover(self, index: int) -> None:
        """Let go of a window and of all that may have been left half changed: it would meet the next window too."""
        self._open.take_out(index)
        self._live.mend()
        self._events = Events(self._live)
        self._metrics_begin()
