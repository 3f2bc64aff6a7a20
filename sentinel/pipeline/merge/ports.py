"""What merging asks of those around it: where parts are kept, and what the scorer hears itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sentinel.core.series.collected import CollectedWindow


class StoredPart(Protocol):
    """A part as it came before a restart."""

    @property
    def received_ns(self) -> int:
        """When it came."""
        ...

    @property
    def body(self) -> bytes:
        """Its bytes."""
        ...


class PartStore(Protocol):
    """Where parts are kept; blocking, one thread at a time. Raises StoreError."""

    @property
    def size_bytes(self) -> int:
        """What is kept."""
        ...

    def open(self) -> Sequence[StoredPart]:
        """What is there, in the order of its arrival."""
        ...

    def add(self, start_ns: int, body: bytes, *, received_ns: int) -> None:
        """Keep a part of the window at `start_ns`; on return it is on the disk."""
        ...

    def make_room(self, size_bytes: int, *, before_ns: int) -> None:
        """Have room for so many bytes, at the cost of windows that begin before."""
        ...

    def forget_before(self, start_ns: int) -> None:
        """Keep nothing of windows that begin before."""
        ...


class OwnWays(Protocol):
    """What the scorer hears itself."""

    def hello(self, now_ns: int) -> CollectedWindow:
        """What is said at the start."""
        ...
