"""When the rules of a server fired in the past, by what Prometheus has kept of it."""

from __future__ import annotations

import numpy as np

from sentinel.history.promql.cutting import Span
from sentinel.pipeline.beside import Firing, firings_of
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.promql.client import PromqlClient
from sentinel.runtime.promql.whole import whole

STEP_NS = 60_000_000_000
_POINTS_MAX = 10_000
"""Below the 11,000 of a series that servers give."""


async def firings_of_server(
    server: QueryServerConfig, selector: str, *, span: Span
) -> tuple[Firing, ...]:
    """Ask when alerts fired, minute by minute; what fired for less than a minute may be missed.

    Args:
        server: whom to ask.
        selector: series of alerts, such as `ALERTS{alertstate="firing", severity="page"}`; those of one `alertname` are one rule.
        span: from where to where.

    Raises:
        MalformedInputError: an answer that is none.
        InputTooLargeError: the answer is larger than is read.
        UnreachableError, RefusedError: the server; refused is also a selector that it does not understand.
    """
    query = f"count by (alertname) ({selector})"
    times: dict[str, list[np.ndarray]] = {}
    client = PromqlClient(server)
    try:
        for first_ns in range(span[0], span[1] + 1, _POINTS_MAX * STEP_NS):
            last_ns = min(first_ns + (_POINTS_MAX - 1) * STEP_NS, span[1])
            answer = whole(
                await client.over_range(query, first_ns=first_ns, last_ns=last_ns, step_ns=STEP_NS)
            )
            for one in answer.series:
                times.setdefault(one.labels.get("alertname", ""), []).append(one.time_ns)
    finally:
        await client.close()
    return tuple(
        firing
        for rule, parts in sorted(times.items())
        for firing in firings_of(rule or "(no name)", np.concatenate(parts), step_ns=STEP_NS)
    )
