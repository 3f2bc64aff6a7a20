"""Native histograms: sparse buckets of powers of 2^(2^-schema), and zero, and what is below it.

| part | becomes |
|---|---|
| bucket i of schema -4 to 8, (base^(i-1), base^i] | its geometric middle; OTLP numbers the same bucket i - 1 |
| schema -53 | the boundaries of the classic buckets that come with it |
| zero bucket | 0 |
| negative buckets | counted, their values not known: what is negative is no duration and no size |
| observations in no bucket, such as NaN | the same |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    DistributionPoint,
    Placed,
    PointStream,
    Reading,
    RejectReason,
    Temporality,
)
from sentinel.core.normalise.histogram_map import ExplicitMap, exponential_buckets_at
from sentinel.core.normalise.prometheus.streams import RefusedSampleError
from sentinel.core.stats import log_linear

CUSTOM = -53
_SCHEMA_MIN, _SCHEMA_MAX = -4, 8
_BUCKETS_MAX = 4096
_COUNT_MAX = 1 << 53
_INDEX_MAX = 1 << 20


def is_native(histogram: Any) -> bool:  # noqa: ANN401, RUF100 - the class is made at run time
    """Whether a message of `schema` has native buckets; an empty one has a span without length."""
    return bool(
        histogram.positive_span
        or histogram.negative_span
        or histogram.zero_threshold > 0
        or histogram.zero_count
        or histogram.zero_count_float
    )


def native_point(
    histogram: Any,  # noqa: ANN401, RUF100
    *,
    stream: PointStream,
    placed: Placed,
    is_level: bool,
    start_ns: int,
    time_ns: int,
    bounds: ExplicitMap,
) -> DistributionPoint:
    """One reading of a native histogram.

    Raises:
        RefusedSampleError: its buckets, spans and count do not agree, or its schema is not known.
    """
    index, count = _buckets(
        histogram.positive_span, histogram.positive_delta, histogram.positive_count
    )
    _, below = _buckets(
        histogram.negative_span, histogram.negative_delta, histogram.negative_count
    )
    zero = _whole(histogram.zero_count_float or float(histogram.zero_count))
    total = _whole(histogram.sample_count_float or float(histogram.sample_count))
    unknown = total - zero - int(count.sum())
    if unknown < int(below.sum()):
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    bucket, filled = log_linear.in_order(
        np.concatenate(
            (_places(histogram, index, placed.scale, bounds), np.array([0, log_linear.UNTIMED]))
        ).astype(np.int16),
        np.concatenate((count, np.array([zero, unknown], np.int64))),
    )
    return DistributionPoint(
        stream=stream,
        scope=placed.scope,
        signal=placed.signal,
        temporality=Temporality.GAUGE if is_level else Temporality.CUMULATIVE,
        start_ns=start_ns,
        time_ns=time_ns,
        bucket=bucket,
        count=filled,
        total=float(histogram.sample_sum) if histogram.HasField("sample_sum") else math.nan,
        is_calls=placed.reading is Reading.CALLS and not is_level,
        of_page=True,
        error=placed.error,
        newer_signal=placed.newer_signal,
        times_only=placed.times_only,
        complete=placed.complete,
        yields=placed.yields,
        bare=placed.bare,
        # A wider zero bucket takes the lowest ones in: their counts fall, and nothing was reset.
        resolution=hash((histogram.schema, histogram.zero_threshold)),
    )


def _places(
    histogram: Any,  # noqa: ANN401, RUF100
    index: NDArray[np.int64],
    scale: float,
    bounds: ExplicitMap,
) -> NDArray[np.int16]:
    if histogram.schema == CUSTOM:
        finite = tuple(
            bucket.upper_bound for bucket in histogram.bucket if bucket.upper_bound != math.inf
        )
        places = bounds.buckets(finite, scale=scale) if finite else None
        if places is None or (len(index) and not 0 <= index.min() <= index.max() < len(places)):
            raise RefusedSampleError(RejectReason.UNSUPPORTED)
        return places[index]
    if not _SCHEMA_MIN <= histogram.schema <= _SCHEMA_MAX:
        raise RefusedSampleError(RejectReason.UNSUPPORTED)
    return exponential_buckets_at(
        index.astype(np.float64) - 1, scale=int(histogram.schema), unit=scale
    )


def _buckets(
    spans: Sequence[Any], deltas: Sequence[int], counts: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each bucket and its count; deltas are between neighbours, counts are whole."""
    lengths = [int(span.length) for span in spans]
    given = len(counts) or len(deltas)
    if sum(lengths) != given or given > _BUCKETS_MAX:
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    index = np.empty(given, np.int64)
    at = place = 0
    for span, length in zip(spans, lengths, strict=True):
        place += int(span.offset)
        index[at : at + length] = np.arange(place, place + length)
        at += length
        place += length
    if given and not -_INDEX_MAX <= int(index.min()) <= int(index.max()) <= _INDEX_MAX:
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    raw = np.array(counts, np.float64) if len(counts) else np.cumsum(np.array(deltas, np.float64))
    if not (np.isfinite(raw).all() and (raw >= 0).all() and raw.sum() < _COUNT_MAX):
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    return index, np.rint(raw).astype(np.int64)


def _whole(count: float) -> int:
    if not 0 <= count < _COUNT_MAX:
        raise RefusedSampleError(RejectReason.BAD_SHAPE)
    return round(count)
