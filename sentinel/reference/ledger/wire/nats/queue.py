"""A connection to the queue: publish with de-duplication, fetch and acknowledge, dead letters.

The server is told to deliver without end. When to give a message up is the poster's judgement: a
limit on the server would strand good transfers in the stream after a few restarts of a broken
poster, where nobody would deliver them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, PubAck
from nats.js.errors import APIError, NotFoundError

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.unread import unread_share
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM, EVENTS_SUBJECTS
from sentinel.reference.ledger.wire.nats.declared import (
    CONSUMER,
    declared_streams,
    stream_name,
    subjects_of,
)
from sentinel.reference.ledger.wire.nats.messages import Outgoing, PublishResult
from sentinel.reference.ledger.wire.nats.reaching import reaching

_INFO_TIMEOUT_S: Final = 2.0
_STREAM_NAME_IN_USE: Final = 10058


class Queue:
    """A connection to the ledger's streams. Every call ends within its time limit.

    Failures of the server are raised as UnavailableError; a reconnect is tried for ever in the
    background, and meanwhile calls fail at once.
    """

    def __init__(self, config: NatsConfig, client: Client) -> None:
        self._config = config
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=config.publish_timeout_s)
        self._subscriptions: dict[str, JetStreamContext.PullSubscription] = {}
        self._durables: dict[str, str] = {}

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
            on_change: told "disconnected", "reconnected" or "error", with a detail.

        Raises:
            UnavailableError: no server answered within the time limit.
        """

        async def disconnected() -> None:
            if not client.is_closed:  # closing it ourselves is no loss
                on_change("disconnected", "")

        async def reconnected() -> None:
            on_change("reconnected", "")

        async def error(failure: Exception) -> None:
            on_change("error", type(failure).__name__)

        client = Client()
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
        queue = cls(config, client)
        try:
            await queue._ensure_streams()
        except BaseException:
            await client.close()
            raise
        return queue

    @property
    def connected(self) -> bool:
        """Whether the connection is up right now."""
        return bool(self._client.is_connected)

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
        with reaching("the queue did not take the message"):
            known_by = {} if message_id is None else {"Nats-Msg-Id": message_id}
            ack = await self._js.publish(subject, payload, headers={**headers, **known_by})
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
            except NotFoundError:
                return None
        return message.data

    async def subscribe(self, cohorts: Iterable[int]) -> None:
        """Bind to the durable consumer of each cohort's stream, creating those that are missing.

        Raises:
            UnavailableError: the server did not answer.
        """
        for cohort in cohorts:
            await self._bind(stream_name(cohort), subjects_of(cohort), CONSUMER)

    async def subscribe_events(self, durable: str, subjects: str = EVENTS_SUBJECTS) -> None:
        """Bind to a durable consumer of the events, creating it from the oldest event on when it is missing.

        Raises:
            UnavailableError: the server did not answer.
        """
        await self._bind(EVENTS_STREAM, subjects, durable)

    async def _bind(self, stream: str, subjects: str, durable: str) -> None:
        with reaching("the consumer could not be bound"):
            self._subscriptions[stream] = await self._js.pull_subscribe(
                subjects,
                durable=durable,
                stream=stream,
                config=ConsumerConfig(
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=self._config.ack_wait_s,
                    max_deliver=-1,
                    max_ack_pending=self._config.ack_pending_max,
                ),
            )
        self._durables[stream] = durable

    async def fetch(self, cohort: int, *, count_max: int, wait_s: float) -> list[Msg]:
        """Return up to `count_max` messages of a cohort, or none when none came within `wait_s`.

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
                EVENTS_STREAM, self._durables[EVENTS_STREAM], timeout=_INFO_TIMEOUT_S
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
        subscription = self._subscriptions.get(stream)
        if subscription is None:
            message = "fetch before subscribe"
            raise LedgerError(message)
        self._check_connected()
        with reaching("fetching failed"):
            try:
                return await subscription.fetch(count_max, timeout=wait_s)
            except TimeoutError:
                # nats-py says "empty" in three ways: an empty list, its own TimeoutError (which
                # is asyncio's), and the builtin one.
                return []

    async def backlog(self) -> tuple[int, int]:
        """Return the (not yet delivered, delivered but not acknowledged) messages of its consumers.

        Raises:
            UnavailableError: the server did not answer.
        """
        pending_count = ack_pending_count = 0
        for stream, durable in self._durables.items():
            with reaching("the consumer's state is not known"):
                info = await self._js.consumer_info(stream, durable, timeout=_INFO_TIMEOUT_S)
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
        headers = {
            **(message.headers or {}),
            "Ledger-Reason": reason,
            "Ledger-Stream": message.metadata.stream,
            "Ledger-Sequence": str(message.metadata.sequence.stream),
        }
        await self.publish(
            subject=subject,
            payload=message.data,
            # With the stream's name: each cohort's numbers begin at one.
            message_id=f"dead:{message.metadata.stream}:{message.metadata.sequence.stream}",
            headers=headers,
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
        if not self._client.is_closed:
            await self._client.close()

    def _check_connected(self) -> None:
        # While it reconnects the client would buffer a request and answer it much later.
        if not self.connected:
            message = "no connection to NATS"
            raise UnavailableError(message, code="disconnected")

    async def _ensure_streams(self) -> None:
        for stream in declared_streams(self._config):
            with reaching("the stream could not be made"):
                try:
                    await self._js.add_stream(stream)
                except APIError as failure:
                    # A stream that exists with other limits belongs to its operator.
                    if failure.err_code != _STREAM_NAME_IN_USE:
                        raise
                    await self._ensure_replicas(str(stream.name))

    async def _ensure_replicas(self, stream: str) -> None:
        """Keep a stream that is there on as many servers as was asked for, and never on fewer than before."""
        wanted = self._config.stream_replicas_count
        if wanted <= 1:
            return
        there = (await self._js.stream_info(stream)).config
        if (there.num_replicas or 1) < wanted:
            await self._js.update_stream(replace(there, num_replicas=wanted))
