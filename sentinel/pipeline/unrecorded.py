"""What one destination's outbox should say while the store does not take it, so that pages go out all the same.

A page is durable before it is sent, as long as the store can make it so. On a full or failing disk that would be
never, and the very outage that filled the disk would not page. So what the store did not take is held here, and
laid over what it says: pages that it has not (`hold`), and what became of entries that it has (`change`). Within the
life of the process nothing is sent twice for that; a restart forgets it, and sends again what the store says was
not sent.

A held page has a number above all of the store's, because it is newer than them. When the store has taken it after
all, its entry is met among the stored ones and what became of the page is recorded there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sentinel.core.model import Page
from sentinel.pipeline.outbox_states import DONE, PENDING
from sentinel.ports import OutboxEntry

_FIRST_ID = 1 << 62
_PAGES_MAX = 1000


class Unrecorded:
    """One destination's part."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._stored: tuple[OutboxEntry, ...] = ()
        self._changed: dict[int, OutboxEntry] = {}
        self._held: dict[str, OutboxEntry] = {}
        self._met: set[str] = set()
        self._next_id = _FIRST_ID

    @staticmethod
    def has(entry: OutboxEntry) -> bool:
        """Whether this entry is held here and the store has none of it."""
        return entry.entry_id >= _FIRST_ID

    def hold(self, pages: Iterable[Page], *, now_ns: int) -> int:
        """Take pages that the store did not; ones that are here already stay as they are.

        Returns how many that were not sent had to be given up for want of room.
        """
        for page in pages:
            if page.page_id in self._held or page.page_id in self._met:
                continue
            self._held[page.page_id] = OutboxEntry(
                entry_id=self._next_id,
                destination=self._destination,
                page=page,
                attempts=0,
                due_ns=0,
                state=PENDING,
                stored_ns=now_ns,
            )
            self._next_id += 1
        dropped_count = 0
        while len(self._held) > _PAGES_MAX:
            done = (key for key, entry in self._held.items() if entry.state == DONE)
            oldest = next(done, next(iter(self._held)))
            dropped_count += self._held.pop(oldest).delivered_ns is None
        return dropped_count

    def all_stored(self) -> None:
        """The store has taken every page there was: none that it has will be held again."""
        self._met.clear()

    def over(self, stored: Sequence[OutboxEntry] | None) -> list[OutboxEntry]:
        """All entries that are not done, oldest first.

        Args:
            stored: what the store says, or None when it says nothing; then what it said last holds.
        """
        if stored is not None:
            for entry in stored:
                self._meet(entry)
            self._stored = tuple(stored)
        now = (self._changed.get(entry.entry_id, entry) for entry in self._stored)
        return [entry for entry in (*now, *self._held.values()) if entry.state != DONE]

    def change(self, entries: Iterable[OutboxEntry]) -> None:
        """What became of entries; to be recorded."""
        for entry in entries:
            if self.has(entry):
                self._held[entry.page.page_id] = entry
            else:
                self._changed[entry.entry_id] = entry

    def to_record(self) -> tuple[OutboxEntry, ...]:
        """What the store should be told."""
        return tuple(self._changed.values())

    def recorded(self) -> None:
        """It was told all of that."""
        self._stored = tuple(self._changed.get(entry.entry_id, entry) for entry in self._stored)
        self._changed.clear()

    def _meet(self, entry: OutboxEntry) -> None:
        held = self._held.pop(entry.page.page_id, None)
        if held is None:
            return
        # A commit can fail and be on the disk nevertheless; then this page will be held out again.
        self._met.add(entry.page.page_id)
        known = replace(held, entry_id=entry.entry_id, stored_ns=entry.stored_ns)
        if known != entry:
            self._changed[entry.entry_id] = known
