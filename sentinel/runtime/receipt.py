"""What became of payloads that whoever offers them can offer again: which endpoints have them, up to where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class Receipt:
    """Of payloads that are offered one behind the other; each endpoint has all of them up to one, and none behind it.

    An endpoint that refused one takes none that comes later by the same receipt, so that what is offered again goes on where
    that one began. Written by the thread of the queues, read by the event loop; no step needs more than one look.

    Attributes:
        endpoints: names of those that the payloads are for.
        is_again: whether it was offered before; such a payload may wait in an empty memory where no disk takes it, and counts
            as taken only when the endpoint has it.
        offered_count: records up to the end of the payload offered last.
    """

    __slots__ = (
        "_held",
        "_refused",
        "_taken",
        "_was_held",
        "endpoints",
        "is_again",
        "offered_count",
    )

    def __init__(self, endpoints: Iterable[str], *, is_again: bool = False) -> None:
        self.endpoints = frozenset(endpoints)
        self.is_again = is_again
        self.offered_count = 0
        self._taken: dict[str, int] = {}
        self._refused: set[str] = set()
        self._held: set[str] = set()
        self._was_held: set[str] = set()

    def take(self, endpoint: str, count: int) -> None:
        """It has the records up to this one, safe from a kill of the process; not when it refused one before them."""
        if endpoint in self._refused and endpoint not in self._held:
            return
        self._taken[endpoint] = count
        self._held.discard(endpoint)

    def hold(self, endpoint: str) -> None:
        """What was offered to it last is in memory only."""
        self._was_held.add(endpoint)
        self._held.add(endpoint)

    def refuse(self, endpoint: str) -> None:
        """It takes no more by this receipt."""
        self._refused.add(endpoint)

    def give_back(self, endpoint: str) -> None:
        """What memory held of it was dropped there."""
        self._refused.add(endpoint)
        self._held.discard(endpoint)

    def void(self) -> None:
        """Whatever was not taken by now is taken no more."""
        self._refused.update(self.endpoints)

    def is_refused(self, endpoint: str) -> bool:
        """Whether it takes no more."""
        return endpoint in self._refused

    def is_held(self, endpoint: str) -> bool:
        """Whether it has to be waited for what memory holds."""
        return endpoint in self._held

    def was_held(self, endpoint: str) -> bool:
        """Whether some of it was in memory only, for want of a disk that takes it."""
        return endpoint in self._was_held

    def taken_count(self, endpoint: str) -> int:
        """Records it has, of `offered_count`."""
        return self._taken.get(endpoint, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A payload by its receipt: `count` records were offered up to and with it."""

    receipt: Receipt
    count: int
