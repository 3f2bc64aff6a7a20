"""Which calls a window names: evidence for a page, and the moment a place began to be strange."""

from __future__ import annotations

from typing import NamedTuple

from sentinel.core.model import CallExemplar


class NamedCalls(NamedTuple):
    """The calls of one place and outcome that a window names: when it began, and how bad it was.

    The trace id breaks ties, so that the choice does not depend on the order of arrival.
    """

    first: CallExemplar
    slowest: CallExemplar

    def with_call(self, call: CallExemplar) -> NamedCalls:
        """These, with one more call looked at."""
        earlier = (call.end_ns, call.trace_id) < (self.first.end_ns, self.first.trace_id)
        slower = (call.duration_s, call.trace_id) > (
            self.slowest.duration_s,
            self.slowest.trace_id,
        )
        return NamedCalls(
            first=call if earlier else self.first, slowest=call if slower else self.slowest
        )
