"""What every tap of the tests answers that never turns anything away and has it safe at once."""

from __future__ import annotations

from sentinel.runtime.otlp_reply import OtlpSignal


class RoomyTap:
    """Has room for everything, and everything queued as soon as it is offered."""

    def endpoints(self, signal: OtlpSignal) -> tuple[str, ...]:  # none that could be without room
        """None by name."""
        return ()

    def has_room(self, signal: OtlpSignal, size_bytes: int) -> bool:  # always
        """There always is."""
        return True

    async def queued(self) -> bool:
        """At once."""
        return True
