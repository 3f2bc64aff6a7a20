"""Which records were taken before: a sender whose answer was lost sends them again, perhaps beside others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class SeenIds:
    """Remembers the ids of the last records that were taken, a bounded number, oldest forgotten first.

    Ids are remembered only when their records were taken: what was turned away must be new when it comes again.

    >>> seen = SeenIds(count_max=2)
    >>> seen.fresh([b"a", b"b", b"a"])
    [True, True, False]
    >>> seen.remember([b"a", b"b"]); seen.fresh([b"b", b"c"])
    [False, True]
    """

    def __init__(self, *, count_max: int) -> None:
        self._count_max = count_max
        self._order: deque[bytes] = deque()
        self._known: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._order)

    def fresh(self, ids: Iterable[bytes]) -> list[bool]:
        """Of each record whether it is new, to us and among these."""
        here: set[bytes] = set()
        found = []
        for each in ids:
            is_fresh = each not in self._known and each not in here
            here.add(each)
            found.append(is_fresh)
        return found

    def remember(self, ids: Iterable[bytes]) -> None:
        """These were taken."""
        for each in ids:
            if each in self._known:
                continue
            if len(self._order) >= self._count_max:
                self._known.discard(self._order.popleft())
            self._order.append(each)
            self._known.add(each)
