"""A queue in memory with the verbs of the one on disk: bounded in bytes, oldest dropped, gone with the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sentinel.runtime.disk_queue.records import Record


class MemoryQueue:
    """For what may not be written to disk, and for when the disk takes nothing. One thread at a time uses it."""

    def __init__(self, *, bytes_max: int, given_back: Callable[[Record], None]) -> None:
        """Hold so many bytes; what is dropped for want of room and can be offered again is given back instead."""
        self._bytes_max = bytes_max
        self._given_back = given_back
        self._records: deque[Record] = deque()
        self._peeked = 0
        self.size_bytes = 0
        self.item_count = 0

    def could_hold(self, record: Record) -> bool:
        """Whether the bound is wide enough for it."""
        return record.size_bytes <= self._bytes_max

    def append(self, record: Record) -> int:
        """Take a record; how many items were dropped for it, its own among them when it is larger than the bound."""
        if record.size_bytes > self._bytes_max:
            return record.item_count
        dropped = 0
        while self.size_bytes + record.size_bytes > self._bytes_max:
            # What is being sent is held by the sender, and only leaves the count here.
            oldest = self._records.popleft()
            if self._peeked:
                self._peeked -= 1
            elif oldest.offered:
                self._given_back(oldest)
            else:
                dropped += oldest.item_count
            self._forget(oldest)
        self._records.append(record)
        self.size_bytes += record.size_bytes
        self.item_count += record.item_count
        return dropped

    def peek(self, *, bytes_max: int) -> list[Record]:
        """As that of the queue on disk."""
        found: list[Record] = []
        size_bytes = 0
        for record in self._records:
            size_bytes += len(record.body)
            if found and (record.encoding is not found[0].encoding or size_bytes > bytes_max):
                break
            found.append(record)
        self._peeked = len(found)
        return found

    def ack(self) -> None:
        """What was peeked has been dealt with."""
        for _ in range(self._peeked):
            self._forget(self._records.popleft())
        self._peeked = 0

    def empty(self) -> int:
        """Give all of it up; how many items are lost by it."""
        lost = 0
        while self._records:
            record = self._records.popleft()
            self._forget(record)
            if record.offered:
                self._given_back(record)
            else:
                lost += record.item_count
        self._peeked = 0
        return lost

    def _forget(self, record: Record) -> None:
        self.size_bytes -= record.size_bytes
        self.item_count -= record.item_count
