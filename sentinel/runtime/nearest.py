"""Which known name a mistyped one was most likely meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_NAME_CHARS_MAX = 64
"""Longer names are compared by their beginning; the comparison takes time by the square of the length."""


def hint_for(name: str, known: Iterable[str]) -> str:
    """`: did you mean ...?` with the nearest known name, or nothing when none is near.

    >>> hint_for("lateness", ["latenes", "window"])
    ': did you mean latenes?'
    """
    near = nearest(name, known)
    return f": did you mean {near}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, or None when none is near.

    Fewest slips of the keyboard win, two letters swapped being one slip, which is where a plain ratio of common
    letters goes wrong: it takes `mdoe` for `more` rather than for `mode`. Equal counts are told apart by that ratio.

    >>> nearest("mdoe", ["more", "mode"])
    'mode'
    """
    # Imported here: a process whose names are all known has no use for it.
    import difflib

    form = name.strip().lower().replace("-", "_")[:_NAME_CHARS_MAX]
    best: tuple[int, float] | None = None
    found: str | None = None
    for one in known:
        other = one.lower().replace("-", "_")
        slips = _slip_count(form, other)
        if slips > max(len(form), len(other)) * 0.4:
            continue
        rank = (slips, -difflib.SequenceMatcher(None, form, other).ratio())
        if best is None or rank < best:
            best, found = rank, one
    return found


def _slip_count(first: str, second: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn one into the other."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, last, row = row, before, [i]
        for j, b in enumerate(second, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and b == first[i - 2]:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
