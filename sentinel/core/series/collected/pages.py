"""Metrics pages that stand for themselves: with the streams they tell of, and no table of anybody's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Placed, PointStream, ScrapedColumns, StreamTable
from sentinel.core.stats import log_linear

_FAMILY_PARTS = 4
_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """The numbers of one page, as of `ScrapedColumns`.

    Attributes:
        target: whose page it is, unique among all collectors.
        time_ns, is_whole: as there.
        streams: identity and place of each stream that it tells of, ascending.
        stream: int32[n], position in `streams` of each number; those of one stream together, by their boundaries.
        bound: float64[n], upper boundary of each histogram's cell, NaN for a number's.
        bucket, value, start_ns: as there.
    """

    target: str
    time_ns: int
    is_whole: bool
    streams: tuple[tuple[PointStream, Placed], ...]
    stream: NDArray[np.int32]
    bound: NDArray[np.float64]
    bucket: log_linear.Buckets
    value: NDArray[np.float64]
    start_ns: NDArray[np.int64] | None

    @property
    def services(self) -> frozenset[str]:
        """The services it tells of."""
        return frozenset(placed.scope.service for _, placed in self.streams)


def page_of(columns: ScrapedColumns, *, collector: str) -> Page:
    """Columns of a target of this collector's own; another collector's target of the same name is another."""
    table = columns.table
    target = f"{table.target}@{collector}"
    stream_of_cell = table.stream_of_cell[columns.cell]
    numbers = np.unique(stream_of_cell)
    told = sorted(
        (
            (own_stream(table.identity[stream], collector=collector), table.placed[stream], stream)
            for stream in numbers.tolist()
        ),
        key=lambda one: (one[0], one[1].signal, one[1].scope, one[1].error),
    )
    place = np.zeros(table.stream_count, np.int32)
    place[[stream for _, _, stream in told]] = np.arange(len(told), dtype=np.int32)
    stream = place[stream_of_cell]
    bound = np.array(table.bound)[columns.cell]
    order = np.lexsort((bound, stream))
    return Page(
        target=target,
        time_ns=columns.time_ns,
        is_whole=columns.is_whole,
        streams=tuple((identity, placed) for identity, placed, _ in told),
        stream=stream[order],
        bound=bound[order],
        bucket=columns.bucket[order],
        value=columns.value[order],
        start_ns=None if columns.start_ns is None else columns.start_ns[order],
    )


def columns_of(page: Page) -> ScrapedColumns:
    """A page with a table of its own."""
    table = StreamTable(page.target)
    first = np.searchsorted(page.stream, np.arange(len(page.streams) + 1))
    bounds = page.bound.tolist()
    for at, (identity, placed) in enumerate(page.streams):
        begin, end = int(first[at]), int(first[at + 1])
        stream = table.add_stream(identity, placed, bound=bounds[begin])
        for bound in bounds[begin + 1 : end]:
            table.add_cell(stream, bound=bound)
    return ScrapedColumns(
        table=table,
        time_ns=page.time_ns,
        cell=np.arange(len(page.value), dtype=np.int32),
        bucket=page.bucket,
        value=page.value,
        start_ns=page.start_ns,
        is_whole=page.is_whole,
    )


def plain_stream(stream: PointStream) -> PointStream:
    """The same stream by digests: identities are compared and never read, and their text is nobody else's business."""
    return _digested(stream, ())


def own_stream(stream: PointStream, *, collector: str) -> PointStream:
    """A stream of a target of this collector's own."""
    return _digested(stream, (collector,))


def _digested(stream: PointStream, owner: tuple[str, ...]) -> PointStream:
    parts: Sequence[object] = (*((*owner, stream[0]),), *stream[1:_FAMILY_PARTS])
    digests = [_digest(part) for part in parts]
    if len(stream) > _FAMILY_PARTS:
        digests.append(_digest(tuple(stream[_FAMILY_PARTS:])))
    return PointStream(digests)


def _digest(part: object) -> str:
    return b64encode(blake2b(repr(part).encode(), digest_size=_DIGEST_BYTES).digest()).decode()
