"""Parts of windows in, the value of every series out: the reduction of the one sidecar that scores for the service.

The parts of a window are put where one process' samples of it would lie, and from there on everything is what it is in one process:
which source counts, what streams gained, which lines are new. So several collectors and a scorer cannot differ from one
sidecar that hears all, but in what depends on the order of arrival there as well (see `docs/components/roles.md`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from sentinel.core.model import OVERFLOW, LoggedCall, LogRecord, SeriesKey
from sentinel.core.series.aggregator import Aggregator
from sentinel.core.series.calls import bucket_number_of, slot_of
from sentinel.core.series.collected.content import WindowContent, merged
from sentinel.core.series.collected.counted import by_slot
from sentinel.core.series.collected.pages import columns_of
from sentinel.core.series.collected.wire import CollectedWindow
from sentinel.core.series.counts import FAULTY
from sentinel.core.series.gauges import GaugeValues
from sentinel.core.series.live import OVERFLOW_SCOPE
from sentinel.core.series.measured_series import MayBeMeasured
from sentinel.core.series.open_window import OpenWindow
from sentinel.core.series.open_windows import FUTURE_MAX_NS
from sentinel.core.series.settings import SeriesSettings
from sentinel.core.series.windows import Closed, ClosedWindow

SERVICE_COLLECTORS = "collectors"
COLLECTORS = SeriesKey(SERVICE_COLLECTORS, "collect", "windows", "present")
"""The series that is heard in windows of which every collector told; its silence is the ticket that one is blind."""


class Merging(Aggregator):
    """Merges parts to windows, one window after the other; one thread at a time."""

    def __init__(
        self, settings: SeriesSettings, *, may_be_measured: MayBeMeasured = lambda _: False
    ) -> None:
        """Make one that knows nothing yet; `may_be_measured` is as of `Aggregator`."""
        super().__init__(settings, may_be_measured=may_be_measured)
        self._merged_until_ns = 0
        self._attended = False

    @property
    def watermark_ns(self) -> int:
        """Windows that end by here are closed."""
        return self._merged_until_ns

    @property
    def next_ns(self) -> int:
        """Start of the window that is to be merged next, 0 before it is known."""
        return self._merged_until_ns

    def begin_after(self, end_ns: int) -> None:
        """Merge no window that ends by `end_ns`."""
        step_ns = self._settings.window_ns
        self._merged_until_ns = -(-end_ns // step_ns) * step_ns

    def merge(
        self,
        start_ns: int,
        parts: Sequence[CollectedWindow],
        *,
        partly_told: Set[str] = frozenset(),
        attended: bool | None = None,
    ) -> Closed[ClosedWindow]:
        """Close the window at `start_ns` with these parts of it; windows come in order.

        Args:
            start_ns: its start.
            parts: what collectors say of it, in any order.
            partly_told: services of which a collector that is silent would have told.
            attended: whether all collectors told of it; None where there is none.
        """
        index = start_ns // self._settings.window_ns
        self._merged_until_ns = start_ns + self._settings.window_ns
        window = OpenWindow()
        try:
            self._turn_hour(start_ns)
            content = merged([part.content for part in parts]) if parts else WindowContent()
            window = self._filled(content, start_ns)
            self._tell_unknown(content, index, partly_told)
            self._attended = bool(attended)
            closed = self._settle(
                window, start_ns, silence_known=all(part.silence_known for part in parts)
            )
        except Exception as error:  # noqa: BLE001  # a fault of ours costs the window that met it, no other
            self._counts.dropped_windows[FAULTY] += 1
            self._recover(index)
            return Closed(watermark_ns=self._merged_until_ns, faults=(error,))
        return Closed(windows=(closed,), watermark_ns=self._merged_until_ns)

    def _filled(self, content: WindowContent, start_ns: int) -> OpenWindow:
        window = OpenWindow()
        live = self._live
        for counted, into in ((content.calls, window.calls), (content.complete, window.complete)):
            key = by_slot(counted, live.scope_slot)
            into.add(key, counted.count)
            overflow = live.scopes.find(OVERFLOW_SCOPE)
            if overflow is not None and (over := counted.count[slot_of(key) == overflow]).size:
                self._counts.overflow += int(over.sum())
                live.hear(OVERFLOW, start_ns)
        for place, named in content.exemplars.items():
            slot = live.scope_slot(place.scope)
            for call in dict.fromkeys((named.first, named.slowest)):
                window.name_call(slot, call)
        window.numbers = list(content.numbers)
        window.distributions = list(content.distributions)
        window.scraped = [columns_of(page) for page in content.pages]
        window.measured = list(content.measured)
        self._put_logs(content, window, start_ns)
        events = content.events
        if events.names:
            window.events.named.update(live.gauge_slot(key) for key in events.names)
            window.events.counts.add(by_slot(events, live.gauge_slot), events.count)
            self._events.rate(content.rated)
        # A clock that is far ahead must not have a service heard for ever.
        until_ns = start_ns + self._settings.window_ns + self._settings.lateness_ns + FUTURE_MAX_NS
        for service, heard_ns in content.heard.items():
            live.hear(service, min(heard_ns, until_ns))
        live.hear_late_at(
            {service: min(late_ns, until_ns) for service, late_ns in content.late.items()},
            {scope: min(late_ns, until_ns) for scope, late_ns in content.late_places.items()},
        )
        return window

    def _put_logs(self, content: WindowContent, window: OpenWindow, start_ns: int) -> None:
        for name, count in content.logs.items():
            self._logs.add_counted(
                name.service,
                name.text,
                name.signal,
                count,
                window.logs,
                start_ns,
                is_gist=name.is_gist,
            )
        if self._call_metrics.takes_logs and len(content.logged.key):
            logged = content.logged
            rows = zip(
                slot_of(logged.key).tolist(),
                bucket_number_of(logged.key).tolist(),
                (logged.key & 1).astype(bool).tolist(),
                logged.count.tolist(),
                strict=True,
            )
            for at, bucket, failed, count in rows:
                window.logs.note_call(LoggedCall(logged.names[at], bucket, failed), count)
        for line in content.lines:
            record = LogRecord(
                service=line.service,
                time_ns=line.time_ns,
                severity=line.severity,
                event=line.event,
                body=line.body,
                trace_id=line.trace_id,
                gist="" if line.event else line.template,
            )
            self._logs.note(record, window.logs, start_ns)

    def _tell_unknown(self, content: WindowContent, index: int, partly_told: Set[str]) -> None:
        if content.shed:
            self._unknown.shed(content.shed, first=index, last=index)
        self._unknown.missing = sorted(
            content.missing, key=lambda one: (one.signal, sorted(one.services), one.since_ns)
        )
        self._unknown.points_told_of(content.pushed, index * self._settings.window_ns)
        self._unknown.partly_told = partly_told

    def _gauge_values(self, window: OpenWindow, start_ns: int) -> GaugeValues:
        values = super()._gauge_values(window, start_ns)
        if not self._attended:
            return values
        slot = self._live.gauge_slot(COLLECTORS)
        if self._live.gauges.names[slot] != COLLECTORS:
            return values  # beyond the cap on series
        self._live.hear(SERVICE_COLLECTORS, start_ns)
        return values.with_values({slot: (1.0, 1.0)})
