"""Goal: what all receivers and scrapers hold together is bounded, and what it presses with is its worst since the last look."""

from __future__ import annotations

from sentinel.runtime.intake.inflight import Inflight


def test_what_does_not_fit_is_not_held() -> None:
    inflight = Inflight(100)
    assert inflight.take(60)
    assert not inflight.take(41)
    assert inflight.take(40)
    inflight.give_back(100)
    assert inflight.held_bytes == 0
    assert inflight.take(41)


def test_more_than_the_whole_bound_passes_alone_for_otherwise_it_never_could() -> None:
    inflight = Inflight(100)
    assert inflight.take(101)
    assert not inflight.take(1)
    inflight.give_back(101)
    inflight.hold(1)
    assert not inflight.take(101)


def test_what_grows_over_the_whole_bound_passes_alone_as_well() -> None:
    """A body that inflates to more than the bound was turned away by the room it held itself, each time it came."""
    inflight = Inflight(100)
    assert inflight.take(30)
    assert inflight.take(80, own_bytes=30)
    inflight.give_back(80)
    inflight.hold(1)
    assert not inflight.take(80, own_bytes=30)


def test_what_can_wait_leaves_room_for_what_cannot() -> None:
    inflight = Inflight(100)
    assert inflight.take_if_calm(50)
    assert not inflight.take_if_calm(1)
    assert inflight.take(50)
    inflight.give_back(100)
    assert inflight.take_if_calm(70), "alone it passes"


def test_pressure_is_the_worst_since_it_was_asked_and_never_at_once() -> None:
    inflight = Inflight(100)
    assert inflight.pressure() == 0.0
    inflight.take(60)
    inflight.give_back(60)
    assert inflight.pressure() == 0.6
    assert inflight.pressure() == 0.0
    inflight.take(80)
    assert not inflight.take(90), "what is asked for in vain presses, too"
    assert 0.99 < inflight.pressure() < 1.0
    assert inflight.pressure() == 0.8
    inflight.take_if_calm(90)
    assert inflight.pressure() == 0.8, "what waits does not press"
