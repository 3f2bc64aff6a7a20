"""OTLP metrics to numbers and distributions.

| metric | becomes | its series |
|---|---|---|
| gauge, cumulative sum that may fall | the value itself | the metric's name |
| monotonic sum, delta sum | a rate a second | the metric's name |
| histogram, explicit or exponential | a distribution | `<name>:rate`, `<name>:p95` |
| histogram without boundaries | a distribution of unknown values | `<name>:rate` |
| summary | refused: quantiles of many windows or processes cannot be put together | |

The histograms that semantic conventions define for calls (`call_metrics`) get the place the spans of those calls have,
and say that they are of calls; whether they count as calls, beside spans of the same, is decided when windows close.

Any other metric is placed at stage `metrics`, with its attributes as the route. A stream's identity includes all that
makes two points incomparable: resource, scope, name, unit, type, temporality, attributes, and a histogram's boundaries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from sentinel.core.model import (
    DistributionPoint,
    NumberPoint,
    PointStream,
    RejectReason,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.core.normalise.call_metrics import CALL_METRICS, CallMetric
from sentinel.core.normalise.histogram_map import ExplicitMap, exponential_buckets
from sentinel.core.normalise.labels import label_of, text_of
from sentinel.core.normalise.otlp_schema import MetricsRequest
from sentinel.core.normalise.otlp_values import ResourceNames, all_attributes_of
from sentinel.core.stats import log_linear
from sentinel.errors import MalformedInputError

STAGE_METRICS = "metrics"
ROUTE_ALL = "all"

FUTURE_MAX_NS = 300 * 10**9
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_COUNT_MAX = 1 << 53
_INTERVAL_MAX_NS = 24 * 3600 * 10**9
_PLACES_MAX = 20_000
_NO_RECORDED_VALUE = 1

_SECONDS_PER_UNIT = {b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"ns": 1e-9}


class _Place(NamedTuple):
    """What a stream's points become."""

    scope: Scope
    signal: str
    scale: float = 1.0
    calls: CallMetric | None = None
    error: bool = False


class _RejectedError(Exception):
    """A point that is not kept, and why; never leaves this module."""

    def __init__(self, reason: RejectReason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class _Source(NamedTuple):
    """What the points of one metric share."""

    resource: bytes
    scope: bytes
    service: str
    metric: Any


class MetricsDecoder:
    """Decodes metrics requests; holds bounded caches, so one is kept for the life of a receiver."""

    def __init__(self) -> None:
        self._resources = ResourceNames()
        self._places: dict[PointStream, tuple[PointStream, _Place]] = {}
        self._explicit = ExplicitMap()

    def decode(self, body: bytes, *, now_ns: int) -> SampleBatch:
        """The points of one `ExportMetricsServiceRequest`.

        Raises:
            MalformedInputError: it is not valid protobuf.
        """
        try:
            request = MetricsRequest.FromString(body)
        except DecodeError as error:
            msg = "the body is not a valid OTLP metrics request"
            raise MalformedInputError(msg) from error
        return self.decode_message(request, now_ns=now_ns)

    def decode_message(self, request: Any, *, now_ns: int) -> SampleBatch:  # noqa: ANN401, RUF100
        """As `decode`, for a message of `otlp_schema`, such as one made from JSON."""
        numbers: list[NumberPoint] = []
        distributions: list[DistributionPoint] = []
        rejected: dict[RejectReason, int] = {}
        services: set[str] = set()
        versions: set[tuple[str, str]] = set()
        for source in self._sources(request, services, versions):
            for make, point in self._points(source):
                try:
                    _check_times(point, now_ns)
                    made = make(source, point)
                except _RejectedError as refusal:
                    rejected[refusal.reason] = rejected.get(refusal.reason, 0) + 1
                    continue
                if isinstance(made, NumberPoint):
                    numbers.append(made)
                else:
                    distributions.append(made)
        return SampleBatch(
            numbers=tuple(numbers),
            distributions=tuple(distributions),
            rejected=rejected,
            services=frozenset(services),
            versions=frozenset(versions),
        )

    def _sources(
        self,
        request: Any,  # noqa: ANN401, RUF100
        services: set[str],
        versions: set[tuple[str, str]],
    ) -> Iterator[_Source]:
        for resource_metrics in request.resource_metrics:
            resource = resource_metrics.resource
            labels = self._resources.labels(resource)
            service = labels.service
            services.add(service)
            if labels.version:
                versions.add(labels)
            for scope_metrics in resource_metrics.scope_metrics:
                scope = scope_metrics.scope
                for metric in scope_metrics.metrics:
                    yield _Source(resource, scope, service, metric)

    def _points(self, source: _Source) -> Iterator[tuple[Any, Any]]:
        """Each point of a metric with the function that makes it; points without a recorded value are left out."""
        metric = source.metric
        for field, make in (
            ("gauge", self._gauge),
            ("sum", self._sum),
            ("histogram", self._histogram),
            ("exponential_histogram", self._exponential),
            ("summary", _refuse_summary),
        ):
            if metric.HasField(field):
                for point in getattr(metric, field).data_points:
                    if field == "summary" or not point.flags & _NO_RECORDED_VALUE:
                        yield make, point

    def _gauge(self, source: _Source, point: Any) -> NumberPoint:  # noqa: ANN401, RUF100
        return self._number(source, point, Temporality.GAUGE, kind="gauge", monotonic=False)

    def _sum(self, source: _Source, point: Any) -> NumberPoint:  # noqa: ANN401, RUF100
        numbers = source.metric.sum
        temporality = _temporality_of(numbers.temporality)
        monotonic = bool(numbers.monotonic)
        if temporality is Temporality.CUMULATIVE and not monotonic:
            # A sum that may fall, such as a queue's depth, is a level: its value matters, not its change.
            temporality = Temporality.GAUGE
        return self._number(source, point, temporality, kind="sum", monotonic=monotonic)

    def _number(
        self,
        source: _Source,
        point: Any,  # noqa: ANN401, RUF100
        temporality: Temporality,
        *,
        kind: str,
        monotonic: bool,
    ) -> NumberPoint:
        which = point.WhichOneof("value")
        if which is None:
            raise _RejectedError(RejectReason.NO_VALUE)
        value = float(getattr(point, which))
        if not math.isfinite(value) or abs(value) > _FLOAT32_MAX:
            raise _RejectedError(RejectReason.NOT_FINITE)
        if monotonic and value < 0:
            raise _RejectedError(RejectReason.NEGATIVE)
        _check_interval(point, temporality)
        stream, place = self._place(source, (kind, int(temporality), monotonic), point.attributes)
        return NumberPoint(
            stream=stream,
            scope=place.scope,
            signal=place.signal,
            temporality=temporality,
            monotonic=monotonic,
            start_ns=point.start_ns,
            time_ns=point.time_ns,
            value=value,
        )

    def _histogram(self, source: _Source, point: Any) -> DistributionPoint:  # noqa: ANN401, RUF100
        temporality = _temporality_of(source.metric.histogram.temporality)
        bounds = tuple(point.explicit_bounds)
        raw: Sequence[int] = point.bucket_counts
        # Without boundaries a sender may leave out the one bucket as well: its count is that of all.
        counts = _counts_of(raw if raw or bounds else (point.count,), total=point.count)
        stream, place = self._place(
            source, ("histogram", int(temporality), bounds), point.attributes
        )
        bucket_of_bound = self._explicit.buckets(bounds, scale=place.scale)
        if bucket_of_bound is None or len(bucket_of_bound) != len(counts):
            raise _RejectedError(RejectReason.BAD_SHAPE)
        return _distribution(stream, place, temporality, point, bucket_of_bound, counts)

    def _exponential(self, source: _Source, point: Any) -> DistributionPoint:  # noqa: ANN401, RUF100
        temporality = _temporality_of(source.metric.exponential_histogram.temporality)
        if any(point.negative.bucket_counts):
            raise _RejectedError(RejectReason.UNSUPPORTED)
        positive = _counts_of(point.positive.bucket_counts, total=point.count - point.zero_count)
        stream, place = self._place(source, ("exponential", int(temporality)), point.attributes)
        buckets = exponential_buckets(
            scale=point.scale,
            offset=point.positive.offset,
            length=len(positive),
            unit=place.scale,
        )
        if buckets is None:
            raise _RejectedError(RejectReason.BAD_SHAPE)
        return _distribution(
            stream,
            place,
            temporality,
            point,
            np.concatenate((np.zeros(1, np.int16), buckets)),
            np.concatenate((np.array([point.zero_count], np.int64), positive)),
            resolution=point.scale,
        )

    def _place(
        self, source: _Source, identity: tuple[object, ...], attributes: Iterable[bytes]
    ) -> tuple[PointStream, _Place]:
        metric = source.metric
        # Sorted, because the order of attributes means nothing and some senders change it.
        raw = sorted(attributes)
        stream = PointStream(
            (source.resource, source.scope, metric.name, metric.unit, *identity, *raw)
        )
        known = self._places.get(stream)
        if known is None:
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            known = self._places[stream] = (stream, self._placed(source, all_attributes_of(raw)))
        return known

    def _placed(self, source: _Source, attributes: dict[str, str]) -> _Place:
        name, unit = source.metric.name, source.metric.unit
        signal = label_of(text_of(name))
        metric = CALL_METRICS.get(name)
        # A size in bytes under the name of a duration is a sender's mistake, not a duration.
        scale = _SECONDS_PER_UNIT.get(unit or (metric.unit if metric else b""))
        if metric is None or scale is None:
            route = ",".join(f"{key}={value}" for key, value in sorted(attributes.items()))
            return _Place(
                Scope(source.service, STAGE_METRICS, label_of(route) or ROUTE_ALL), signal
            )
        return _Place(
            scope=metric.scope_of(source.service, attributes),
            signal=signal,
            scale=scale,
            calls=metric,
            error=metric.has_failed(attributes),
        )


def _refuse_summary(source: _Source, point: Any) -> NumberPoint:  # noqa: ANN401, ARG001, RUF100
    raise _RejectedError(RejectReason.UNSUPPORTED)


def _check_times(point: Any, now_ns: int) -> None:  # noqa: ANN401, RUF100
    if point.time_ns == 0:
        raise _RejectedError(RejectReason.NO_TIME)
    if point.time_ns > now_ns + FUTURE_MAX_NS:
        raise _RejectedError(RejectReason.FUTURE)
    # A summary declares no start; it is refused for another reason.
    if getattr(point, "start_ns", 0) > point.time_ns:
        raise _RejectedError(RejectReason.NEGATIVE)


def _temporality_of(number: int) -> Temporality:
    if number not in (Temporality.DELTA, Temporality.CUMULATIVE):
        raise _RejectedError(RejectReason.NO_TEMPORALITY)
    return Temporality(number)


def _check_interval(point: Any, temporality: Temporality) -> None:  # noqa: ANN401, RUF100
    """Refuse what was gained over more than a day: a start in 1970 would make the rate nothing.

    A cumulative start may be that long ago, and is used only to find restarts.
    """
    is_long = 0 < point.start_ns < point.time_ns - _INTERVAL_MAX_NS
    if temporality is Temporality.DELTA and is_long:
        raise _RejectedError(RejectReason.TOO_LONG)


def _counts_of(raw: Iterable[int], *, total: int) -> NDArray[np.int64]:
    counts = list(raw)
    if sum(counts) != total or total >= _COUNT_MAX:
        raise _RejectedError(RejectReason.BAD_SHAPE)
    return np.array(counts, np.int64)


def _distribution(
    stream: PointStream,
    place: _Place,
    temporality: Temporality,
    point: Any,  # noqa: ANN401, RUF100
    bucket: NDArray[np.int16],
    count: NDArray[np.int64],
    *,
    resolution: int = 0,
) -> DistributionPoint:
    _check_interval(point, temporality)
    bucket, count = log_linear.in_order(bucket, count)
    return DistributionPoint(
        stream=stream,
        scope=place.scope,
        signal=place.signal,
        temporality=temporality,
        start_ns=point.start_ns,
        time_ns=point.time_ns,
        bucket=bucket,
        count=count,
        total=float(point.sum) if point.HasField("sum") else math.nan,
        is_calls=place.calls is not None,
        error=place.error,
        newer_signal=place.calls.newer_name if place.calls is not None else "",
        resolution=resolution,
    )
