"""A number for every live name, so that per-series state can be columns.

A number is stable while its name lives. Those of expired names are given out again, which keeps the columns short.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Name = TypeVar("Name", bound=Hashable)
Number = TypeVar("Number", np.bool_, np.int32, np.int64)

_GROWTH = 256


class Slots(Generic[Name]):
    """Names to slots, with columns by slot.

    Attributes:
        names: the name of each slot, None where it is free.
        live: whether the slot has a name.
        born: whether the slot had data in a window that is closed.
        last_ns: when it last had data.
        late_ns: when it last had data that was too late.
        group: a number the caller gave it, such as its service's slot.
        version: changes whenever a name comes or goes.
    """

    def __init__(self) -> None:
        self._slot: dict[Name, int] = {}
        self._free: list[int] = []
        self.names: list[Name | None] = []
        self.live: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.born: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.last_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self.late_ns: NDArray[np.int64] = np.zeros(0, np.int64)
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
                self._lengthen(len(self.born) + _GROWTH)
        self._slot[name] = slot
        self.live[slot] = True
        self.born[slot] = False
        self.last_ns[slot] = 0
        self.late_ns[slot] = 0
        self.group[slot] = group
        self.version += 1
        return slot

    def mark(self, slots: NDArray[np.intp], at_ns: int) -> None:
        """Note that slots had data in a window that starts at `at_ns`; one without a name cannot have had any."""
        slots = slots[self.live[slots]]
        self.born[slots] = True
        self.last_ns[slots] = np.maximum(self.last_ns[slots], at_ns)

    def idle_since(self, before_ns: int) -> list[int]:
        """Slots that had no data since `before_ns` in a window that is closed."""
        width = self.width
        idle = np.flatnonzero(self.live[:width] & (self.last_ns[:width] < before_ns))
        return [int(slot) for slot in idle]

    def release(self, slots: Iterable[int]) -> None:
        """Forget the names of slots."""
        for slot in slots:
            name = self.names[slot]
            if name is not None:
                del self._slot[name]
                self.names[slot] = None
                self.live[slot] = self.born[slot] = False
                self._free.append(slot)
                self.version += 1

    def mend(self) -> None:
        """Make all else agree with the names, after a fault may have left it otherwise; no slot changes its name."""
        self._slot = {}
        for slot, name in enumerate(self.names):
            if name is not None and self._slot.setdefault(name, slot) != slot:
                self.names[slot] = None
        self._free = [slot for slot, name in enumerate(self.names) if name is None]
        self._lengthen(max(self.width, len(self.last_ns)))
        self.live[:] = False
        self.live[list(self._slot.values())] = True
        self.born &= self.live
        self.version += 1

    def _lengthen(self, length: int) -> None:
        self.live = _of_length(self.live, length)
        self.born = _of_length(self.born, length)
        self.last_ns = _of_length(self.last_ns, length)
        self.late_ns = _of_length(self.late_ns, length)
        self.group = _of_length(self.group, length)


def _of_length(column: NDArray[Number], length: int) -> NDArray[Number]:
    longer = np.zeros(length, column.dtype)
    kept = min(length, len(column))
    longer[:kept] = column[:kept]
    return longer
