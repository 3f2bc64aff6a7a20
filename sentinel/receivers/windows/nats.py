"""Parts of windows from a JetStream stream: pulled in order, and acknowledged once they are on the scorer's disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sentinel.errors import InputError, RetryableError
from sentinel.receivers.windows.http import TakePart
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.nats.stream import StreamConnection
from sentinel.runtime.tasks import TaskGroup

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js.client import JetStreamContext

DURABLE = "sentinel-scorer"
_BATCH = 64
_FETCH_S = 5.0
_ACK_WAIT_S = 30.0
_TRY_AGAIN_S = 0.5


class WindowsNatsReceiver:
    """Pulls parts, one after the other, and hands them on."""

    def __init__(
        self, config: NatsStreamConfig, take: TakePart, surroundings: Surroundings
    ) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used."""
        self._config = config
        self._take = take
        self._surroundings = surroundings
        self._connection = StreamConnection(config, name="sentinel-score")
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._running = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.windows_nats"

    @property
    def port(self) -> int:
        """It listens on none."""
        return 0

    async def start(self) -> None:
        """Pull from now on; a server that is away is waited for."""
        self._running = True
        self._health.degraded(f"Connecting to {self._connection.place}")
        self._tasks.spawn("pull", self._pull_for_ever)

    async def stop(self) -> None:
        """Pull no more; what was not acknowledged comes again to the next scorer."""
        self._running = False
        await self._tasks.close()
        await self._connection.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._running and self._tasks.failing:
            self._health.failing(f"Crashed and restarting: {', '.join(self._tasks.failing)}")
        return self._health.current

    async def _pull_for_ever(self) -> None:
        backoff = Backoff(first_s=0.25, limit_s=self._config.reconnect_max)
        failures = 0
        while True:
            try:
                context = await self._connection.context()
                failures = 0
                await self._pull(context)
            except Exception as error:  # noqa: BLE001  # the library raises what it meets; nothing of it may end this
                failures += 1
                self._flow.error(FlowStage.CONNECT, FlowReason.UNREACHABLE)
                self._health.degraded(
                    f"No windows from {self._connection.place}: {self._connection.words(error)}"
                )
                await self._connection.close()
            await self._surroundings.clock.sleep(backoff.wait_s(max(1, failures)))

    async def _pull(self, context: JetStreamContext) -> None:
        from nats.errors import TimeoutError as NatsTimeoutError
        from nats.js.api import AckPolicy, ConsumerConfig

        subscription = await context.pull_subscribe(
            f"{self._config.subject}.>",
            durable=DURABLE,
            stream=self._config.stream,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
                # No more is on its way than one pull, so that the order is kept when some of it comes again.
                max_ack_pending=_BATCH,
            ),
        )
        self._health.ok(f"Taking windows from {self._connection.place}")
        while True:
            try:
                messages = await subscription.fetch(_BATCH, timeout=_FETCH_S)
            except (NatsTimeoutError, TimeoutError):
                # Nothing came; a dead connection is found by its pings, and by the next request.
                await self._connection.context()
                continue
            for message in messages:
                await self._hand_on(message)

    async def _hand_on(self, message: Msg) -> None:
        self._flow.received(1, signal="windows")
        while True:
            try:
                await self._take(message.data)
            except RetryableError as error:
                # The server must not think that we are gone; the parts behind this one wait as well, in their order.
                self._flow.error(FlowStage.TAKE, reason_of(error))
                self._health.degraded(f"Windows are not taken now: {error}")
                await message.in_progress()
                await asyncio.sleep(max(_TRY_AGAIN_S, min(error.retry_after_s, 5.0)))
                continue
            except InputError as error:
                self._flow.error(FlowStage.DECODE, reason_of(error))
                self._flow.dropped(reason_of(error))
                self._surroundings.logger.warning(
                    "A part of a window was refused", extra={"reason": str(error)}
                )
                await message.term()
                return
            self._flow.sent(1, signal="windows")
            self._health.ok(f"Taking windows from {self._connection.place}")
            await message.ack()
            return
