"""Goal: a client's position is what it was given or nothing, and a replica's lag is told by one clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.domain.lag import Lag, LagClock
from sentinel.reference.ledger.domain.position import Position, parse_position

POSITIONS = st.builds(
    Position,
    timeline=st.integers(min_value=0, max_value=2**32 - 1),
    lsn=st.integers(min_value=0, max_value=2**64 - 1),
)


@given(position=POSITIONS)
def test_a_token_comes_back_as_it_was_given(position: Position) -> None:
    assert parse_position(position.token) == position


@given(position=POSITIONS, place=st.integers(0, 22), letter=st.sampled_from("ABab01-_=+/ é\x00"))
def test_a_token_with_a_changed_letter_is_none(
    position: Position, place: int, letter: str
) -> None:
    token = position.token
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        assert read(changed) == ("invalid_position", "Ledger-Position")


@given(text=st.text(max_size=40))
def test_no_text_at_all_is_an_error_of_another_kind(text: str) -> None:
    assert read(text) == ("invalid_position", "Ledger-Position")


def read(token: str) -> Position | tuple[str, str]:
    """What a token says, or code and field of its refusal."""
    try:
        return parse_position(token)
    except InvalidTransferError as error:
        return error.code, error.field


def test_a_later_timeline_is_the_greater() -> None:
    assert Position(2, 1) > Position(1, 2**40)


def test_a_replica_that_has_all_is_not_late_however_long_nothing_happens() -> None:
    clock = LagClock()
    assert clock.lag(100) is None
    for now_s in (0.0, 10.0, 100.0):
        clock.primary_at(100, now_s)
    assert clock.lag(100) == Lag(behind_bytes=0, behind_s=0.0)
    assert clock.lag(120) == Lag(behind_bytes=0, behind_s=0.0)


def test_a_replica_is_as_late_as_the_primary_is_past_where_it_is() -> None:
    clock = LagClock()
    for lsn, now_s in ((100, 0.0), (100, 5.0), (200, 6.0), (300, 7.0)):
        clock.primary_at(lsn, now_s)
    # The primary stood at 100 until 5 s: the replica lacks what came after that, not since 0 s.
    assert clock.lag(100) == Lag(behind_bytes=200, behind_s=2.0)
    assert clock.lag(250) == Lag(behind_bytes=50, behind_s=1.0)
    assert clock.lag(50) == Lag(behind_bytes=250, behind_s=2.0)


def test_a_primary_that_is_back_before_it_was_begins_anew() -> None:
    clock = LagClock()
    clock.primary_at(1000, 0.0)
    clock.primary_at(100, 1.0)
    assert clock.lag(100) == Lag(behind_bytes=0, behind_s=0.0)


@pytest.mark.parametrize("count", [5000])
def test_what_is_remembered_is_bounded(count: int) -> None:
    clock = LagClock()
    for index in range(count):
        clock.primary_at(index, float(index))
    lag = clock.lag(0)
    assert lag is not None
    assert lag.behind_bytes == count - 1
    assert lag.behind_s == 599.0
