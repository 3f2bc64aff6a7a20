"""Goal: a window waits for whom it must and for nobody longer than it may; who came, went and died is told apart.

Method: parts are made by hand and handed to a roster; windows are closed in order and asked who told of them.
"""

from __future__ import annotations

from sentinel.core.series.collected import (
    CollectedWindow,
    PartKind,
    Roster,
    RosterSettings,
    Taken,
    WindowContent,
)
from tests.support.batches import SECOND_NS, START_NS

STEP_NS = 10 * SECOND_NS
SETTINGS = RosterSettings(
    step_ns=STEP_NS, wait_ns=10 * SECOND_NS, gone_after_ns=60 * SECOND_NS, collectors_max=4
)


def start_of(number: int) -> int:
    return START_NS + number * STEP_NS


def part(
    name: str,
    number: int,
    *,
    kind: PartKind = PartKind.WINDOW,
    incarnation: int = 1,
    sequence: int | None = None,
    services: tuple[str, ...] = ("pay",),
) -> CollectedWindow:
    return CollectedWindow(
        collector=name,
        incarnation=incarnation,
        sequence=number + 1 if sequence is None else sequence,
        kind=kind,
        start_ns=start_of(number),
        step_ns=STEP_NS,
        closed_ns=start_of(number + 1) + 5 * SECOND_NS,
        content=WindowContent(heard=dict.fromkeys(services, start_of(number))),
    )


def now_after(number: int, seconds: float) -> int:
    return start_of(number + 1) + round(seconds * SECOND_NS)


def roster_of(*names: str) -> Roster:
    roster = Roster(SETTINGS)
    roster.begin(start_of(0))
    for name in names:
        roster.take(part(name, 0, kind=PartKind.HELLO, sequence=0), start_of(0))
    return roster


def tell(roster: Roster, number: int, *names: str) -> None:
    for name in names:
        assert roster.take(part(name, number), now_after(number, 5)) is Taken.FRESH


def test_a_window_is_closed_when_all_have_told_and_at_its_deadline_without_the_rest() -> None:
    roster = roster_of("a", "b")
    tell(roster, 0, "a")
    assert roster.waits_for(start_of(0)) == ["b"]
    assert not roster.may_close(start_of(0), now_after(0, 9.9))
    assert roster.may_close(start_of(0), now_after(0, 10))
    assert not roster.may_close(start_of(0), now_after(0, 10), not_before_ns=now_after(0, 11))
    tell(roster, 0, "b")
    assert roster.may_close(start_of(0), now_after(0, 5))
    attendance = roster.close(start_of(0))
    assert (attendance.expected_count, attendance.silent) == (2, {})


def test_a_collector_that_is_silent_makes_its_services_unknown_and_holds_up_two_windows_only() -> (
    None
):
    roster = roster_of("a", "b", "c")
    for number in range(2):
        tell(roster, number, "a", "b")
        assert not roster.may_close(start_of(number), now_after(number, 6))
        attendance = roster.close(start_of(number))
        assert attendance.silent == {"c": start_of(0)}
    tell(roster, 2, "a", "b")
    assert roster.may_close(start_of(2), now_after(2, 6)), "nobody waits for it any more"
    assert roster.close(start_of(2)).expected_count == 3


def test_services_of_the_silent_are_those_it_told_of() -> None:
    roster = roster_of("a")
    roster.take(part("b", 0, services=("shop",)), now_after(0, 5))
    tell(roster, 0, "a")
    assert roster.close(start_of(0)).partly_told == frozenset()
    tell(roster, 1, "a")
    assert roster.close(start_of(1)).partly_told == {"shop"}


def test_a_goodbye_is_no_silence() -> None:
    roster = roster_of("a", "b")
    tell(roster, 0, "a")
    roster.take(part("b", 0, kind=PartKind.LAST), now_after(0, 1))
    assert roster.close(start_of(0)).silent == {}
    tell(roster, 1, "a")
    assert roster.may_close(start_of(1), now_after(1, 5))
    attendance = roster.close(start_of(1))
    assert (attendance.expected_count, attendance.silent) == (1, {})


def test_who_joins_is_waited_for_from_its_first_window_on() -> None:
    roster = roster_of("a")
    roster.take(part("b", 1, kind=PartKind.HELLO, sequence=0), now_after(0, 2))
    tell(roster, 0, "a")
    assert roster.may_close(start_of(0), now_after(0, 5))
    assert roster.close(start_of(0)).expected_count == 1
    tell(roster, 1, "a")
    assert not roster.may_close(start_of(1), now_after(1, 5))
    tell(roster, 1, "b")
    assert roster.close(start_of(1)).expected_count == 2


def test_a_process_that_took_the_place_of_one_killed_knows_its_first_window_in_part() -> None:
    roster = roster_of("a")
    tell(roster, 0, "a")
    assert roster.close(start_of(0)).silent == {}
    roster.take(part("a", 1, kind=PartKind.HELLO, incarnation=2, sequence=0), now_after(1, -3))
    roster.take(part("a", 1, incarnation=2, sequence=1), now_after(1, 5))
    assert list(roster.close(start_of(1)).silent) == ["a"], "what the first had in memory is lost"
    roster.take(part("a", 2, incarnation=2, sequence=2), now_after(2, 5))
    assert roster.close(start_of(2)).silent == {}


def test_both_parts_of_a_window_of_a_process_that_was_restarted_politely_count() -> None:
    roster = roster_of("a")
    roster.take(part("a", 0, kind=PartKind.LAST), now_after(0, -5))
    roster.take(part("a", 0, kind=PartKind.HELLO, incarnation=2, sequence=0), now_after(0, -4))
    assert not roster.may_close(start_of(0), now_after(0, 1)), "the second half is to come"
    roster.take(part("a", 0, incarnation=2, sequence=1), now_after(0, 5))
    attendance = roster.close(start_of(0))
    assert (len(attendance.parts), attendance.silent) == (2, {})


def test_a_part_is_taken_once_and_never_after_its_window() -> None:
    roster = roster_of("a")
    tell(roster, 0, "a")
    assert roster.take(part("a", 0), now_after(0, 6)) is Taken.AGAIN
    assert len(roster.close(start_of(0)).parts) == 1
    assert roster.take(part("a", 0), now_after(0, 7)) is Taken.AGAIN
    assert roster.take(part("a", 0, sequence=99), now_after(0, 7)) is Taken.LATE
    assert roster.take(part("a", 90), now_after(0, 7)) is Taken.AHEAD


def test_there_is_a_bound_on_collectors() -> None:
    roster = roster_of("a", "b", "c", "d")
    assert roster.take(part("e", 0), now_after(0, 5)) is Taken.FULL


def test_who_is_new_takes_the_place_of_one_that_is_blind_where_all_are_taken() -> None:
    """After pods that were killed in hundreds, their successors were turned away for an hour."""
    roster = roster_of("a", "b", "c", "d")
    for number in range(2):
        tell(roster, number, "a", "b", "c")
        roster.close(start_of(number))
    assert roster.take(part("e", 2), now_after(2, 5)) is Taken.FRESH
    assert sorted(roster.members) == ["a", "b", "c", "e"]
    assert roster.take(part("f", 2), now_after(2, 5)) is Taken.FULL


def test_who_is_blind_for_long_is_let_go_and_who_is_new_takes_the_place_of_one() -> None:
    roster = roster_of("a", "b", "c")
    for number in range(3):
        tell(roster, number, "a")
        roster.close(start_of(number))
    roster.take(part("d", 3, kind=PartKind.HELLO, sequence=0), now_after(2, 6))
    assert len(roster.members) == 3, "one of the two that are blind was let go"
    tell(roster, 3, "a", "d")
    assert len(roster.close(start_of(3)).silent) == 1
    let_go: list[str] = []
    for number in range(4, 7):
        tell(roster, number, "a", "d")
        let_go += roster.close(start_of(number)).let_go
    assert len(let_go) == 1
    tell(roster, 7, "a", "d")
    assert roster.close(start_of(7)).silent == {}


def test_who_comes_back_late_is_waited_for_again() -> None:
    roster = roster_of("a", "b")
    for number in range(4):
        tell(roster, number, "a")
        roster.close(start_of(number))
    assert roster.take(part("b", 3), now_after(3, 20)) is Taken.LATE
    tell(roster, 4, "a")
    assert not roster.may_close(start_of(4), now_after(4, 5))
    tell(roster, 4, "b")
    assert roster.close(start_of(4)).silent == {}


def test_two_that_have_one_name_are_known_in_part_for_as_long_as_both_tell() -> None:
    """What the elder told came after its window was closed and was lost: half the traffic, and a page that it fell."""
    roster = roster_of("a", "b")
    roster.take(part("a", 0, kind=PartKind.HELLO, incarnation=2, sequence=0), start_of(0))
    told: list[tuple[list[str], set[str]]] = []
    for number in range(10):
        tell(roster, number, "b")
        roster.take(part("a", number, incarnation=2), now_after(number, 5))
        attendance = roster.close(start_of(number))
        told.append((list(attendance.silent), set(attendance.doubled)))
        if number < 6:
            assert roster.take(part("a", number), now_after(number, 6)) is Taken.LATE
    assert told[0] == (["a"], set()), "the window that it came in"
    assert told[2:8] == [(["a"], {"a"})] * 6
    assert told[8:] == [([], set())] * 2, "one of them has ended"


def test_what_an_elder_had_left_to_send_makes_no_two_of_it() -> None:
    roster = roster_of("a")
    roster.take(part("a", 5, kind=PartKind.HELLO, incarnation=2, sequence=0), now_after(4, 3))
    for number in range(6):
        roster.take(part("a", number), now_after(4, 4))
    roster.take(part("a", 5, incarnation=2), now_after(5, 5))
    roster.take(part("a", 6, incarnation=2), now_after(6, 5))
    assert [set(roster.close(start_of(number)).doubled) for number in range(7)] == [set()] * 7
