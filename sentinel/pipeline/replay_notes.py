"""Events that a replay needs and that do not follow from windows, until they are stored with the next one.

Windows that the store did not keep are among them: a replay has to know that live decided what it cannot see. They are
told with the window after the first that was kept again, as one event, because an event a window would fill the very
disk that had no room for windows.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Iterable

from sentinel.core.model import Resolution, Transition, TransitionKind, WindowBlock
from sentinel.ports import Snapshot

LEARNED_EVERY_NS = 3_600_000_000_000
_WAITING_MAX = 1000


class ReplayNotes:
    """The events of one live process that are not stored yet."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=_WAITING_MAX)
        self._unstored: tuple[int, int, int] | None = None
        self._learned_ns = 0

    def add(self, event: str, **facts: object) -> None:
        """Store an event with the next window."""
        self._waiting.append(json.dumps({"event": event, **facts}))

    def add_accepted(self, transitions: Iterable[Transition]) -> None:
        """Each incident that a person's word ended: the stored one knows the last word alone, and it may be taken back."""
        for one in transitions:
            incident = one.incident
            if one.kind is TransitionKind.RESOLVED and incident.resolution is Resolution.ACCEPTED:
                self.add(
                    "accepted",
                    incident=incident.incident_id,
                    by=incident.accepted_by,
                    at_ns=one.at_ns,
                )

    def add_learned(self, state: Snapshot) -> None:
        """What a replay must have learned when it comes there, once an hour: by it the replay is checked."""
        if 0 <= state.at_ns - self._learned_ns < LEARNED_EVERY_NS:
            return
        self._learned_ns = state.at_ns
        self.add("learned", at_ns=state.at_ns, crc=zlib.crc32(state.payload))

    def waiting(self) -> tuple[str, ...]:
        """As they are stored."""
        return tuple(self._waiting)

    def stored(self) -> None:
        """Those that waited are durable."""
        self._waiting.clear()

    def dropped(self, block: WindowBlock) -> None:
        """A window was decided, and the store did not keep it."""
        first_ns, count = block.start_ns, block.window_count
        if self._unstored is not None:
            first_ns, count = min(first_ns, self._unstored[0]), count + self._unstored[2]
        self._unstored = (first_ns, block.end_ns, count)

    def kept(self) -> None:
        """The store takes windows: what it did not keep before is told."""
        if self._unstored is not None:
            (at_ns, until_ns, count), self._unstored = self._unstored, None
            self.add("unstored", at_ns=at_ns, until_ns=until_ns, count=count)
