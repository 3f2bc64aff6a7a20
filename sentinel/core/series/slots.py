"""A number for every live name, so that per-series state can be columns.

A number is stable while its name lives. Those of expired names are given out again, which keeps the columns short.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Name = TypeVar("Name", bound=Hashable)

_GROWTH = 256


class Slots(Generic[Name]):
    """Names to slots, with columns by slot.

    Attributes:
        names: the name of each slot, None where it is free.
        born: whether the slot had data in a window that is closed.
        last_ns: when it last had data.
        group: a number the caller gave it, such as its service's slot.
        version: changes whenever a name comes or goes.
    """

    def __init__(self) -> None:
        self._slot: dict[Name, int] = {}
        self._free: list[int] = []
        self.names: list[Name | None] = []
        self.born: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.last_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self.group: NDArray[np.int32] = np.zeros(0, np.int32)
        self.version = 0

    def __len__(self) -> int:
        return len(self._slot)

    @property
    def width(self) -> int:
        """One more than the highest slot in use."""
        return len(self.names)

    def find(self, name: Name) -> int | None:
        """The slot of a live name."""
        return self._slot.get(name)

    def take(self, name: Name, *, group: int = 0) -> int:
        """The slot of a name, a new one if it has none."""
        slot = self._slot.get(name)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self.names[slot] = name
        else:
            slot = len(self.names)
            self.names.append(name)
            if slot >= len(self.born):
                self.born = np.concatenate((self.born, np.zeros(_GROWTH, np.bool_)))
                self.last_ns = np.concatenate((self.last_ns, np.zeros(_GROWTH, np.int64)))
                self.group = np.concatenate((self.group, np.zeros(_GROWTH, np.int32)))
        self._slot[name] = slot
        self.born[slot] = False
        self.last_ns[slot] = 0
        self.group[slot] = group
        self.version += 1
        return slot

    def mark(self, slots: NDArray[np.intp], at_ns: int) -> None:
        """Note that slots had data in a window that starts at `at_ns`."""
        self.born[slots] = True
        self.last_ns[slots] = np.maximum(self.last_ns[slots], at_ns)

    def idle_since(self, before_ns: int) -> list[int]:
        """Slots that were in a closed window, and had no data since `before_ns`."""
        width = self.width
        idle = np.flatnonzero(self.born[:width] & (self.last_ns[:width] < before_ns))
        return [int(slot) for slot in idle]

    def release(self, slots: Iterable[int]) -> None:
        """Forget the names of slots."""
        for slot in slots:
            name = self.names[slot]
            if name is not None:
                del self._slot[name]
                self.names[slot] = None
                self.born[slot] = False
                self._free.append(slot)
                self.version += 1
