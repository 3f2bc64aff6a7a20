"""Goal: a stream's number that left it and was taken by nobody is lost, and no other is.

Method: values; beside a reckoning with sets, number by number, for any stream and any runs.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.reconcile.numbers import count, lost, untaken
from sentinel.reference.ledger.wire.streams import StreamState

MADE = datetime(2026, 1, 1, tzinfo=UTC)


def stream(*, first: int, last: int, gone: tuple[int, ...] = ()) -> StreamState:
    return StreamState(created_at=MADE, first=first, last=last, gone=frozenset(gone))


def test_what_waits_in_the_stream_is_not_lost() -> None:
    runs = untaken(after=0, taken=[(1, 4)], last=6)
    assert runs == [(5, 6)]
    assert lost(runs, stream(first=5, last=6)) == []


def test_what_left_the_stream_and_was_taken_by_nobody_is() -> None:
    runs = untaken(after=0, taken=[(1, 4), (7, 7)], last=9)
    assert lost(runs, stream(first=8, last=9)) == [(5, 6)]


def test_a_stream_that_is_empty_holds_nothing() -> None:
    assert lost(untaken(after=0, taken=[], last=3), stream(first=4, last=3)) == [(1, 3)]
    assert untaken(after=0, taken=[], last=0) == []


@given(
    last=st.integers(0, 30),
    present=st.sets(st.integers(1, 30)),
    taken=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5))),
    after=st.integers(0, 30),
)
def test_the_runs_are_what_sets_of_numbers_are(
    last: int, present: set[int], taken: list[tuple[int, int]], after: int
) -> None:
    present = {number for number in present if number <= last}
    runs = [(first, first + more) for first, more in taken]
    first = min(present, default=last + 1)
    state = stream(
        first=first,
        last=last,
        gone=tuple(number for number in range(first, last + 1) if number not in present),
    )
    took = {number for start, end in runs for number in range(start, end + 1)}
    expected = {number for number in range(after + 1, last + 1) if number not in took}
    found = untaken(after=after, taken=runs, last=last)
    assert _numbers(found) == expected
    assert count(found) == len(expected)
    missing = lost(found, state)
    assert _numbers(missing) == expected - present
    assert count(missing) == len(expected - present)


def _numbers(runs: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}
