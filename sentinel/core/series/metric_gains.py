"""Metric points and pages of a window to its gauges, and those that are of calls to what the window's calls are told by."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.model import DistributionPoint, SeriesKey
from sentinel.core.series.call_sources.call_metrics import CallMetrics
from sentinel.core.series.call_sources.stage_calls import Gain
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.gauges import Gauges, GaugeValues
from sentinel.core.series.live import LiveNames
from sentinel.core.series.open_window import Held, OpenWindow, distribution_keys
from sentinel.core.series.scraped.gauges import ScrapedGauges, calls_of
from sentinel.core.series.scraped.pages import ScrapedStreams
from sentinel.core.series.settings import SeriesSettings
from sentinel.core.series.streams import Streams

_CELLS_PER_SERIES = 20
"""A histogram has so many buckets, more or less, and becomes two series at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOfWindow:
    """What a window's metrics came to, beside the gauges that have a name.

    Attributes:
        direct: gauges of pages, by slot.
        of_calls: what histograms of calls gained.
        told: the histograms of calls on pages, also those told of for the first time.
    """

    direct: GaugeValues
    of_calls: list[Gain]
    told: tuple[DistributionPoint, ...]


class MetricGains:
    """The last numbers of all metric streams, and what they gained in the window at hand."""

    def __init__(
        self, settings: SeriesSettings, live: LiveNames, call_metrics: CallMetrics
    ) -> None:
        self._call_metrics = call_metrics
        self._streams = Streams(stream_count_max=2 * settings.series_count_max)
        self._scraped = ScrapedStreams(
            cell_count_max=_CELLS_PER_SERIES * settings.series_count_max
        )
        self._scraped_gauges = ScrapedGauges(live)

    def put(self, window: OpenWindow, gauges: Gauges, counts: SeriesCounts) -> MetricsOfWindow:
        """Add a window's points and pages to `gauges`; what calls are told by is handed back."""
        for number in self._streams.increases(window.numbers, counts):
            if self._call_metrics.yields(number.point):
                counts.told_twice[SIGNAL_METRICS] += number.point_count
            else:
                gauges.add(SeriesKey(*number.point.scope, number.point.signal), number)
        of_calls: list[Gain] = []
        for distribution in self._streams.increases(window.distributions, counts):
            point = distribution.point
            if self._call_metrics.takes(point):
                of_calls.append(distribution)
            elif self._call_metrics.yields(point):
                counts.told_twice[SIGNAL_METRICS] += distribution.point_count
            else:
                rate, p95 = distribution_keys(point)
                if rate is not None:
                    gauges.add(rate, distribution)
                gauges.add_histogram(p95, distribution)
        gains = self._scraped.gains(window.scraped, counts)
        calls_count = self._call_metrics.takes_histograms
        direct = self._scraped_gauges.put(
            gains,
            gauges,
            counts,
            calls_count=calls_count,
            telling=self._call_metrics.services_telling(),
        )
        if not calls_count:
            return MetricsOfWindow(direct=direct, of_calls=of_calls, told=())
        calls = calls_of(gains)
        of_calls += calls.gains
        return MetricsOfWindow(direct=direct, of_calls=of_calls, told=calls.told)

    def set_back(self, now_ns: int) -> None:
        """Forget what was told later than now."""
        self._streams.set_back(now_ns)
        self._scraped.set_back(now_ns)

    def forget_idle(self, before_ns: int, held: Held) -> None:
        """Forget streams whose last number is older and that nothing held speaks of."""
        self._streams.forget_idle(before_ns, held.streams)
        self._scraped.forget_idle(before_ns, held.pages)
        self._scraped_gauges.forget(self._scraped.targets)
