"""The past of a server's queries as plain series, read whole: for what replays it and stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sentinel.core.model import SeriesKey
from sentinel.errors import InputTooLargeError
from sentinel.history.promql.cutting import Grid, Span
from sentinel.history.promql.reader import PromqlHistory, SliceRead
from sentinel.pipeline.backfill import STEP_NS
from sentinel.pipeline.backfill.windows import CHUNK_NS
from sentinel.pipeline.replay import PlainSeries
from sentinel.ports import Clock
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.promql.client import PromqlClient

ROWS_MAX = 20_000_000
"""Half a gigabyte of columns."""

_Part = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOfServer:
    """What was read.

    Attributes:
        series: in order of their names, each in order of time.
        remarks: what a person should know, one sentence each.
    """

    series: tuple[PlainSeries, ...]
    remarks: tuple[str, ...]


async def past_of_server(
    server: QueryServerConfig,
    *,
    span: Span,
    step_ns: int,
    clock: Clock,
    on_advance: Callable[[float, int], None],
    on_wait: Callable[[str], None],
) -> PastOfServer:
    """Read a span of all queries of a server.

    Args:
        server: whom to ask, and what.
        span: windows, both ends at multiples of five minutes.
        step_ns: between two values; divides five minutes.
        clock: for waits.
        on_advance: told after each slice how much of the span is read, and how many values came.
        on_wait: told why, whenever something is asked again.

    Raises:
        MalformedInputError: queries whose series cannot be told apart, or an answer that is none.
        InputTooLargeError: more rows than are held.
        UnreachableError, RefusedError: the server.
    """
    client = PromqlClient(server)
    history = PromqlHistory(
        client,
        server.rules(),
        grid=Grid(step_ns=step_ns, bin_ns=STEP_NS, chunk_ns=CHUNK_NS),
        parallel=server.parallel,
        clock=clock,
        on_wait=on_wait,
    )
    parts: dict[SeriesKey, list[_Part]] = {}
    row_count = 0

    async def take(one: SliceRead) -> None:
        nonlocal row_count
        for rows in one.rows:
            row_count += rows.time_ns.size
            first = np.searchsorted(rows.key_index, np.arange(len(rows.keys) + 1)).tolist()
            for number, key in enumerate(rows.keys):
                here = slice(first[number], first[number + 1])
                parts.setdefault(key, []).append(
                    (rows.time_ns[here], rows.value[here], rows.weight[here])
                )
        if row_count > ROWS_MAX:
            msg = f"{server.name}: more than {ROWS_MAX} values in all series; ask for less, or with a longer step"
            raise InputTooLargeError(msg, size_bytes=24 * row_count, limit_bytes=24 * ROWS_MAX)
        on_advance((one.span[1] - span[0]) / (span[1] - span[0]), row_count)

    try:
        outlook = await history.look(start_ns=span[0] + step_ns, end_ns=span[1])
        await history.read([span], take)
    finally:
        await client.close()
    remarks = [f"query {name} gives nothing now" for name in outlook.silent]
    return PastOfServer(
        series=tuple(
            _joined(key, of_key, step_ns)
            for key, of_key in sorted(parts.items())
            if _has_some(of_key)
        ),
        remarks=(*remarks, *history.remarks.said),
    )


def _has_some(parts: list[_Part]) -> bool:
    return any(time_ns.size for time_ns, _, _ in parts)


def _joined(key: SeriesKey, parts: list[_Part], step_ns: int) -> PlainSeries:
    """Slices in order of time; of an instant that two queries tell of the first counts."""
    time_ns, value, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    time_ns, at = np.unique(time_ns, return_index=True)
    return PlainSeries(
        name=str(key),
        time_ns=time_ns,
        value=value[at],
        weight=weight[at],
        key=key,
        # Also where scrapes are so rare that every other window has no value.
        width_ns=step_ns,
    )
