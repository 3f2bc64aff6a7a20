"""What a metrics page's series are to us: asked once for each series, by whoever knows the target."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from sentinel.core.model import Placed


class MetricType(StrEnum):
    """The types of metrics, in OpenMetrics' words; Prometheus' `untyped` is UNKNOWN."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


class SeriesName(NamedTuple):
    """A series as its page names it.

    Attributes:
        name: as samples have it; of a histogram or summary without `_bucket`, `_count` and so on.
        type: of its metric.
        labels: without `le`; text from outside, not redacted and not cut.
    """

    name: str
    type: MetricType
    labels: Mapping[str, str]


class Placing(Protocol):
    """Who knows what the series of a target are.

    Of a histogram only DISTRIBUTION and CALLS can be made. A summary is its count: RATE, or CALLS, whose durations are then not
    known, because quantiles of many windows or processes cannot be put together; each of its quantiles is asked for as a gauge
    with its label. A number can be LEVEL or RATE, and a counter CALLS.
    """

    def place(self, series: SeriesName) -> Placed | None:
        """What it is to us, with labels cut and redacted (`core.normalise.labels.label_of`); None: not taken."""
        ...
