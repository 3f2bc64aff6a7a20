"""The queue, through nats-py: its streams, a connection of the ledger's, and one of its operator."""

from __future__ import annotations

from sentinel.reference.ledger.wire.nats.declared import (
    CONSUMER,
    DEAD_STREAM,
    DEAD_SUBJECTS,
    STREAMS,
    stream_name,
)
from sentinel.reference.ledger.wire.nats.gaps import Gaps
from sentinel.reference.ledger.wire.nats.letters import DeadLetter, Letters
from sentinel.reference.ledger.wire.nats.messages import Outgoing, PublishResult
from sentinel.reference.ledger.wire.nats.operator import operator
from sentinel.reference.ledger.wire.nats.queue import Queue

__all__ = [
    "CONSUMER",
    "DEAD_STREAM",
    "DEAD_SUBJECTS",
    "STREAMS",
    "DeadLetter",
    "Gaps",
    "Letters",
    "Outgoing",
    "PublishResult",
    "Queue",
    "operator",
    "stream_name",
]
