"""A message on its way out, and what the stream says of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """The stream's acknowledgement."""

    sequence: int
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be stored.

    Attributes:
        message_id: what the stream recognises it by.
        trace_parent: the place in a trace that its reader may link to.
    """

    subject: str
    payload: bytes
    message_id: str
    trace_parent: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What goes beside the payload."""
        told = {"Nats-Msg-Id": self.message_id}
        if self.trace_parent is not None:
            told["traceparent"] = self.trace_parent
        return told
