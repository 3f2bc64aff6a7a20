"""Metrics pages as protobuf: `MetricFamily` messages, each after its length. The only format with native histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from sentinel.core.model import DistributionPoint, RejectReason
from sentinel.core.normalise.histogram_map import ExplicitMap
from sentinel.core.normalise.labels import text_of
from sentinel.core.normalise.otlp_elements import Structure, refuse_amplification
from sentinel.core.normalise.page_settings import PageLimits
from sentinel.core.normalise.prometheus.cells import PageCells
from sentinel.core.normalise.prometheus.families import Belonging, Role
from sentinel.core.normalise.prometheus.native import is_native, native_point
from sentinel.core.normalise.prometheus.placing import MetricType, Placing
from sentinel.core.normalise.prometheus.schema import LabelPair, MetricFamily
from sentinel.core.normalise.prometheus.streams import (
    NOTHING,
    Meaning,
    PageStreams,
    Part,
    RefusedSampleError,
)
from sentinel.core.normalise.prometheus.text import PageRead
from sentinel.errors import MalformedInputError

_TYPES = {
    0: MetricType.COUNTER,
    1: MetricType.GAUGE,
    2: MetricType.SUMMARY,
    3: MetricType.UNKNOWN,
    4: MetricType.HISTOGRAM,
    5: MetricType.GAUGE_HISTOGRAM,
}
_FIELDS = {
    MetricType.COUNTER: "counter",
    MetricType.GAUGE: "gauge",
    MetricType.UNKNOWN: "untyped",
}
_SPANS: Structure = {9: {}, 12: {}}
_STRUCTURE: Structure = {4: {1: {}, 4: {3: {}}, 7: {3: {}, **_SPANS}}}
_VARINT_BYTES_MAX = 10
_TIME_MAX_MS = 9_000_000_000_000

Key = tuple[object, ...]


class ProtobufReader:
    """Reads the protobuf pages of one target; what it remembers is bounded by the limits of a page."""

    def __init__(
        self, target: str, placing: Placing, *, limits: PageLimits, honour_timestamps: bool
    ) -> None:
        self._target = target
        self._placing = placing
        self._limits = limits
        self._honour_timestamps = honour_timestamps
        self._bounds = ExplicitMap()
        self._streams = PageStreams(target, placing, limits)
        self._known: dict[Key, tuple[Meaning, ...]] = {}
        self._keys: list[Key] = []
        self._cells: PageCells | None = None
        self._layout_rejected: Counter[RejectReason] = Counter()

    def read(self, body: bytes, *, time_ns: int) -> PageRead:
        """What a page brought.

        Raises:
            MalformedInputError: it is not valid.
            InputTooLargeError: it holds more elements than an honest page would.
        """
        if len(self._known) > 2 * self._limits.sample_count_max + len(self._keys) or (
            self._streams.size > 4 * self._limits.sample_count_max
        ):
            self._streams = PageStreams(self._target, self._placing, self._limits)
            self._known.clear()
            self._keys, self._cells = [], None
        page = _Page(
            self._streams,
            self._known,
            limits=self._limits,
            bounds=self._bounds,
            time_ns=time_ns,
            honour_timestamps=self._honour_timestamps,
        )
        for family in _families(body):
            page.take(family)
        if self._cells is None or page.keys != self._keys:
            self._cells, self._keys = page.cells(), page.keys
            self._layout_rejected = page.layout_rejected
        rejected = page.rejected + self._layout_rejected
        scraped, levels = self._cells.columns(
            np.array(page.values, np.float64),
            np.array(page.times_ns, np.int64) if page.has_times else None,
            time_ns=time_ns,
            is_whole=not page.rejected[RejectReason.LIMIT],
            rejected=rejected,
        )
        services = {point.scope.service for point in page.points}
        return PageRead(
            scraped=scraped,
            distributions=(*levels, *page.points),
            rejected=rejected,
            families=frozenset(page.families),
            services=self._cells.services().union(services),
        )


class _Page:
    """One page: keys and values in its order, and the points of its native histograms."""

    def __init__(
        self,
        streams: PageStreams,
        known: dict[Key, tuple[Meaning, ...]],
        *,
        limits: PageLimits,
        bounds: ExplicitMap,
        time_ns: int,
        honour_timestamps: bool,
    ) -> None:
        self._streams = streams
        self._known = known
        self._bounds = bounds
        self._time_ns = time_ns
        self._honour_timestamps = honour_timestamps
        self._left = limits.sample_count_max
        self._looks_left = 2 * limits.sample_count_max
        self.keys: list[Key] = []
        self.values: list[float] = []
        self.times_ns: list[int] = []
        self.has_times = False
        self.points: list[DistributionPoint] = []
        self.families: set[str] = set()
        self.rejected: Counter[RejectReason] = Counter()
        self.layout_rejected: Counter[RejectReason] = Counter()

    def take(self, family: Any) -> None:  # noqa: ANN401, RUF100 - the class is made at run time
        """Take one family's metrics."""
        name = text_of(family.name)
        kind = _TYPES.get(family.type)
        if not name or kind is None:
            self.rejected[RejectReason.BAD_SHAPE] += len(family.metric) or 1
            return
        self.families.add(name)
        for metric in family.metric:
            try:
                self._take(name, kind, metric)
            except RefusedSampleError as refusal:
                self.rejected[refusal.reason] += 1

    def cells(self) -> PageCells:
        """Where the values belong; a series that is there twice counts once."""
        given: set[Meaning] = set()
        meanings = []
        for key in self.keys:
            for meaning in self._known.get(key, ()):
                if meaning.part is not Part.NOTHING and meaning in given:
                    self.layout_rejected[RejectReason.DUPLICATE] += 1
                    meanings.append(NOTHING)
                else:
                    meanings.append(meaning)
                given.add(meaning)
        return PageCells(self._streams, meanings, self._bounds)

    def _take(self, name: str, kind: MetricType, metric: Any) -> None:  # noqa: ANN401, RUF100
        time_ns = self._time_of(metric)
        labels = b"\0".join(metric.label)
        if kind in (MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM):
            histogram = metric.histogram
            if is_native(histogram):
                self._take_native(name, kind, metric, time_ns)
                return
            bounds = tuple(bucket.upper_bound for bucket in histogram.bucket)
            values = [
                bucket.cumulative_count_float or float(bucket.cumulative_count)
                for bucket in histogram.bucket
            ]
            values.append(histogram.sample_count_float or float(histogram.sample_count))
            self._put((name, kind, labels, bounds), metric, values, histogram, time_ns)
        elif kind is MetricType.SUMMARY:
            told = metric.summary.quantile
            values = [float(metric.summary.sample_count), *(one.value for one in told)]
            key = (name, kind, labels, tuple(one.quantile for one in told))
            self._put(key, metric, values, metric.summary, time_ns)
        else:
            number = getattr(metric, _FIELDS[kind])
            self._put((name, kind, labels), metric, [number.value], number, time_ns)

    def _put(
        self,
        key: Key,
        metric: Any,  # noqa: ANN401, RUF100
        values: list[float],
        holder: Any,  # noqa: ANN401, RUF100
        time_ns: int,
    ) -> None:
        if holder.HasField("created"):
            created = holder.created
            values.append(created.seconds + created.nanos / 1e9)
            key = (*key, "created")
        meanings = self._known.get(key)
        if meanings is None:
            meanings = self._known[key] = self._look_at(key, metric)
        self._left -= sum(
            one.part in (Part.NUMBER, Part.QUANTILE, Part.BUCKET) for one in meanings
        )
        self.keys.append(key)
        self.values += values
        self.times_ns += [time_ns] * len(values)

    def _look_at(self, key: Key, metric: Any) -> tuple[Meaning, ...]:  # noqa: ANN401, RUF100
        """What each value of a metric is.

        Raises:
            RefusedSampleError: its labels are over a limit, there is no room, or a boundary is no number.
        """
        name, kind = key[0], key[1]
        assert isinstance(name, str), "made so"
        assert isinstance(kind, MetricType), "made so"
        self._looks_left -= 1
        if self._looks_left < 0:
            raise RefusedSampleError(RejectReason.LIMIT)
        labels = _labels_of(metric.label)
        room = self._left > 0

        def meaning(role: Role, labels: dict[str, str] = labels) -> Meaning:
            return self._streams.meaning(Belonging(name, kind, role, name), labels, room=room)

        if kind in (MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM):
            bounds = key[3]
            assert isinstance(bounds, tuple), "made so"
            found = [meaning(Role.BUCKET, {**labels, "le": repr(bound)}) for bound in bounds]
            found.append(meaning(Role.COUNT))
        elif kind is MetricType.SUMMARY:
            quantiles = key[3]
            assert isinstance(quantiles, tuple), "made so"
            found = [meaning(Role.COUNT)]
            found += [
                meaning(Role.QUANTILE, {**labels, "quantile": repr(each)}) for each in quantiles
            ]
        else:
            found = [meaning(Role.VALUE)]
        if key[-1] == "created":
            found.append(meaning(Role.CREATED))
        return tuple(found)

    def _take_native(
        self,
        name: str,
        kind: MetricType,
        metric: Any,  # noqa: ANN401, RUF100
        time_ns: int,
    ) -> None:
        labels = _labels_of(metric.label)
        belonging = Belonging(name, kind, Role.BUCKET, name)
        placed = self._streams.place(belonging, labels)
        if placed is None:
            return
        self._left -= 1
        if self._left < 0:
            raise RefusedSampleError(RejectReason.LIMIT)
        created = metric.histogram.created
        self.points.append(
            native_point(
                metric.histogram,
                stream=self._streams.identity_of(belonging, labels),
                placed=placed,
                is_level=kind is MetricType.GAUGE_HISTOGRAM,
                start_ns=max(created.seconds, 0) * 10**9 + created.nanos,
                time_ns=time_ns,
                bounds=self._bounds,
            )
        )

    def _time_of(self, metric: Any) -> int:  # noqa: ANN401, RUF100
        if not self._honour_timestamps or not 0 < metric.timestamp_ms < _TIME_MAX_MS:
            return self._time_ns
        self.has_times = True
        return int(metric.timestamp_ms) * 1_000_000


def _labels_of(raw: Sequence[bytes]) -> dict[str, str]:
    labels: dict[str, str] = {}
    try:
        for each in raw:
            pair = LabelPair.FromString(each)
            labels[text_of(pair.name)] = text_of(pair.value)
    except DecodeError:
        raise RefusedSampleError(RejectReason.BAD_SHAPE) from None
    return labels


def _families(body: bytes) -> Iterator[Any]:
    """The families of a page.

    Raises:
        MalformedInputError: a length or a message is broken.
    """
    at = 0
    while at < len(body):
        length, at = _length(body, at)
        if length > len(body) - at:
            msg = f"byte {at}: the page is cut off"
            raise MalformedInputError(msg)
        message = body[at : at + length]
        refuse_amplification(message, _STRUCTURE)
        try:
            yield MetricFamily.FromString(message)
        except DecodeError as error:
            msg = f"byte {at}: not a valid MetricFamily"
            raise MalformedInputError(msg) from error
        at += length


def _length(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(_VARINT_BYTES_MAX):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, at
    msg = f"byte {at}: a length is broken"
    raise MalformedInputError(msg)
