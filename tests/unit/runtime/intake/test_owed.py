"""Goal: what was turned away is missing until it came again, and where that is not sure it is missing.

Method: the ledger alone on a manual clock.
"""

from __future__ import annotations

from collections.abc import Hashable

from sentinel.core.model import Missing
from sentinel.runtime.intake.owed import Owed
from sentinel.runtime.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

HOLD_S = 30.0
A, B = ("receivers.one", "traces", 512), ("receivers.one", "traces", 700)


def make() -> tuple[Owed, ManualClock, Metrics]:
    surroundings = make_surroundings(clock := ManualClock())
    return Owed(clock, surroundings.metrics, hold_s=HOLD_S), clock, surroundings.metrics


def turn_away(owed: Owed, key: Hashable, *, services: frozenset[str] = frozenset()) -> None:
    owed.turned_away(key, component="receivers.one", signal="traces", services=services)


def given_up(metrics: Metrics) -> float:
    return metrics.value(
        "sentinel_not_taken_again_total", component="receivers.one", signal="traces"
    )


async def test_what_comes_again_is_not_missing() -> None:
    owed, clock, metrics = make()
    assert owed.missing() == ()
    since_ns = clock.now_ns()
    turn_away(owed, A)
    await clock.advance(1)
    turn_away(owed, A)  # it came, and was turned away again: one debt
    assert owed.missing() == (Missing(signal="traces", since_ns=since_ns),)
    owed.taken(B)
    assert len(owed.missing()) == 1, "another is not it"
    owed.taken(A)
    assert owed.missing() == ()
    await clock.advance(HOLD_S + 1)
    assert owed.missing() == ()
    assert given_up(metrics) == 0


async def test_what_does_not_come_again_is_missing_for_a_while_and_counted() -> None:
    owed, clock, metrics = make()
    turn_away(owed, A)
    turn_away(owed, B)
    await clock.advance(HOLD_S)
    assert len(owed.missing()) == 1, "one of each signal"
    assert given_up(metrics) == 0
    await clock.advance(1)
    assert owed.missing() == ()
    assert given_up(metrics) == 2


async def test_of_several_of_one_size_it_is_not_known_which_came() -> None:
    """A sender whose batches are all alike gave one up; the next one of that size was taken for it."""
    owed, clock, _ = make()
    turn_away(owed, A)
    owed.taken(A)
    assert owed.missing() == ()
    owed.taken(A)
    assert len(owed.missing()) == 1
    await clock.advance(HOLD_S + 1)
    assert owed.missing() == ()


async def test_several_of_one_size_that_all_come_again_are_not_missing() -> None:
    owed, _, _ = make()
    for _ in range(3):
        turn_away(owed, A)
    for _ in range(3):
        owed.taken(A)
        assert owed.missing() == ()
    owed.taken(A)
    assert len(owed.missing()) == 1, "one more than were turned away: whose was it?"


async def test_one_that_is_settled_says_nothing_of_the_next() -> None:
    owed, clock, _ = make()
    turn_away(owed, A)
    owed.taken(A)
    await clock.advance(5)
    since_ns = clock.now_ns()
    turn_away(owed, A)
    assert owed.missing() == (Missing(signal="traces", since_ns=since_ns),)
    owed.taken(A)
    assert owed.missing() == ()


async def test_of_which_services_it_tells_is_kept_apart() -> None:
    owed, _, _ = make()
    turn_away(owed, A, services=frozenset({"kong"}))
    turn_away(owed, B)
    assert {one.services for one in owed.missing()} == {frozenset({"kong"}), frozenset()}
    owed.settled(A)
    owed.settled("never owed")
    assert [one.services for one in owed.missing()] == [frozenset()]


async def test_what_is_remembered_is_bounded_and_what_is_beyond_stays_missing() -> None:
    owed, clock, _ = make()
    for size in range(3000):
        turn_away(owed, ("receivers.one", "traces", size))
    assert len(owed._debts) == 1025
    for size in range(3000):
        owed.taken(("receivers.one", "traces", size))
    assert len(owed.missing()) == 1
    await clock.advance(HOLD_S + 1)
    assert owed.missing() == ()
    assert not owed._debts
