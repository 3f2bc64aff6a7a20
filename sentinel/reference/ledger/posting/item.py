"""A message of the queue together with what it says, and how many of them one database transaction takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nats.aio.msg import Msg

from sentinel.reference.ledger.posting.intake import Taken
from sentinel.reference.ledger.wire.envelope import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A message and what it says."""

    message: Msg
    envelope: Envelope

    @property
    def cohort(self) -> int:
        """The cohort of whoever asks."""
        return self.envelope.cohort

    @property
    def taken(self) -> Taken:
        """Its place on its cohort's stream."""
        return taken(self.message)


def taken(message: Msg) -> Taken:
    """Return a message's place on its stream, and when the stream stored it."""
    metadata = message.metadata
    return Taken(sequence=metadata.sequence.stream, stored_at=metadata.timestamp)


def requests_count(items: Sequence[Item]) -> int:
    """Return how many requests the messages hold together: a batch has many."""
    return sum(len(item.envelope.requests) for item in items)


def parts(items: Sequence[Item], requests_count_max: int) -> Iterator[list[Item]]:
    """Yield the messages in runs of at most so many requests, a larger message in a run alone."""
    part: list[Item] = []
    count = 0
    for item in items:
        size = len(item.envelope.requests)
        if part and count + size > requests_count_max:
            yield part
            part, count = [], 0
        part.append(item)
        count += size
    if part:
        yield part


def halves(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return the messages in two parts."""
    middle = len(items) // 2
    return list(items[:middle]), list(items[middle:])
