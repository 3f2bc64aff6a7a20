"""A connection to the queue: publish with de-duplication, fetch and acknowledge, dead letters.

The server is told to deliver without end. When to give a message up is the poster's judgement: a
limit on the server would strand good transfers in the stream after a few restarts of a broken
poster, where nobody would deliver them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import NoStreamResponseError, NotFoundError

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.unread import unread_share
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM, EVENTS_SUBJECTS
from sentinel.reference.ledger.wire.nats.dead import dead_copy, headers_size
from sentinel.reference.ledger.wire.nats.declared import (
    CONSUMER,
    MESSAGE_BYTES_MAX,
    stream_name,
    subjects_of,
)
from sentinel.reference.ledger.wire.nats.messages import Outgoing, PublishResult
from sentinel.reference.ledger.wire.nats.reaching import reaching
from sentinel.reference.ledger.wire.nats.standing import Standing

_INFO_TIMEOUT_S: Final = 2.0
_NO_STREAM: Final = 10059
# What goes beside a payload: its id, with a key of 255 characters, and its place in a trace, with what a caller's own trace
# carries along, which a header of HTTP bounds.
_HEADERS_BYTES_MAX: Final = 12 * 1024
# The id under which a dead message is published.
_DEAD_ID_BYTES_MAX: Final = 256


class Queue:
    """A connection to the ledger's streams. Every call ends within its time limit.

    Failures of the server are raised as UnavailableError; a reconnect is tried for ever in the
    background, and meanwhile calls fail at once.
    """

    def __init__(
        self, config: NatsConfig, client: Client, *, on_change: Callable[[str, str], None]
    ) -> None:
        self._config = config
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=config.publish_timeout_s)
        self._standing = Standing(config, client=client, stream=self._js, on_change=on_change)

    @classmethod
    async def connect(
        cls,
        config: NatsConfig,
        *,
        name: str,
        on_change: Callable[[str, str], None],
    ) -> Queue:
        """Connect and see to it that the streams exist.

        Args:
            config: address and limits.
            name: the client's name, as the server shows it.
            on_change: told "disconnected", "reconnected", "restored" (streams and consumers that were gone) or "error",
                with a detail.

        Raises:
            UnavailableError: no server answered within the time limit.
        """

        async def disconnected() -> None:
            if not client.is_closed:  # closing it ourselves is no loss
                on_change("disconnected", "")

        async def reconnected() -> None:
            on_change("reconnected", "")
            queue._standing.look()  # the server may have come back without its store

        async def error(failure: Exception) -> None:
            on_change("error", type(failure).__name__)

        client = Client()
        queue = cls(config, client, on_change=on_change)
        with reaching("no NATS server answers"):
            try:
                # The client's own first connect goes on for ever when its reconnects do.
                async with asyncio.timeout(config.connect_timeout_s):
                    await client.connect(
                        servers=config.servers,
                        name=name,
                        connect_timeout=int(max(config.connect_timeout_s, 1)),
                        allow_reconnect=True,
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=1,
                        disconnected_cb=disconnected,
                        reconnected_cb=reconnected,
                        error_cb=error,
                    )
            except BaseException:
                await client.close()
                raise
        try:
            await queue._standing.ensure_streams()
        except BaseException:
            await client.close()
            raise
        return queue

    @property
    def connected(self) -> bool:
        """Whether the connection is up right now."""
        return bool(self._client.is_connected)

    @property
    def missing(self) -> str:
        """Why nothing can be published although it is connected: "", or what is not there."""
        return self._standing.missing

    @property
    def payload_bytes_max(self) -> int:
        """The largest payload that can be published for sure, whatever goes beside it."""
        return min(self._client.max_payload, MESSAGE_BYTES_MAX) - _HEADERS_BYTES_MAX

    async def publish(
        self, *, subject: str, payload: bytes, message_id: str | None, headers: dict[str, str]
    ) -> PublishResult:
        """Store a message and return once the stream has acknowledged it.

        Args:
            subject: where.
            payload: what.
            message_id: what the stream recognises it by for some minutes; None for one to be stored in any case.
            headers: what goes beside it.

        Raises:
            UnavailableError: no acknowledgement in time, no connection, or the stream is full. The
                message may have been stored all the same; publishing it again is harmless.
        """
        self._check_connected()
        told = headers if message_id is None else {**headers, "Nats-Msg-Id": message_id}
        if len(payload) + headers_size(told) > self._client.max_payload:
            # The server would end the connection, and with it whatever else is under way.
            message = "the message is larger than the server takes"
            raise UnavailableError(message, code="too_large")
        with reaching("the queue did not take the message"):
            try:
                ack = await self._js.publish(subject, payload, headers=told)
            except NoStreamResponseError:
                self._standing.lost("there is no stream for what is published")
                raise
        return PublishResult(sequence=ack.seq, duplicate=bool(ack.duplicate))

    async def publish_in_order(self, messages: Sequence[Outgoing]) -> list[PublishResult]:
        """Store messages in this order, all on their way at once; returns when all were stored.

        Raises:
            UnavailableError: not all were acknowledged in time. Some may have been stored: when all are published again,
                the stream recognises those, and any that it had not come after them.
        """
        self._check_connected()
        waiting: list[asyncio.Future[PubAck]] = []
        with reaching("the queue did not take the messages"):
            try:
                async with asyncio.timeout(self._config.publish_timeout_s):
                    for message in messages:
                        # One after the other onto the connection, which the server reads in order.
                        waiting += [
                            await self._js.publish_async(
                                message.subject, message.payload, headers=message.headers
                            )
                        ]
                    acks = await asyncio.gather(*waiting)
            except NoStreamResponseError:
                self._standing.lost("there is no stream for what is published")
                raise
            except asyncio.CancelledError:
                # A connection that ends cancels what waits for its answers: that is no end of ours.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise ConnectionClosedError from None
            finally:
                for one in waiting:
                    one.cancel()
        return [PublishResult(sequence=ack.seq, duplicate=bool(ack.duplicate)) for ack in acks]

    async def find(self, *, stream: str, subject: str) -> bytes | None:
        """Return the payload stored under `subject`, or None when the stream holds none.

        Raises:
            UnavailableError: the server did not answer.
        """
        self._check_connected()
        with reaching("the queue did not answer"):
            try:
                message = await self._js.get_last_msg(stream, subject)
            except NotFoundError as failure:
                if failure.err_code == _NO_STREAM:
                    self._standing.lost(f"there is no stream {stream}")
                return None
        return message.data

    async def subscribe(self, cohorts: Iterable[int]) -> None:
        """Bind to the durable consumer of each cohort's stream, creating those that are missing.

        Raises:
            UnavailableError: the server did not answer.
        """
        for cohort in cohorts:
            await self._standing.bind(stream_name(cohort), subjects_of(cohort), CONSUMER)

    async def subscribe_events(self, durable: str, subjects: str = EVENTS_SUBJECTS) -> None:
        """Bind to a durable consumer of the events, creating it from the oldest event on when it is missing.

        Raises:
            UnavailableError: the server did not answer.
        """
        await self._standing.bind(EVENTS_STREAM, subjects, durable)

    async def fetch(self, cohort: int, *, count_max: int, wait_s: float) -> list[Msg]:
        """Return up to `count_max` messages of a cohort, or none when none came within `wait_s`.

        They have at most the configuration's `fetch_bytes_max` together, but for one that alone has more.

        Raises:
            UnavailableError: the server is away or the consumer is gone.
        """
        return await self._fetch(stream_name(cohort), count_max=count_max, wait_s=wait_s)

    async def fetch_events(self, *, count_max: int, wait_s: float) -> list[Msg]:
        """Return up to `count_max` events, or none when none came within `wait_s`.

        Raises:
            UnavailableError: the server is away or the consumer is gone.
        """
        return await self._fetch(EVENTS_STREAM, count_max=count_max, wait_s=wait_s)

    async def first_event(self) -> int:
        """Return the number of the oldest event that the stream still has.

        Raises:
            UnavailableError: the server did not answer.
        """
        self._check_connected()
        with reaching("the stream's state is not known"):
            return int((await self._js.stream_info(EVENTS_STREAM)).state.first_seq)

    async def events_taken_up_to(self) -> int:
        """Return up to which number of the events all are acknowledged by the bound consumer; 0 before the first event.

        Raises:
            UnavailableError: the server did not answer.
        """
        self._check_connected()
        with reaching("the consumer's state is not known"):
            info = await self._js.consumer_info(
                EVENTS_STREAM, self._standing.durables[EVENTS_STREAM], timeout=_INFO_TIMEOUT_S
            )
        return 0 if info.ack_floor is None else int(info.ack_floor.stream_seq)

    async def events_unread(self) -> dict[str, float]:
        """Return, of each durable reader of the events, what waits for it as a share of what the stream can hold.

        At 1 every further event lets one go that this reader has not read.

        Raises:
            UnavailableError: the server did not answer.
        """
        self._check_connected()
        with reaching("the stream's state is not known"):
            stream = await self._js.stream_info(EVENTS_STREAM)
            readers = await self._js.consumers_info(EVENTS_STREAM)
        state, limits = stream.state, stream.config
        return {
            one.config.durable_name: unread_share(
                (one.num_pending or 0) + (one.num_ack_pending or 0),
                messages_count=state.messages,
                bytes_count=state.bytes,
                bytes_max=limits.max_bytes,
                messages_max=limits.max_msgs,
            )
            for one in readers
            if one.config.durable_name
        }

    async def _fetch(self, stream: str, *, count_max: int, wait_s: float) -> list[Msg]:
        pull = self._standing.pulls.get(stream)
        if pull is None:
            message = "fetch before subscribe"
            raise LedgerError(message)
        self._check_connected()
        with reaching("fetching failed"):
            try:
                return await pull.fetch(
                    count_max=count_max, bytes_max=self._config.fetch_bytes_max, wait_s=wait_s
                )
            except NoStreamResponseError:
                self._standing.lost(f"nobody answers for the consumer of {stream}")
                raise

    async def backlog(self) -> tuple[int, int]:
        """Return the (not yet delivered, delivered but not acknowledged) messages of its consumers.

        Raises:
            UnavailableError: the server did not answer.
        """
        pending_count = ack_pending_count = 0
        for stream, durable in self._standing.durables.items():
            with reaching("the consumer's state is not known"):
                try:
                    info = await self._js.consumer_info(stream, durable, timeout=_INFO_TIMEOUT_S)
                except NotFoundError:
                    self._standing.lost(f"there is no consumer {durable} of {stream}")
                    raise
            pending_count += info.num_pending or 0
            ack_pending_count += info.num_ack_pending or 0
        return pending_count, ack_pending_count

    async def acknowledge(self, messages: list[Msg]) -> None:
        """Acknowledge messages and wait until the server has got it.

        A lost acknowledgement leads to redelivery, which the database's key absorbs.

        Raises:
            UnavailableError: the connection is gone.
        """
        with reaching("acknowledging failed"):
            for message in messages:
                await message.ack()
            await self._client.flush(timeout=2)

    async def keep(self, messages: list[Msg]) -> None:
        """Tell the server that work on these goes on, which restarts their `ack_wait`.

        Raises:
            UnavailableError: the connection is gone.
        """
        with reaching("extending the messages' time failed"):
            for message in messages:
                await message.in_progress()

    async def hand_back(self, messages: list[Msg], *, delay_s: float) -> None:
        """Have the server deliver these again, after `delay_s`.

        Raises:
            UnavailableError: the connection is gone.
        """
        with reaching("handing messages back failed"):
            for message in messages:
                await message.nak(delay=delay_s)
            await self._client.flush(timeout=2)

    async def keep_dead(self, message: Msg, *, subject: str, reason: str) -> None:
        """Keep a message on the dead-letter stream; it stays on the queue until `end`.

        Raises:
            UnavailableError: it could not be kept.
        """
        kept = dead_copy(
            message, reason=reason, bytes_max=self._client.max_payload - _DEAD_ID_BYTES_MAX
        )
        metadata = message.metadata
        await self.publish(
            subject=subject,
            payload=kept.payload,
            # With the stream's name, for each cohort's numbers begin at one; and with the time, for those of a stream that is
            # made anew do so too.
            message_id=f"dead:{metadata.stream}:{metadata.sequence.stream}:{metadata.timestamp.timestamp():.6f}",
            headers=kept.headers,
        )

    async def end(self, message: Msg) -> None:
        """Take a message off its stream's consumer for good, undone.

        Raises:
            UnavailableError: the connection is gone.
        """
        with reaching("ending the message failed"):
            await message.term()

    async def close(self) -> None:
        """Close the connection; harmless when it is closed."""
        await self._standing.close()
        if not self._client.is_closed:
            await self._client.close()

    def _check_connected(self) -> None:
        # While it reconnects the client would buffer a request and answer it much later.
        if not self.connected:
            message = "no connection to NATS"
            raise UnavailableError(message, code="disconnected")
