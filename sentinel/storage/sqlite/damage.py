"""What was found damaged: counted, told, and moved out of the way so that it is not met again."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.runtime.component import Surroundings
from sentinel.storage.sqlite.access import Access
from sentinel.storage.sqlite.outbox import set_aside_entry
from sentinel.storage.sqlite.session import Session
from sentinel.storage.sqlite.trouble import Topic


class Damage:
    """Collects damaged chunks while a transaction meets them, and sets them aside after it."""

    def __init__(self, access: Access, surroundings: Surroundings) -> None:
        self._access = access
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._logger = surroundings.logger
        self._chunks: dict[int, str] = {}

    def note_chunk(self, chunk_id: int, reason: str) -> None:
        """A chunk cannot be read; inside a transaction, so nothing is moved yet."""
        self._chunks[chunk_id] = reason

    def set_chunks_aside(self) -> None:
        """Move the chunks noted since the last call to the quarantine."""
        if not self._chunks:
            return
        damaged, self._chunks = self._chunks, {}
        for reason in damaged.values():
            self.count("chunk", reason)
        now_ns = self._clock.now_ns()

        def work(session: Session) -> None:
            for chunk_id, reason in damaged.items():
                session.chunks.set_aside(chunk_id, reason=reason, now_ns=now_ns)

        self._access.attempt("set_aside", lambda: self._access.write("set_aside", work))

    def set_entries_aside(self, damaged: Sequence[tuple[int, str]]) -> None:
        """Move entries whose page is damaged to the quarantine."""
        now_ns = self._clock.now_ns()

        def work(session: Session) -> None:
            for entry_id, reason in damaged:
                set_aside_entry(session.connection, entry_id, reason=reason, now_ns=now_ns)

        self._access.write("set_aside", work)
        for _, reason in damaged:
            self.count("page", reason)

    def count(self, what: str, reason: str) -> None:
        """Something of this kind is damaged."""
        self._metrics.count("sentinel_store_corrupt_chunks_total", what=what)
        self._access.trouble.note(Topic.DAMAGE, f"Something damaged was set aside: {reason}")
        self._logger.error("Damaged data was set aside", extra={"what": what, "reason": reason})
