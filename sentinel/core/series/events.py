"""Events that are told one by one and are no calls: counted by series and value, so that their order cannot matter.

A series of events that have a value is their 95th percentile; any other is their rate a second, and that is 0 in a window in
which the log that tells of them told of anything else of its service.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import EventColumns, SeriesKey
from sentinel.core.series.calls import key_of, sums_of
from sentinel.core.series.event_window import EventWindow
from sentinel.core.series.gauges import LATENCY_QUANTILE
from sentinel.core.series.layout import Layout
from sentinel.core.series.live import OVERFLOW_POINTS, LiveNames
from sentinel.core.stats import log_linear

WindowOf = Callable[[int, int], EventWindow | None]
"""Gives the window of an instant for so many events, or counts why there is none."""


class Events:
    """Takes events into windows, and says what they come to."""

    def __init__(self, live: LiveNames) -> None:
        self._live = live
        self._counted: set[SeriesKey] = set()

    def add(self, events: EventColumns, window_of: WindowOf, *, window_ns: int) -> None:
        """Count events in their windows."""
        if not len(events.time_ns):
            return
        slots = np.array([self._live.gauge_slot(key) for key in events.keys], np.int64)
        measured = np.zeros(len(events.keys), np.bool_)
        known = ~np.isnan(events.value)
        measured[events.key_index[known]] = True
        self._counted.update(
            key
            for key, is_measured in zip(events.keys, measured.tolist(), strict=True)
            if not is_measured
        )
        bucket = np.full(len(events.value), log_linear.UNTIMED, np.int16)
        bucket[known] = log_linear.bucket_of(events.value[known])
        key = key_of(slots[events.key_index], bucket, np.zeros(len(bucket), np.bool_))
        index = events.time_ns // window_ns
        for each in np.unique(index).tolist():
            rows = index == each
            window = window_of(each * window_ns, int(np.count_nonzero(rows)))
            if window is not None:
                window.counts.add(key[rows])
                window.named.update(slots.tolist())

    def is_rated(self, key: SeriesKey) -> bool:
        """Whether a series of events is a rate, because some of them had no value."""
        return key in self._counted

    def rate(self, keys: Iterable[SeriesKey]) -> None:
        """Take series for rates that another process knows to be so."""
        self._counted.update(keys)

    def values(
        self, window: EventWindow, *, window_s: float
    ) -> tuple[dict[int, tuple[float, float]], int]:
        """Value and weight of each series that was looked at, by slot; and how many events went to the overflow."""
        if not window:
            return {}, 0
        key, count = window.counts.totals()
        sums = sums_of(key, count, width=self._live.gauges.width)
        p95 = sums.quantile(LATENCY_QUANTILE)
        found: dict[int, tuple[float, float]] = {}
        over = 0
        for slot in sorted(window.named):
            name = self._live.gauges.names[slot]
            if name is None:
                continue
            number = float(sums.calls[slot])
            if name == OVERFLOW_POINTS:
                over += int(number)
            elif name in self._counted:
                found[slot] = number / window_s, number
            elif sums.timed[slot]:
                found[slot] = float(p95[slot]), float(sums.timed[slot])
        return found, over

    def quiet(self, layout: Layout, services: Collection[str]) -> NDArray[np.bool_]:
        """bool[G], gauges that count events of services whose log told of something, so that none means 0."""
        if not services or not self._counted:
            return np.zeros(len(layout.gauges), np.bool_)
        names = (self._live.gauges.names[slot] for slot in layout.gauges.tolist())
        return np.array(
            [
                name is not None and name.service in services and name in self._counted
                for name in names
            ],
            np.bool_,
        )

    def forget_idle(self) -> None:
        """Forget series that are not live any more."""
        self._counted = {key for key in self._counted if self._live.gauges.find(key) is not None}
