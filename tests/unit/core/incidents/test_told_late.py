"""A page that tells of earlier incidents: their words on top, its own kept, and never larger than a page may be."""

from __future__ import annotations

from dataclasses import replace

from sentinel.core.incidents import ANNOTATIONS_BYTES_MAX, with_earlier
from tests.support.outbox import firing, resolved


def test_without_earlier_ones_it_stays_as_it_is() -> None:
    page = firing()
    assert with_earlier(page, []) is page


def test_identity_stays_and_the_words_come_first() -> None:
    page = replace(firing("c3"), annotations={"description": "own words", "summary": "pay: c"})
    told = with_earlier(page, [resolved("a1"), resolved("b2")])
    assert told == replace(page, annotations=told.annotations)
    assert told.annotations == {
        "summary": "pay: c (and 2 earlier incidents, perhaps not told)",
        "description": "Earlier, perhaps not told: a1 1 [a1]\nEarlier, perhaps not told: b2 1 [b2]\nown words",
    }


def test_of_many_the_newest_are_told_and_the_others_counted() -> None:
    told = with_earlier(firing("z"), [resolved(f"a{number}") for number in range(9)])
    first, *rest = told.annotations["description"].splitlines()
    assert first == "4 still earlier incidents were perhaps not told."
    assert [line[-4:] for line in rest] == [f"[a{number}]" for number in range(4, 9)]


def test_a_page_that_is_full_stays_within_its_bound_and_keeps_the_new_words() -> None:
    """A page above the bound can be refused, and then the open incident would not be told for the dead one's sake."""
    page = replace(
        firing("z"),
        annotations={
            "logs": "x" * 4000,
            "summary": "s" * 300,
            "description": "d" * 4000,
            "next": "n" * 4000,
        },
    )
    earlier = replace(resolved(), annotations={"summary": "was \x07" + "e" * 1000})
    told = with_earlier(page, [earlier] * 30)
    size_bytes = sum(len(name) + len(text.encode()) for name, text in told.annotations.items())
    assert size_bytes <= ANNOTATIONS_BYTES_MAX
    assert told.annotations["summary"].endswith("(and 30 earlier incidents, perhaps not told)")
    assert told.annotations["description"].count("Earlier, perhaps not told: was") == 5
    assert "\x07" not in told.annotations["description"]
