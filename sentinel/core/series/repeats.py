"""Which batches were seen before: a sender whose answer was lost sends the same again."""

from __future__ import annotations

from collections import deque

_FINGERPRINTS_MAX = 1024


class Repeats:
    """Remembers the fingerprints of the last batches, a bounded number."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque(maxlen=_FINGERPRINTS_MAX)
        self._known: set[bytes] = set()

    def is_repeat(self, fingerprint: bytes) -> bool:
        """Whether the batch was seen already; one without a fingerprint never was."""
        if not fingerprint:
            return False
        if fingerprint in self._known:
            return True
        if len(self._order) == _FINGERPRINTS_MAX:
            self._known.discard(self._order[0])
        self._order.append(fingerprint)
        self._known.add(fingerprint)
        return False
