"""Goal: what a reader of the events has not read is known as a share of the stream's room, and what it was never given is counted once.

Method: values for the share; messages with numbers, and a queue that answers as it is told, for the gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.unread import unread_share
from sentinel.reference.ledger.wire.nats import Gaps, Queue


def share(unread_count: int, **given: int | None) -> float:
    kept: dict[str, Any] = {
        "messages_count": 100,
        "bytes_count": 60_000,
        "bytes_max": 120_000,
        "messages_max": -1,
        **given,
    }
    return unread_share(unread_count, **kept)


def test_a_share_is_of_the_limit_that_is_reached_first() -> None:
    assert share(0) == 0.0
    assert share(50) == 0.25
    assert share(50, messages_max=80) == 0.625
    assert share(50, bytes_max=-1) == share(50, bytes_max=None) == 0.0
    assert share(100, messages_max=100) == 1.0
    # What has been let go since the two were asked for, one after the other.
    assert share(300) == 1.0
    assert share(3, messages_count=0, bytes_count=0) == 0.0


@dataclass
class Told:
    """A queue that knows how far its reader came and which event is the oldest."""

    taken: int
    first: int
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    async def events_taken_up_to(self) -> int:
        """Say how far the reader came."""
        self.asked.append("taken")
        return self.taken

    async def first_event(self) -> int:
        """Say what the stream still has, when it answers."""
        self.asked.append("first")
        if self.is_away:
            raise UnavailableError("away")
        return self.first


def message(number: int, delivered: int = 1) -> Any:
    sequence = SimpleNamespace(stream=number)
    return SimpleNamespace(metadata=SimpleNamespace(sequence=sequence, num_delivered=delivered))


def batch(*numbers: int) -> list[Any]:
    return [message(number) for number in numbers]


def gaps(told: Told) -> Gaps:
    return Gaps(cast("Queue", told))


async def test_what_went_while_the_reader_was_away_is_counted_before_its_first_batch() -> None:
    told = Told(taken=20, first=61)
    found = gaps(told)
    assert await found.missed(batch(61, 62)) == 40
    assert await found.missed(batch(63, 64)) == 0
    assert told.asked == ["taken", "first"]


async def test_nothing_is_missed_where_it_went_on_from_where_it_was() -> None:
    told = Told(taken=20, first=1)
    assert await gaps(told).missed(batch(21, 22, 23)) == 0
    assert told.asked == ["taken"]


async def test_what_another_process_got_is_no_gap() -> None:
    assert await gaps(Told(taken=20, first=15)).missed(batch(31, 33)) == 0


async def test_what_comes_again_is_no_gap_and_hides_none() -> None:
    found = gaps(Told(taken=20, first=30))
    assert await found.missed([message(21, 2), *batch(30)]) == 9
    assert await found.missed([message(21, 3)]) == 0


async def test_a_question_without_an_answer_is_asked_again_of_the_same_batch() -> None:
    told = Told(taken=0, first=10, is_away=True)
    found = gaps(told)
    with pytest.raises(UnavailableError):
        await found.missed(batch(10))
    told.is_away = False
    assert await found.missed(batch(10)) == 9
    assert await found.missed(batch(11)) == 0


@given(lost=st.sets(st.integers(1, 60)), size=st.integers(1, 9))
async def test_numbers_that_are_there_or_gone_add_up(lost: set[int], size: int) -> None:
    """Whatever the stream let go in front of what it has, none is counted twice or not at all."""
    first = max(lost, default=0) + 1
    numbers = list(range(first, 70))
    found = gaps(Told(taken=0, first=first))
    counted = 0
    for place in range(0, len(numbers), size):
        counted += await found.missed(batch(*numbers[place : place + size]))
    assert counted + len(numbers) == 69
