"""Points of metric streams to increases: what a counter gained since its last reading.

Points wait, unordered, until their window closes; then each stream's are taken in order of time. So neither the
order of arrival inside a window nor a point that was sent twice can change the result.

| the point, against the stream's last one | means | increase |
|---|---|---|
| pending (`DistributionPoint.pending`) | the stream was not read | none; the last one stays the last |
| first of its stream | nothing to compare with | none |
| first of a cumulative histogram that its process' last report had not | it began at 0 since | its value |
| same time | sent twice | none, counted as duplicate |
| earlier time; or delta that starts before the last point's time | overlap | none, counted as overlap |
| delta | | its own value, over its own interval |
| cumulative, start moved past the last point's time | the process restarted | its value, since its start |
| cumulative, same start, fell by less than 0.1 % | sums of floats merged in another order | 0; the higher value is kept |
| cumulative histogram, same start, at another resolution | buckets were merged as values spread | none: no spike is made up |
| cumulative, fell, after a report was left out | a restart, it is not known when | none in this window, of the whole metric |
| cumulative, fell | a restart that did not say so | its value |
| cumulative otherwise | | the difference |

A report was left out where the last one is longer ago than `LEFT_OUT_RATIO` times the interval before it: what has
restarted since was away for some of that time, and its value over all of it would be a rate that it never had. A metric's
other streams restarted with it, also one that had so little before that it did not fall: it would be all failures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sentinel.core.model import (
    DistributionPoint,
    NumberPoint,
    PointStream,
    RejectReason,
    Temporality,
)
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.stats import log_linear

FALL_RATIO = 0.001
"""A cumulative float may fall by less than this without having been reset."""
LEFT_OUT_RATIO = 1.5
"""An interval this much longer than the one before it had room for another report."""

Sparse = tuple[log_linear.Buckets, log_linear.Counts]
Point = TypeVar("Point", NumberPoint, DistributionPoint)


@dataclass(slots=True)
class _Last:
    start_ns: int
    time_ns: int
    value: float
    histogram: Sparse | None
    resolution: int
    interval_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase(Generic[Point]):
    """What one stream gained in a window.

    Attributes:
        point: the stream's last point in the window, for its names.
        value: the sum of the gains; for a gauge the last value.
        interval_s: how long it took to gain them; 0 for a gauge.
        histogram: the gain of a distribution.
        point_count: how many points it is made of.
    """

    point: Point
    value: float
    interval_s: float
    histogram: Sparse | None
    point_count: int


class Streams:
    """The last point of every stream that counts; bounded by `stream_count_max`."""

    def __init__(self, *, stream_count_max: int) -> None:
        self._stream_count_max = stream_count_max
        self._last: dict[PointStream, _Last] = {}
        self._reports: dict[tuple[object, ...], int] = {}
        self._anew: set[tuple[object, ...]] = set()

    def __len__(self) -> int:
        return len(self._last)

    def forget_idle(self, before_ns: int, held: Collection[PointStream]) -> None:
        """Forget streams whose last point is older, and that are not held; they start anew if they come back."""
        idle = [key for key, last in self._last.items() if last.time_ns < before_ns]
        for stream in idle:
            if stream not in held:
                del self._last[stream]
        for family in [key for key, time_ns in self._reports.items() if time_ns < before_ns]:
            del self._reports[family]

    def set_back(self, now_ns: int) -> None:
        """Forget streams whose last point is later than now: all that comes would look like an overlap with it."""
        for stream in [key for key, last in self._last.items() if last.time_ns > now_ns]:
            del self._last[stream]
        for family in [key for key, time_ns in self._reports.items() if time_ns > now_ns]:
            del self._reports[family]

    def increases(self, points: Iterable[Point], counts: SeriesCounts) -> list[Increase[Point]]:
        """What each stream gained by the points of one window."""
        by_stream: dict[PointStream, list[Point]] = {}
        for point in points:
            if not _is_pending(point):
                by_stream.setdefault(point.stream, []).append(point)
        result: list[Increase[Point]] = []
        self._anew.clear()
        for stream, own in by_stream.items():
            own.sort(key=_order)
            increase = (
                _last_value(own, counts)
                if own[0].temporality is Temporality.GAUGE
                else self._gain(stream, own, counts)
            )
            if increase is not None:
                result.append(increase)
        for stream, own in by_stream.items():
            if _may_begin_at_zero(own[-1]):
                family = stream.family
                self._reports[family] = max(self._reports.get(family, 0), own[-1].time_ns)
        if not self._anew:
            return result
        return [
            each
            for each in result
            if each.point.temporality is not Temporality.CUMULATIVE
            or each.point.stream.family not in self._anew
        ]

    def _gain(
        self, stream: PointStream, points: list[Point], counts: SeriesCounts
    ) -> Increase[Point] | None:
        value, interval_ns, point_count = 0.0, 0, 0
        gained: list[Sparse] = []
        for point in points:
            last = self._last.get(stream)
            if last is None:
                if len(self._last) >= self._stream_count_max:
                    counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += 1
                    continue
            elif _seen(point, last, counts):
                continue
            gain = (
                self._first(point)
                if last is None and _may_begin_at_zero(point)
                else _difference(point, last, counts)
            )
            self._last[stream] = _next(point, last)
            if gain is None:
                continue
            if gain.since_unknown:
                self._anew.add(stream.family)
            value += gain.value
            interval_ns += gain.interval_ns
            point_count += 1
            if gain.histogram is not None:
                gained.append(gain.histogram)
        if not point_count:
            return None
        return Increase(
            point=points[-1],
            value=value,
            interval_s=interval_ns / 1e9,
            histogram=log_linear.merge(*gained) if gained else None,
            point_count=point_count,
        )

    def _first(self, point: Point) -> _Gain | None:
        """What a stream gained that its process' last report had not; else its first errors would be missed."""
        reported_ns = self._reports.get(point.stream.family)
        if reported_ns is None or reported_ns >= point.time_ns:
            return None
        since_ns = max(reported_ns, point.start_ns)
        return _Gain(_value(point), point.time_ns - since_ns, _sparse(point))


@dataclass(frozen=True, slots=True)
class _Gain:
    value: float
    interval_ns: int
    histogram: Sparse | None
    since_unknown: bool = False


def _order(point: NumberPoint | DistributionPoint) -> tuple[int, int, float]:
    # The value breaks ties, so that two readings of one instant are taken in the same order however they came.
    return point.time_ns, point.start_ns, _value(point)


def _value(point: NumberPoint | DistributionPoint) -> float:
    return point.value if isinstance(point, NumberPoint) else float(point.count.sum())


def _sparse(point: NumberPoint | DistributionPoint) -> Sparse | None:
    return None if isinstance(point, NumberPoint) else (point.bucket, point.count)


def _resolution(point: NumberPoint | DistributionPoint) -> int:
    return 0 if isinstance(point, NumberPoint) else point.resolution


def _last_value(points: list[Point], counts: SeriesCounts) -> Increase[Point]:
    distinct = len({point.time_ns for point in points})
    counts.duplicates += len(points) - distinct
    last = points[-1]
    return Increase(
        point=last,
        value=_value(last),
        interval_s=0.0,
        histogram=_sparse(last),
        point_count=distinct,
    )


def _seen(point: Point, last: _Last, counts: SeriesCounts) -> bool:
    """Whether the time a point speaks of has been counted already."""
    if point.time_ns == last.time_ns:
        counts.duplicates += 1
        return True
    overlaps = point.time_ns < last.time_ns or (
        point.temporality is Temporality.DELTA and 0 < point.start_ns < last.time_ns
    )
    if overlaps:
        counts.dropped[SIGNAL_METRICS, RejectReason.OVERLAP] += 1
    return overlaps


def _difference(point: Point, last: _Last | None, counts: SeriesCounts) -> _Gain | None:
    value, histogram = _value(point), _sparse(point)
    if point.temporality is Temporality.DELTA:
        known_ns = point.start_ns or (last.time_ns if last else point.time_ns)
        return _Gain(value, max(point.time_ns - known_ns, 0), histogram)
    if last is None:
        return None
    interval_ns = point.time_ns - last.time_ns
    if point.start_ns != last.start_ns and point.start_ns >= last.time_ns:
        counts.resets += 1
        return _Gain(value, max(point.time_ns - point.start_ns, 0) or interval_ns, histogram)
    if _resolution(point) != last.resolution:
        return None
    left_out = 0 < LEFT_OUT_RATIO * last.interval_ns < interval_ns
    if histogram is not None and last.histogram is not None:
        gained = log_linear.subtract(histogram, last.histogram)
        if gained is None:
            counts.resets += 1
            return _Gain(value, interval_ns, histogram, since_unknown=left_out)
        return _Gain(float(gained[1].sum()), interval_ns, gained)
    if value >= last.value or not _is_monotonic(point):
        return _Gain(value - last.value, interval_ns, None)
    if _is_rounding(point, last):
        return _Gain(0.0, interval_ns, None)
    counts.resets += 1
    return _Gain(value, interval_ns, None, since_unknown=left_out)


def _next(point: Point, last: _Last | None) -> _Last:
    value = _value(point)
    if (
        last is not None
        and _is_monotonic(point)
        and value < last.value
        and _is_rounding(point, last)
    ):
        value = last.value
    interval_ns = 0 if last is None else point.time_ns - last.time_ns
    return _Last(
        point.start_ns, point.time_ns, value, _sparse(point), _resolution(point), interval_ns
    )


def _may_begin_at_zero(point: NumberPoint | DistributionPoint) -> bool:
    return isinstance(point, DistributionPoint) and point.temporality is Temporality.CUMULATIVE


def _is_pending(point: NumberPoint | DistributionPoint) -> bool:
    return isinstance(point, DistributionPoint) and point.pending


def _is_monotonic(point: NumberPoint | DistributionPoint) -> bool:
    return isinstance(point, NumberPoint) and point.monotonic


def _is_rounding(point: NumberPoint | DistributionPoint, last: _Last) -> bool:
    fall = last.value - _value(point)
    return point.start_ns == last.start_ns and 0 < fall < FALL_RATIO * last.value
