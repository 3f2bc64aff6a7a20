"""The streams of one target: what each series of its pages is, found out once, and the number it has from then on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from sentinel.core.model import Placed, PointStream, Reading, RejectReason, StreamTable
from sentinel.core.normalise.page_settings import PageLimits
from sentinel.core.normalise.prometheus.families import Belonging, Role
from sentinel.core.normalise.prometheus.placing import MetricType, Placing, SeriesName

BUCKETS_MAX = 512
"""Buckets of one histogram; beyond them it is no histogram but an attack, or a mistake."""


class RefusedSampleError(Exception):
    """A sample that is not kept, and why; never leaves this package."""

    def __init__(self, reason: RejectReason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class Part(IntEnum):
    """What a sample gives to its stream."""

    NOTHING = 0
    NUMBER = 1
    BUCKET = 2
    COUNT = 3
    START = 4
    QUANTILE = 5
    """As NUMBER, and not a number while its summary has seen nothing lately."""


class Meaning(NamedTuple):
    """What a sample is.

    Attributes:
        part: what it gives.
        number: the cell of a NUMBER or QUANTILE; the position in `histograms` of a BUCKET or COUNT; of the stream for a START, see `stream_of_start`.
        bound: upper boundary of a BUCKET.
    """

    part: Part
    number: int = -1
    bound: float = math.nan


NOTHING = Meaning(Part.NOTHING)


@dataclass(slots=True)
class Histogram:
    """A classic histogram: a stream whose cells are its buckets.

    Attributes:
        identity: of the stream.
        placed: what it is to us.
        is_level: whether it is a gauge histogram, which has no stream: its numbers are not compared with earlier ones.
        stream: in the table, or -1.
        cells: upper boundary to cell; of a gauge histogram the cells are -1.
    """

    identity: PointStream
    placed: Placed
    is_level: bool
    stream: int = -1
    cells: dict[float, int] = field(default_factory=dict)


class PageStreams:
    """What is known of a target's series; who reads its pages begins a new one when it has grown too large."""

    def __init__(self, target: str, placing: Placing, limits: PageLimits) -> None:
        self._placing = placing
        self._limits = limits
        self._streams: dict[PointStream, int] = {}
        self._histogram_of: dict[PointStream, int] = {}
        self.table = StreamTable(target)
        self.histograms: list[Histogram] = []
        self._starts: list[PointStream] = []
        self._start_of: dict[PointStream, int] = {}

    @property
    def size(self) -> int:
        """How much is remembered."""
        return self.table.cell_count + len(self._starts) + len(self.histograms)

    def meaning(self, belonging: Belonging, labels: Mapping[str, str], *, room: bool) -> Meaning:
        """What a sample is.

        Args:
            belonging: its metric.
            labels: all of its labels.
            room: whether a stream may be added.

        Raises:
            RefusedSampleError: its labels are over a limit, there is no room, or its boundary is no number.
        """
        self.check_labels(labels)
        role = belonging.role
        if role is Role.SUM:
            return NOTHING
        part = Part.NUMBER
        if role is Role.QUANTILE:
            # A level of its own: it says how its summary stands now, and nothing of its calls' number.
            part, labels = Part.QUANTILE, {**labels, "quantile": _quantile_of(labels)}
            belonging = belonging._replace(type=MetricType.GAUGE, role=Role.VALUE)
        if role is Role.CREATED:
            identity = self._identity(belonging, labels)
            number = self._start_of.setdefault(identity, len(self._starts))
            if number == len(self._starts):
                self._starts.append(identity)
            return Meaning(Part.START, number)
        if belonging.type in (MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM):
            return self._histogram_part(belonging, labels, room=room)
        kind = belonging.type
        name = belonging.family if kind is MetricType.SUMMARY else belonging.name
        identity = self._identity(belonging, labels)
        stream = self._streams.get(identity)
        if stream is None:
            placed = self._placing.place(SeriesName(name, kind, labels))
            if placed is None:
                return NOTHING
            if part is Part.QUANTILE and placed.reading is not Reading.LEVEL:
                # A rule made calls of its summary by name; their count is told by that.
                return NOTHING
            if placed.reading is Reading.DISTRIBUTION:
                raise RefusedSampleError(RejectReason.UNSUPPORTED)
            if not room:
                raise RefusedSampleError(RejectReason.LIMIT)
            stream = self._streams[identity] = self.table.add_stream(identity, placed)
        return Meaning(part, int(self.table.first_cell[stream]))

    def identity_of(self, belonging: Belonging, labels: Mapping[str, str]) -> PointStream:
        """The stream of a native histogram, which is no part of the table."""
        return self._identity(belonging, labels)

    def place(self, belonging: Belonging, labels: Mapping[str, str]) -> Placed | None:
        """What a series is, for one that is no part of the table.

        Raises:
            RefusedSampleError: its labels are over a limit, or it is placed as what a histogram cannot be.
        """
        self.check_labels(labels)
        placed = self._placing.place(SeriesName(belonging.family, belonging.type, labels))
        if placed is not None and placed.reading < Reading.DISTRIBUTION:
            raise RefusedSampleError(RejectReason.UNSUPPORTED)
        return placed

    def stream_of_start(self, number: int) -> int:
        """The stream whose start a START tells; -1 when there is none."""
        identity = self._starts[number]
        stream = self._streams.get(identity)
        if stream is None and (at := self._histogram_of.get(identity)) is not None:
            stream = self.histograms[at].stream
        return -1 if stream is None else stream

    def check_labels(self, labels: Mapping[str, str]) -> None:
        """Refuse labels over the limits.

        Raises:
            RefusedSampleError: they are.
        """
        limits = self._limits
        if len(labels) > limits.label_count_max or any(
            len(name) > limits.label_name_chars_max or len(value) > limits.label_value_chars_max
            for name, value in labels.items()
        ):
            raise RefusedSampleError(RejectReason.LIMIT)

    def _identity(self, belonging: Belonging, labels: Mapping[str, str]) -> PointStream:
        # The same in every format: text names a counter with `_total`, OpenMetrics its metric without.
        base = belonging.family
        if belonging.type is MetricType.COUNTER:
            base = base.removesuffix("_total")
        return PointStream(
            (self.table.target, "", base, "", belonging.type.value, *sorted(labels.items()))
        )

    def _histogram_part(
        self, belonging: Belonging, labels: Mapping[str, str], *, room: bool
    ) -> Meaning:
        is_bucket = belonging.role is Role.BUCKET
        bound = math.inf
        if is_bucket:
            bound = _bound_of(labels.get("le", ""))
            labels = {name: value for name, value in labels.items() if name != "le"}
        identity = self._identity(belonging, labels)
        at = self._histogram_of.get(identity)
        if at is None:
            placed = self._placing.place(SeriesName(belonging.family, belonging.type, labels))
            if placed is None:
                return NOTHING
            if placed.reading < Reading.DISTRIBUTION:
                raise RefusedSampleError(RejectReason.UNSUPPORTED)
            if not room:
                raise RefusedSampleError(RejectReason.LIMIT)
            at = self._histogram_of[identity] = len(self.histograms)
            is_level = belonging.type is MetricType.GAUGE_HISTOGRAM
            self.histograms.append(Histogram(identity, placed, is_level))
        histogram = self.histograms[at]
        if bound not in histogram.cells:
            if len(histogram.cells) >= BUCKETS_MAX:
                raise RefusedSampleError(RejectReason.LIMIT)
            histogram.cells[bound] = self._add_cell(histogram, bound)
        return Meaning(Part.BUCKET if is_bucket else Part.COUNT, at, bound)

    def _add_cell(self, histogram: Histogram, bound: float) -> int:
        if histogram.is_level:
            return -1
        if histogram.stream < 0:
            histogram.stream = self.table.add_stream(
                histogram.identity, histogram.placed, bound=bound
            )
            return int(self.table.first_cell[histogram.stream])
        return self.table.add_cell(histogram.stream, bound=bound)


def _quantile_of(labels: Mapping[str, str]) -> str:
    """The same in every format: text has `1`, OpenMetrics `1.0`, protobuf a number."""
    try:
        quantile = float(labels.get("quantile", ""))
    except ValueError:
        quantile = math.nan
    if not 0 <= quantile <= 1:
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    return f"{quantile:.6g}"


def _bound_of(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    return bound
