"""Whose amounts are not known in a window, because some of what tells of them was turned away: that is no fall.

| what was turned away | its amounts are unknown in |
|---|---|
| a signal, while it is given up | every window that is open in that time, for good |
| a request or page, at a bound | every window that closes before it came again; none, where it comes in time |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from sentinel.core.model import Missing
from sentinel.core.series.call_sources.call_metrics import CallMetrics
from sentinel.core.series.columns import Columns
from sentinel.core.series.counts import SIGNAL_CALLS, SIGNAL_LOGS, SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import LiveNames
from sentinel.core.series.settings import SeriesSettings
from sentinel.core.series.shed_windows import ShedWindows


class UnknownAmounts:
    """Knows what was turned away, and of which services points of metrics are pushed.

    Attributes:
        missing: what was turned away at a bound and has not come again, as it is when windows are closed.
        partly_told: services of which a part of the next window is not known, because who would have told of it is silent.
    """

    def __init__(self, settings: SeriesSettings, live: LiveNames) -> None:
        self._settings = settings
        self._live = live
        self._shed = ShedWindows()
        self._points_ns: dict[str, int] = {}
        self.missing: Sequence[Missing] = ()
        self.partly_told: Set[str] = frozenset()

    def shed(self, signals: Set[str], *, first: int, last: int) -> None:
        """These signals are given up while the windows `[first, last]` are open."""
        self._shed.note(signals, first=first, last=last)

    def told_of_since(self, start_ns: int) -> frozenset[str]:
        """The services that points of metrics were pushed of since."""
        return frozenset(
            service for service, at_ns in self._points_ns.items() if at_ns >= start_ns
        )

    def shed_of(self, start_ns: int) -> tuple[frozenset[str], frozenset[Missing]]:
        """What was given up of the window at `start_ns`, and what of it has not come again; asked once of each."""
        until_ns = start_ns + self._settings.window_ns + self._settings.lateness_ns
        return (
            frozenset(self._shed.take(start_ns // self._settings.window_ns)),
            frozenset(one for one in self.missing if one.since_ns < until_ns),
        )

    def points_told_of(self, services: Iterable[str], now_ns: int) -> None:
        """Points of metrics were pushed that tell of these services; one too many is not noted."""
        for service in services:
            if (
                service in self._points_ns
                or len(self._points_ns) < self._settings.series_count_max
            ):
                self._points_ns[service] = now_ns

    def mark(
        self,
        columns: Columns,
        layout: Layout,
        start_ns: int,
        calls: CallMetrics,
        counts: SeriesCounts,
    ) -> None:
        """Take the amounts out of a window's columns that are not known; windows come in order."""
        if self.partly_told:
            scopes, gauges = self._live.of_services(layout, self.partly_told)
            # What another system has worked out does not depend on who collects.
            columns.mark_partial(scopes, gauges & ~self._live.are_measured(layout))
        # What came for a window before it was turned away may be of any that was not closed then.
        until_ns = start_ns + self._settings.window_ns + self._settings.lateness_ns
        missing = [one for one in self.missing if one.since_ns < until_ns]
        signals = set(self._shed.take(start_ns // self._settings.window_ns))
        signals |= {one.signal for one in missing if not one.services}
        services = {service for one in missing for service in one.services}
        if not signals and not services:
            return
        counts.shed_windows.update(signals | {one.signal for one in missing})
        scopes, gauges = self._live.of_services(layout, services)
        if SIGNAL_METRICS in signals:
            # A sum over processes of which one is missing is too small, as a count is.
            told_scopes, told_gauges = self._live.of_services(layout, self._points_ns)
            scopes |= told_scopes & calls.told_by(layout, metrics=True)
            gauges |= told_gauges & ~layout.counted
        scopes |= calls.told_by(layout, spans=SIGNAL_CALLS in signals, logs=SIGNAL_LOGS in signals)
        gauges |= layout.counted & (SIGNAL_LOGS in signals)
        columns.mark_shed(scopes=scopes, gauges=gauges)

    def forget_idle(self, before_ns: int) -> None:
        """Forget services that no point told of since."""
        self._points_ns = {
            service: at_ns for service, at_ns in self._points_ns.items() if at_ns >= before_ns
        }

    def set_back(self) -> None:
        """Begin anew, because the clock was wrong."""
        self._shed.clear()
        self._points_ns.clear()
        self.missing = ()
