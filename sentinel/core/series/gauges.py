"""What the increases and levels of many streams come to, by series."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import DistributionPoint, NumberPoint, SeriesKey, Temporality
from sentinel.core.series.streams import Increase
from sentinel.core.stats import log_linear

LATENCY_QUANTILE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeValues:
    """Values of gauges by slot, each slot once.

    Attributes:
        slot: int64[n].
        value: float64[n].
        weight: float64[n], points each is made of.
    """

    slot: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]

    def with_values(self, by_slot: Mapping[int, tuple[float, float]]) -> GaugeValues:
        """These, and those of other slots, with their weights."""
        if not by_slot:
            return self
        value = [value for value, _ in by_slot.values()]
        weight = [weight for _, weight in by_slot.values()]
        return GaugeValues(
            slot=np.concatenate((self.slot, np.array(list(by_slot), np.int64))),
            value=np.concatenate((self.value, np.array(value, np.float64))),
            weight=np.concatenate((self.weight, np.array(weight, np.float64))),
        )


class Gauges:
    """The gauges of one window: rates of several streams of a name add up, levels are averaged."""

    def __init__(self) -> None:
        self._rates: dict[SeriesKey, list[float]] = {}
        self._levels: dict[SeriesKey, list[float]] = {}
        self._histograms: dict[SeriesKey, list[tuple[log_linear.Buckets, log_linear.Counts]]] = {}
        self._points: dict[SeriesKey, int] = {}

    def named(self) -> set[SeriesKey]:
        """The series that something was put into."""
        return {*self._rates, *self._levels, *self._histograms}

    def add(
        self, key: SeriesKey, increase: Increase[NumberPoint] | Increase[DistributionPoint]
    ) -> None:
        """Take one stream's number into account; a gain over no known time is none."""
        if increase.point.temporality is Temporality.GAUGE:
            self.add_level(key, increase.value, increase.point_count)
        elif increase.interval_s > 0:
            self.add_rate(key, increase.value / increase.interval_s, increase.point_count)

    def add_histogram(self, key: SeriesKey, increase: Increase[DistributionPoint]) -> None:
        """Take one stream's distribution into account."""
        if increase.histogram is not None:
            self.add_counts(key, increase.histogram, increase.point_count)

    def add_level(self, key: SeriesKey, value: float, point_count: int) -> None:
        """Take a level into account that is made of so many points."""
        self._levels.setdefault(key, []).append(value)
        self._points[key] = self._points.get(key, 0) + point_count

    def add_rate(self, key: SeriesKey, rate: float, point_count: int) -> None:
        """Take a rate into account."""
        self._rates.setdefault(key, []).append(rate)
        self._points[key] = self._points.get(key, 0) + point_count

    def add_counts(
        self,
        key: SeriesKey,
        histogram: tuple[log_linear.Buckets, log_linear.Counts],
        point_count: int,
    ) -> None:
        """Take observations into account, those of which the value is known."""
        bucket, count = histogram
        known = bucket != log_linear.UNTIMED
        if known.any():
            self._histograms.setdefault(key, []).append((bucket[known], count[known]))
            self._points[key] = self._points.get(key, 0) + point_count

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
