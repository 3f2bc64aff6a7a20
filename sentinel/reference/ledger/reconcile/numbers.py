"""A stream's numbers against what the poster says it took: which left the stream and were decided by nobody.

With N the numbers 1 to `last`, S those still in the stream, T those that database transactions took (decided or given up):

    lost = N - S - T            in flight = S - T

The stream is read before the database. What had left it by then was acknowledged, and so committed, before the database is
read: every such number is found in T, or it is lost; there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sentinel.reference.ledger.wire.streams import StreamState

# First and last number, both in it.
Run = tuple[int, int]


def untaken(*, after: int, taken: Iterable[Run], last: int) -> list[Run]:
    """Return the runs of numbers above `after`, up to `last`, that are in none of `taken`.

    >>> untaken(after=0, taken=[(1, 3), (2, 2), (6, 7)], last=9)
    [(4, 5), (8, 9)]
    """
    found: list[Run] = []
    reached = after
    for first, end in sorted(taken):
        if first > reached + 1 and reached < last:
            found.append((reached + 1, min(first - 1, last)))
        reached = max(reached, end)
    if reached < last:
        found.append((reached + 1, last))
    return found


def lost(runs: Iterable[Run], state: StreamState) -> list[Run]:
    """Return those numbers of `runs` that are no longer in the stream.

    >>> from datetime import datetime
    >>> state = StreamState(created_at=datetime.min, first=5, last=9, gone=frozenset({8}))
    >>> lost([(4, 5), (8, 9)], state)
    [(4, 4), (8, 8)]
    """
    found: list[Run] = []
    gone = sorted(state.gone)
    for first, end in runs:
        if first < state.first:
            found.append((first, min(end, state.first - 1)))
        for number in gone:
            if max(first, state.first) <= number <= end:
                if found and found[-1][1] == number - 1 and number - 1 >= first:
                    found[-1] = (found[-1][0], number)
                else:
                    found.append((number, number))
    return found


def count(runs: Sequence[Run]) -> int:
    """Return how many numbers the runs hold."""
    return sum(end - first + 1 for first, end in runs)
