"""What metrics said in a window as plain data and back: points, metrics pages and measured columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    DistributionPoint,
    MeasuredColumns,
    NumberPoint,
    Placed,
    PointStream,
    Reading,
    Temporality,
)
from sentinel.core.series.collected.pages import Page
from sentinel.core.series.collected.plain_values import (
    TextTable,
    buckets_of,
    counts_of,
    flag_of,
    floats_of,
    ints_of,
    key_of,
    plain_floats,
    scope_of,
    stream_of,
    text_of,
    whole_of,
)


def plain_number(point: NumberPoint, streams: TextTable) -> list[Any]:
    """A point of a number as plain data."""
    return [
        streams.stream(point.stream),
        list(point.scope),
        point.signal,
        int(point.temporality),
        point.monotonic,
        point.start_ns,
        point.time_ns,
        plain_floats([point.value]),
        point.yields,
    ]


def number_of(plain: Sequence[Any], digests: Sequence[str]) -> NumberPoint:
    """The point of a number behind plain data."""
    stream, scope, signal, temporality, monotonic, start_ns, time_ns, value, yields = plain
    (number,) = floats_of(value).tolist()
    if not np.isfinite(number):
        msg = "a number is finite"
        raise ValueError(msg)
    return NumberPoint(
        stream=stream_of(stream, digests),
        scope=scope_of(scope),
        signal=text_of(signal),
        temporality=Temporality(whole_of(temporality)),
        monotonic=flag_of(monotonic),
        start_ns=whole_of(start_ns),
        time_ns=whole_of(time_ns),
        value=number,
        yields=flag_of(yields),
    )


_DISTRIBUTION_FLAGS = (
    "is_calls",
    "error",
    "times_only",
    "complete",
    "of_page",
    "yields",
    "bare",
    "pending",
)


def plain_distribution(point: DistributionPoint, streams: TextTable) -> list[Any]:
    """A point of a histogram as plain data."""
    return [
        streams.stream(point.stream),
        list(point.scope),
        point.signal,
        int(point.temporality),
        point.start_ns,
        point.time_ns,
        point.bucket.tolist(),
        point.count.tolist(),
        plain_floats([point.total]),
        point.newer_signal,
        point.resolution,
        [getattr(point, name) for name in _DISTRIBUTION_FLAGS],
    ]


def distribution_of(plain: Sequence[Any], digests: Sequence[str]) -> DistributionPoint:
    """The point of a histogram behind plain data."""
    (
        stream,
        scope,
        signal,
        temporality,
        start_ns,
        time_ns,
        bucket,
        count,
        total,
        newer_signal,
        resolution,
        flags,
    ) = plain
    buckets, counts = buckets_of(bucket), counts_of(count)
    if len(buckets) != len(counts) or (np.diff(buckets) <= 0).any():
        msg = "a histogram's buckets are ascending, and have counts"
        raise ValueError(msg)
    (summed,) = floats_of(total).tolist()
    if type(resolution) is not int:
        msg = "a resolution is an integer"
        raise TypeError(msg)
    return DistributionPoint(
        stream=stream_of(stream, digests),
        scope=scope_of(scope),
        signal=text_of(signal),
        temporality=Temporality(whole_of(temporality)),
        start_ns=whole_of(start_ns),
        time_ns=whole_of(time_ns),
        bucket=buckets,
        count=counts,
        total=summed,
        newer_signal=text_of(newer_signal),
        resolution=resolution,
        **{name: flag_of(flag) for name, flag in zip(_DISTRIBUTION_FLAGS, flags, strict=True)},
    )


_PLACED_FLAGS = ("error", "times_only", "complete", "yields", "bare")


def plain_page(page: Page, streams: TextTable) -> list[Any]:
    """A page of metrics as plain data."""
    return [
        page.target,
        page.time_ns,
        page.is_whole,
        [
            [
                streams.stream(identity),
                list(placed.scope),
                placed.signal,
                int(placed.reading),
                plain_floats([placed.scale]),
                placed.newer_signal,
                [getattr(placed, name) for name in _PLACED_FLAGS],
            ]
            for identity, placed in page.streams
        ],
        page.stream.tolist(),
        plain_floats(page.bound),
        page.bucket.tolist(),
        plain_floats(page.value),
        None if page.start_ns is None else page.start_ns.tolist(),
    ]


def page_of(plain: Sequence[Any], digests: Sequence[str]) -> Page:
    """The page of metrics behind plain data."""
    target, time_ns, is_whole, streams, stream, bound, bucket, value, start_ns = plain
    page = Page(
        target=text_of(target),
        time_ns=whole_of(time_ns),
        is_whole=flag_of(is_whole),
        streams=tuple(_placed_of(one, digests) for one in streams),
        stream=ints_of(stream).astype(np.int32),
        bound=floats_of(bound),
        bucket=buckets_of(bucket, least=-1),
        value=floats_of(value),
        start_ns=None if start_ns is None else ints_of(start_ns),
    )
    columns: list[NDArray[Any]] = [page.stream, page.bound, page.bucket, page.value]
    if page.start_ns is not None:
        columns.append(page.start_ns)
    count = len(page.value)
    if any(len(column) != count for column in columns):
        msg = "a page's columns have one length"
        raise ValueError(msg)
    if (
        np.unique(page.stream).tolist() != list(range(len(page.streams)))
        or (np.diff(page.stream) < 0).any()
    ):
        msg = "a page's numbers lie together by their streams, and each stream has one"
        raise ValueError(msg)
    return page


def _placed_of(plain: Sequence[Any], digests: Sequence[str]) -> tuple[PointStream, Placed]:
    stream, scope, signal, reading, scale, newer_signal, flags = plain
    (factor,) = floats_of(scale).tolist()
    placed = Placed(
        scope=scope_of(scope),
        signal=text_of(signal),
        reading=Reading(whole_of(reading)),
        scale=factor,
        newer_signal=text_of(newer_signal),
        **{name: flag_of(flag) for name, flag in zip(_PLACED_FLAGS, flags, strict=True)},
    )
    return stream_of(stream, digests), placed


def plain_measured(columns: MeasuredColumns) -> list[Any]:
    """Columns of what somebody else measured as plain data."""
    return [
        columns.source,
        columns.start_ns,
        columns.step_ns,
        [list(key) for key in columns.keys],
        plain_floats(columns.value),
        plain_floats(columns.weight),
    ]


def measured_of(plain: Sequence[Any]) -> MeasuredColumns:
    """The measured columns behind plain data."""
    source, start_ns, step_ns, keys, value, weight = plain
    columns = MeasuredColumns(
        source=text_of(source),
        start_ns=whole_of(start_ns),
        step_ns=whole_of(step_ns),
        keys=tuple(key_of(one) for one in keys),
        value=floats_of(value),
        weight=floats_of(weight),
    )
    if not len(columns.keys) == len(columns.value) == len(columns.weight):
        msg = "measured columns have one length"
        raise ValueError(msg)
    if not (np.isfinite(columns.value).all() and (columns.weight >= 0).all()):
        msg = "what is measured is finite, and its weight is not below 0"
        raise ValueError(msg)
    return columns
