"""What the increases and levels of many streams come to, by series."""

from __future__ import annotations

import math

import numpy as np

from sentinel.core.model import DistributionPoint, NumberPoint, SeriesKey, Temporality
from sentinel.core.series.streams import Increase
from sentinel.core.stats import log_linear

LATENCY_QUANTILE = 0.95


class Gauges:
    """The gauges of one window: rates of several streams of a name add up, levels are averaged."""

    def __init__(self) -> None:
        self._rates: dict[SeriesKey, list[float]] = {}
        self._levels: dict[SeriesKey, list[float]] = {}
        self._histograms: dict[SeriesKey, list[tuple[log_linear.Buckets, log_linear.Counts]]] = {}
        self._points: dict[SeriesKey, int] = {}

    def add(
        self, key: SeriesKey, increase: Increase[NumberPoint] | Increase[DistributionPoint]
    ) -> None:
        """Take one stream's number into account; a gain over no known time is none."""
        if increase.point.temporality is Temporality.GAUGE:
            self._levels.setdefault(key, []).append(increase.value)
        elif increase.interval_s > 0:
            self._rates.setdefault(key, []).append(increase.value / increase.interval_s)
        else:
            return
        self._points[key] = self._points.get(key, 0) + increase.point_count

    def add_histogram(self, key: SeriesKey, increase: Increase[DistributionPoint]) -> None:
        """Take one stream's distribution into account."""
        if increase.histogram is None:
            return
        bucket, count = increase.histogram
        known = bucket != log_linear.UNTIMED
        if known.any():
            self._histograms.setdefault(key, []).append((bucket[known], count[known]))
            self._points[key] = self._points.get(key, 0) + increase.point_count

    def values(self) -> dict[SeriesKey, tuple[float, float]]:
        """Value and number of points of each; fsum, because its result does not depend on the order."""
        found = {
            key: (math.fsum(levels) / len(levels), float(self._points[key]))
            for key, levels in self._levels.items()
        }
        for key, rates in self._rates.items():
            found[key] = (math.fsum(rates), float(self._points[key]))
        merged = [log_linear.merge(*histograms) for histograms in self._histograms.values()]
        if merged:
            # All at once: the quantile of one histogram costs as much as that of a thousand.
            quantiles = log_linear.quantiles_by_row(
                np.cumsum([0, *(len(bucket) for bucket, _ in merged)]),
                np.concatenate([bucket for bucket, _ in merged]),
                np.concatenate([count for _, count in merged]),
                LATENCY_QUANTILE,
            )
            for key, quantile in zip(self._histograms, quantiles.tolist(), strict=True):
                found[key] = (quantile, float(self._points[key]))
        return found
