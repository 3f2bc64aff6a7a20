"""Metrics pages, as Prometheus scrapes them, to batches."""

from sentinel.core.normalise.page_settings import CallRule, PageFormat, PageLimits, PlacingRules
from sentinel.core.normalise.prometheus.default_placing import DefaultPlacing
from sentinel.core.normalise.prometheus.parser import (
    MetricsPage,
    MetricsParser,
    accept_of,
    format_of,
)
from sentinel.core.normalise.prometheus.placing import MetricType, Placing, SeriesName

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
