"""Goal: of an export in parts, whatever is missing, twice or another's is told. Method: parts by chance, some taken away."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.audit.parts import Part, what_is_missing


def parts(count: int) -> list[Part]:
    return [
        Part(
            name=str(number),
            number=number,
            following=number + 1 if number < count else None,
            first=10 * number,
            end=10 * number + 10,
            of=("log",),
        )
        for number in range(1, count + 1)
    ]


@given(st.data(), st.integers(1, 8))
def test_all_of_them_in_any_order_are_complete_and_fewer_are_not(
    data: st.DataObject, count: int
) -> None:
    whole = parts(count)
    assert what_is_missing(data.draw(st.permutations(whole))) == []
    kept = data.draw(st.lists(st.sampled_from(whole), unique=True, max_size=count))
    faults = what_is_missing(kept)
    gone = [part for part in whole if part not in kept]
    # Parts behind the last that is there are known by their first alone.
    last = max((part.number or 0 for part in kept), default=0)
    told = [one.number for one in gone if kept and (one.number or 0) <= last + 1]
    assert faults == ([f"part {number} is not there" for number in told] if kept else [])


def test_what_does_not_fit_is_told() -> None:
    one, two, three = parts(3)
    assert what_is_missing([one, one, two, three]) == ["part 1 is there twice"]
    for wrong, told in (
        (replace(two, of=("another",)), "they are of different exports"),
        (replace(two, first=two.first + 1), "part 2 does not begin where part 1 ends"),
        (replace(two, following=5), "part 2 goes on in part 5"),
        (replace(two, following=None), "part 2 says that it is the last"),
    ):
        assert what_is_missing([one, wrong, three]) == [told]
    assert what_is_missing([replace(one, number=None), one, two, three]) == ["1 is no part"]
