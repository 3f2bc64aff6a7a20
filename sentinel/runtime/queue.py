"""A bounded queue that counts what its bound refused; bytes are bounded as well as items."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BoundedQueue(Generic[Item]):
    """First in, first out, for one event loop; `offer` never blocks and never drops silently."""

    def __init__(self, *, item_count_max: int, size_bytes_max: int) -> None:
        self._items: deque[tuple[Item, int]] = deque()
        self._item_count_max = item_count_max
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 0
        self._ready = asyncio.Event()
        self.refused_count = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size_bytes(self) -> int:
        """Bytes that the queued items were said to have."""
        return self._size_bytes

    @property
    def fill_ratio(self) -> float:
        """The fuller of the two bounds, 0-1."""
        return max(
            len(self._items) / self._item_count_max, self._size_bytes / self._size_bytes_max
        )

    def offer(self, item: Item, *, size_bytes: int) -> bool:
        """Take the item, or count it as refused and return False.

        An item larger than the whole bound is taken when the queue is empty; otherwise it could never pass.
        """
        full = len(self._items) >= self._item_count_max
        heavy = self._size_bytes + size_bytes > self._size_bytes_max and bool(self._items)
        if full or heavy:
            self.refused_count += 1
            return False
        self._items.append((item, size_bytes))
        self._size_bytes += size_bytes
        self._ready.set()
        return True

    def take_all(self) -> list[Item]:
        """Everything queued, at once, without waiting."""
        items = [item for item, _ in self._items]
        self._items.clear()
        self._size_bytes = 0
        self._ready.clear()
        return items

    async def wait(self, *, timeout_s: float) -> bool:
        """Wait until something is queued, at most `timeout_s`; False when nothing came."""
        if self._items:
            return True
        try:
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
