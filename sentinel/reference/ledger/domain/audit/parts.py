"""Whether numbered parts of an extract are together all of it.

A part is an extract by itself: each of its entries has a proof that leads to the one checkpoint that all parts have. It names
its number, the places it is of, and the number of the next part; the last one names none. So a part that is missing, or is of
another export, is seen from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part says of itself.

    Attributes:
        name: what it is told by.
        number: from 1; None for an extract that is no part.
        following: the number of the next part; None for the last.
        first: the place its range begins with.
        end: the place after its range.
        of: what all parts of one export have alike: log, tenant, times and checkpoint.
    """

    name: str
    number: int | None
    following: int | None
    first: int
    end: int
    of: tuple[object, ...]


def what_is_missing(parts: Sequence[Part]) -> list[str]:
    """Return what keeps these parts, in any order, from being all of one export; empty when nothing does.

    >>> one = Part(name="a", number=1, following=2, first=0, end=7, of=("log",))
    >>> two = Part(name="b", number=2, following=None, first=7, end=9, of=("log",))
    >>> what_is_missing([two, one]), what_is_missing([one])
    ([], ['part 2 is not there'])
    """
    faults = [f"{part.name} is no part" for part in parts if part.number is None]
    numbered = sorted(
        ((part.number, part) for part in parts if part.number is not None), key=itemgetter(0)
    )
    if len({part.of for _, part in numbered}) > 1:
        faults.append("they are of different exports")
    expected, place = 1, None
    for number, part in numbered:
        if number < expected:
            faults.append(f"part {number} is there twice")
            continue
        if number > expected:
            faults += [f"part {one} is not there" for one in range(expected, number)]
        elif place is not None and part.first != place:
            faults.append(f"part {number} does not begin where part {number - 1} ends")
        if part.following not in (None, number + 1):
            faults.append(f"part {number} goes on in part {part.following}")
        expected, place = number + 1, part.end
    if numbered:
        if numbered[-1][1].following is not None:
            faults.append(f"part {expected} is not there")
        faults += [
            f"part {number} says that it is the last"
            for number, part in numbered[:-1]
            if part.following is None
        ]
    return faults
