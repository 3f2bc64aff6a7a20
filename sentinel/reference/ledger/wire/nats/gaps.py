"""Events that the stream let go before their reader was given them: found by the stream's own numbers.

The stream of events is bounded and old events give way to new ones, so a reader that was away, or is too slow, has a gap in its
numbers. A number that another process of the same durable consumer got is no gap: the stream still has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.msg import Msg

from sentinel.reference.ledger.wire.nats.queue import Queue


class Gaps:
    """Counts what one reader of the events was never given, also while it was away."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._last: int | None = None

    async def missed(self, messages: Sequence[Msg]) -> int:
        """Return how many events the stream let go before these; to be asked of each batch before it is acknowledged.

        Before the first batch the consumer itself says how far its reader had come. What had been delivered to a reader that
        died, and was let go then, is not counted: the server takes it for done. That is a batch at most.

        Raises:
            UnavailableError: the server did not answer; asked again of the same batch, the answer is whole.
        """
        last = self._last if self._last is not None else await self._queue.events_taken_up_to()
        first: int | None = None
        missed_count = 0
        for message in messages:
            metadata = message.metadata
            if metadata.num_delivered and metadata.num_delivered > 1:
                continue
            sequence = metadata.sequence.stream
            if sequence > last + 1:
                if first is None:
                    first = await self._queue.first_event()
                missed_count += max(min(sequence, first) - last - 1, 0)
            last = max(last, sequence)
        self._last = last
        return missed_count
