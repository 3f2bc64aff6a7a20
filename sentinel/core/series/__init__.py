"""SampleBatch to WindowBlock."""

from sentinel.core.series.aggregator import Aggregator
from sentinel.core.series.counts import SeriesCounts
from sentinel.core.series.live import OVERFLOW_POINTS, OVERFLOW_SCOPE
from sentinel.core.series.reduction import Reduction
from sentinel.core.series.settings import CallsFromLogs, CallsFromMetrics, SeriesSettings
from sentinel.core.series.windows import Closed, ClosedWindow, ClosedWindows, to_block

__all__ = [
    "OVERFLOW_POINTS",
    "OVERFLOW_SCOPE",
    "Aggregator",
    "CallsFromLogs",
    "CallsFromMetrics",
    "Closed",
    "ClosedWindow",
    "ClosedWindows",
    "Reduction",
    "SeriesCounts",
    "SeriesSettings",
    "to_block",
]
