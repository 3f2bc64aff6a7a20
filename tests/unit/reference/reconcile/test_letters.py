"""Goal: a message that was given up is lost when no letter of it is kept, unless somebody has dealt with it.

Method: values.
"""

from __future__ import annotations

from sentinel.reference.ledger.reconcile.taken import compare_letters
from sentinel.reference.ledger.wire.streams import Letters


def letters(*of: tuple[str, int], gone_count: int = 0, whole: bool = True) -> Letters:
    return Letters(of=frozenset(of), gone_count=gone_count, read_up_to=9, whole=whole)


DEAD = {0: ("C0", [3, 4]), 2: ("C2", [3])}


def test_each_stream_has_numbers_of_its_own() -> None:
    found = compare_letters(DEAD, letters(("C0", 3), ("C0", 4)), set())
    assert [one.drift_count for one in found] == [0, 1]
    assert found[1].findings[0]["first_sequence"] == 3


def test_what_left_the_dead_letters_excuses_as_many_and_no_more() -> None:
    assert [one.drift_count for one in compare_letters(DEAD, letters(gone_count=2), set())] == [
        0,
        1,
    ]
    assert [one.drift_count for one in compare_letters(DEAD, letters(gone_count=1), set())] == [
        1,
        1,
    ]


def test_a_letter_that_was_seen_once_counts() -> None:
    found = compare_letters(DEAD, letters(("C2", 3)), {("C0", 3), ("C0", 4)})
    assert [one.drift_count for one in found] == [0, 0]


def test_letters_that_are_not_read_yet_are_not_missed() -> None:
    found = compare_letters({2: ("C2", [3])}, letters(whole=False), set())
    assert (found[0].drift_count, found[0].state.value) == (0, "waiting")
