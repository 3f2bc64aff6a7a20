"""Which batches of a round are reduced together: what a request costs numpy does not depend on its number of calls.

Only calls that came as rows of one table within one second are joined, so every batch is judged by a receive time that is
its own to the second. Windows close between rounds only and calls add up in any order; so joined they come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sentinel.core.model import CallRows, SampleBatch

Received = tuple[SampleBatch, int]
"""A batch, and when it was received (Unix ns)."""

_SECOND_NS = 10**9


def groups_of(batches: Iterable[Received]) -> list[list[Received]]:
    """The batches in groups that may be joined, in the order of each one's first; most others are alone in theirs."""
    groups: dict[tuple[int, int], list[Received]] = {}
    for number, received in enumerate(batches):
        batch, received_ns = received
        if batch.call_rows is None or batch.sample_count != len(batch.call_rows):
            key = (-1, number)
        else:
            key = (id(batch.call_rows.table), received_ns // _SECOND_NS)
        groups.setdefault(key, []).append(received)
    return list(groups.values())


def joined(batches: Sequence[SampleBatch], *, now_ns: int) -> SampleBatch:
    """Batches of one group as one, in columns; `now_ns` is when the last was received.

    It has no fingerprint, because each of them has its own.
    """
    rows: list[CallRows] = [batch.call_rows for batch in batches if batch.call_rows is not None]
    return SampleBatch(
        calls=rows[0].table.columns(rows, now_ns=now_ns) if rows else None,
        services=frozenset().union(*(batch.services for batch in batches)),
    )
