"""Streams and consumers as they must stand, made when the process starts and again whenever they turn out to be gone.

A server may come back without its store: on another node, or from a folder that was emptied. What waited there is lost, and that
is told; what comes from then on is not to be lost too, nor to wait for somebody who starts every process again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import APIError, NotFoundError

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats.declared import declared_streams
from sentinel.reference.ledger.wire.nats.pull import Pull
from sentinel.reference.ledger.wire.nats.reaching import reaching

_STREAM_NAME_IN_USE: Final = 10058
_PAUSE_FIRST_S: Final = 0.5
_PAUSE_MAX_S: Final = 5.0


class Standing:
    """One connection's streams and consumers.

    Attributes:
        missing: why nothing can be published just now, "" while nothing is known to be missing.
        pulls: what is read of the consumers that were bound, by stream.
        durables: their names, by stream.
    """

    def __init__(
        self,
        config: NatsConfig,
        *,
        client: Client,
        stream: JetStreamContext,
        on_change: Callable[[str, str], None],
    ) -> None:
        self._config = config
        self._client = client
        self._js = stream
        self._on_change = on_change
        self._subjects: dict[str, str] = {}
        self._looking: asyncio.Task[None] | None = None
        self.missing = ""
        self.pulls: dict[str, Pull] = {}
        self.durables: dict[str, str] = {}

    async def ensure_streams(self) -> list[str]:
        """See to it that the streams are there; returns which were not.

        Raises:
            UnavailableError: the server did not answer, or refused.
        """
        made: list[str] = []
        for stream in declared_streams(self._config):
            name = str(stream.name)
            with reaching("the stream could not be made"):
                try:
                    # Asked first: to make it again says nothing of whether it was there.
                    there = (await self._js.stream_info(name)).config
                except NotFoundError:
                    try:
                        await self._js.add_stream(stream)
                    except APIError as failure:
                        # Somebody else was faster; and one with other limits belongs to its operator.
                        if failure.err_code != _STREAM_NAME_IN_USE:
                            raise
                    made.append(name)
                else:
                    await self._ensure_replicas(there)
        return made

    async def _ensure_replicas(self, there: StreamConfig) -> None:
        """Keep a stream that is there on as many servers as was asked for, and never on fewer than before."""
        wanted = self._config.stream_replicas_count
        if wanted > 1 and (there.num_replicas or 1) < wanted:
            await self._js.update_stream(replace(there, num_replicas=wanted))

    async def bind(self, stream: str, subjects: str, durable: str) -> None:
        """Read the stream by this consumer, which is made when it is missing.

        Raises:
            UnavailableError: the server did not answer, or refused.
        """
        with reaching("the consumer could not be bound"):
            await self._ensure_consumer(stream, subjects, durable)
            if (before := self.pulls.pop(stream, None)) is not None:
                await before.stop()
            pull = Pull(self._client, stream=stream, durable=durable)
            await pull.start()
        self.pulls[stream] = pull
        self._subjects[stream], self.durables[stream] = subjects, durable

    def look(self) -> None:
        """Look, in the background, whether everything is there, and make what is not; goes on until it is."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._restore(), name="nats-standing")

    def lost(self, what: str) -> None:
        """Note that something is missing, and have it made again."""
        self.missing = what
        self.look()

    async def close(self) -> None:
        """Look no longer."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _restore(self) -> None:
        pause_s = _PAUSE_FIRST_S
        while not self._client.is_closed:
            if self._client.is_connected:
                try:
                    made = await self._make_all()
                except UnavailableError as error:
                    self.missing = str(error)
                else:
                    self.missing = ""
                    if made:
                        self._on_change("restored", ", ".join(made))
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _make_all(self) -> list[str]:
        made = await self.ensure_streams()
        with reaching("the consumer could not be bound"):
            for stream, durable in self.durables.items():
                if await self._ensure_consumer(stream, self._subjects[stream], durable):
                    made.append(f"{stream}/{durable}")
        return made

    async def _ensure_consumer(self, stream: str, subjects: str, durable: str) -> bool:
        """Return whether it had to be made."""
        try:
            await self._js.consumer_info(stream, durable)
        except NotFoundError:
            await self._js.add_consumer(
                stream,
                ConsumerConfig(
                    name=durable,
                    durable_name=durable,
                    filter_subject=subjects,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=self._config.ack_wait_s,
                    max_deliver=-1,
                    max_ack_pending=self._config.ack_pending_max,
                ),
            )
            return True
        return False
