"""Things counted by name, bucket and outcome: what calls and events of a window are, with names instead of slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Scope, SeriesKey
from sentinel.core.series.calls import Keys, key_of, slot_of
from sentinel.core.stats import log_linear

Name = TypeVar("Name", Scope, SeriesKey)
_KEY_BITS = 13


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted(Generic[Name]):
    """Counts by name, bucket and outcome, in one order only: equal ones have equal columns.

    Attributes:
        names: distinct, ascending; one that nothing is counted of was looked at.
        key: int64[n], distinct, ascending; as `calls.key_of` makes them of a position in `names`.
        count: int64[n], above 0.
    """

    names: tuple[Name, ...] = ()
    key: Keys
    count: log_linear.Counts

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.count.sum())


def nothing_counted() -> Counted[Name]:
    """Nothing, of no name."""
    return Counted(names=(), key=np.empty(0, np.int64), count=np.empty(0, np.int64))


def counted_by_slot(
    key: Keys,
    count: log_linear.Counts,
    name_of: Callable[[int], Name | None],
    *,
    looked_at: Iterable[Name] = (),
) -> Counted[Name]:
    """What was counted by slots, by their names; of a slot without a name nothing can have been counted."""
    slots = np.unique(slot_of(key))
    named = [(int(slot), name) for slot in slots if (name := name_of(int(slot))) is not None]
    names = tuple(sorted({name for _, name in named} | set(looked_at)))
    position = {name: at for at, name in enumerate(names)}
    place = np.full(int(slots.max(initial=-1)) + 1, -1, np.int64)
    for slot, name in named:
        place[slot] = position[name]
    new = place[slot_of(key)]
    kept = new >= 0
    return _ordered(names, _moved(key[kept], new[kept]), count[kept])


def counted_each(
    told: Iterable[tuple[Name, int, bool, int]],
) -> Counted[Name]:
    """Of name, bucket, outcome and count each."""
    rows = list(told)
    names = tuple(sorted({row[0] for row in rows}))
    position = {name: at for at, name in enumerate(names)}
    key = key_of(
        np.array([position[row[0]] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int16),
        np.array([row[2] for row in rows], np.bool_),
    )
    return _ordered(names, key, np.array([row[3] for row in rows], np.int64))


def sum_of(parts: Sequence[Counted[Name]]) -> Counted[Name]:
    """All of them together."""
    if len(parts) == 1:
        return parts[0]
    names = tuple(sorted({name for part in parts for name in part.names}))
    position = {name: at for at, name in enumerate(names)}
    keys: list[Keys] = [np.empty(0, np.int64)]
    counts: list[log_linear.Counts] = [np.empty(0, np.int64)]
    for part in parts:
        place = np.array([position[name] for name in part.names], np.int64)
        if len(part.key):
            keys.append(_moved(part.key, place[slot_of(part.key)]))
            counts.append(part.count)
    return _ordered(names, np.concatenate(keys), np.concatenate(counts))


def by_slot(counted: Counted[Name], slot_for: Callable[[Name], int]) -> Keys:
    """The keys of what was counted, by the slots that its names have here; one name after the other in their order."""
    slots = np.array([slot_for(name) for name in counted.names], np.int64)
    return _moved(counted.key, slots[slot_of(counted.key)]) if len(counted.key) else counted.key


def _moved(key: Keys, slot: NDArray[np.int64]) -> Keys:
    return (slot << _KEY_BITS) | (key & ((1 << _KEY_BITS) - 1))


def _ordered(names: tuple[Name, ...], key: Keys, count: log_linear.Counts) -> Counted[Name]:
    key, count = log_linear.sum_by_key(key, count)
    return Counted(names=names, key=key, count=count)
