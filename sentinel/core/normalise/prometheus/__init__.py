"""Metrics pages, as Prometheus scrapes them, to batches."""

from sentinel.core.normalise.prometheus.default_placing import (
    CallRule,
    DefaultPlacing,
    PlacingRules,
)
from sentinel.core.normalise.prometheus.parser import (
    MetricsPage,
    MetricsParser,
    PageFormat,
    accept_of,
    format_of,
)
from sentinel.core.normalise.prometheus.placing import MetricType, Placing, SeriesName
from sentinel.core.normalise.prometheus.streams import PageLimits

__all__ = [
    "CallRule",
    "DefaultPlacing",
    "MetricType",
    "MetricsPage",
    "MetricsParser",
    "PageFormat",
    "PageLimits",
    "Placing",
    "PlacingRules",
    "SeriesName",
    "accept_of",
    "format_of",
]
