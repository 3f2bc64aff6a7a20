"""The last windows before a sidecar starts, asked of its servers as it will ask them, and kept beside the past that it begins with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sentinel.core.normalise.promql.rows import QueryRows
from sentinel.history.promql.cutting import Grid, Span
from sentinel.history.promql.reader import PromqlHistory, SliceRead
from sentinel.pipeline.latest import (
    LATEST_SOURCE,
    LATEST_WINDOWS,
    latest_block,
    latest_to_bytes,
)
from sentinel.ports import Clock, PastStore
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.promql.client import PromqlClient

_WITHIN_S = 60.0
"""For all queries of a server: they are short ones, and who waits has waited for weeks of them already."""


async def keep_latest(
    servers: Sequence[QueryServerConfig],
    store: PastStore,
    *,
    window_ns: int,
    clock: Clock,
) -> bool:
    """Ask for the windows that have just ended, and keep them in the store; whether there were any.

    Args:
        servers: whom to ask, and what.
        store: open; series that it does not know are left out.
        window_ns: how wide the sidecar's windows are.
        clock: says which windows have just ended.

    Raises:
        SentinelError: a server does not give them, or the store does not take them.
        TimeoutError: a server takes too long.
    """
    now_ns = clock.now_ns()
    lag_ns = round(max(server.lag for server in servers) * 1e9)
    end_ns = (now_ns - lag_ns) // window_ns * window_ns
    span = (end_ns - LATEST_WINDOWS * window_ns, end_ns)
    rows: list[QueryRows] = []
    for server in servers:
        async with asyncio.timeout(_WITHIN_S):
            rows += await _asked(server, span, window_ns=window_ns, clock=clock)
    block = latest_block(
        rows,
        {row.key: row.series_id for row in store.series()},
        step_ns=window_ns,
        start_ns=span[0],
        end_ns=span[1],
    )
    payload = b"" if block is None else latest_to_bytes(block)
    store.append_past((), source=LATEST_SOURCE, progress=payload, now_ns=now_ns)
    return block is not None


async def _asked(
    server: QueryServerConfig, span: Span, *, window_ns: int, clock: Clock
) -> list[QueryRows]:
    client = PromqlClient(server)
    history = PromqlHistory(
        client,
        server.rules(),
        grid=Grid(step_ns=window_ns, bin_ns=window_ns, chunk_ns=window_ns),
        parallel=server.parallel,
        clock=clock,
        on_wait=lambda _why: None,
    )
    found: list[QueryRows] = []

    async def take(one: SliceRead) -> None:
        found.extend(one.rows)

    try:
        await history.read([span], take)
    finally:
        await client.close()
    return found
