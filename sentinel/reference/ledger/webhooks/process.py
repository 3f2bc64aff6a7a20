"""The whole of it: looks at the register, events in, attempts out, and housekeeping."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
from sentinel.reference.ledger.domain.webhooks.delivery import DeliveryState
from sentinel.reference.ledger.domain.webhooks.endpoint import EndpointState
from sentinel.reference.ledger.telemetry import Event, Telemetry, WebhookSignals
from sentinel.reference.ledger.telemetry.webhooks import Standing
from sentinel.reference.ledger.webhooks import rows
from sentinel.reference.ledger.webhooks.dispatch import DispatchConfig, Dispatcher
from sentinel.reference.ledger.webhooks.endpoints import Register, read_endpoints, whose_fail
from sentinel.reference.ledger.webhooks.fanout import Fanout, FanoutConfig
from sentinel.reference.ledger.webhooks.sender import Sender, SenderConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.webhook_secrets import Opener

DURABLE: Final = "webhooks"
# Over arrays and partitions the planner would read whole tables.
BY_INDEX: Final = {"enable_hashjoin": "off", "enable_mergejoin": "off"}
_ROUNDS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksConfig:
    """Everything that can be set, with its default."""

    policy: AddressPolicy = field(default_factory=AddressPolicy)
    sender: SenderConfig = field(default_factory=SenderConfig)
    fanout: FanoutConfig = field(default_factory=FanoutConfig)
    dispatch: DispatchConfig = field(default_factory=DispatchConfig)
    look_interval_s: float = 1.0
    look_pause_s: float = 0.05
    count_interval_s: float = 5.0
    tidy_interval_s: float = 60.0
    tidy_count_max: int = 5000
    keep_pending_s: float = 7 * 86_400.0
    keep_delivered_s: float = 86_400.0
    keep_failed_s: float = 7 * 86_400.0
    keep_count: int = 10_000


class Webhooks:
    """Sends webhooks until told to stop."""

    def __init__(
        self,
        config: WebhooksConfig,
        *,
        queue: Queue,
        database: Database,
        opener: Opener,
        telemetry: Telemetry,
        sender: Sender | None = None,
    ) -> None:
        self._config = config
        self._queue = queue
        self._database = database
        self._telemetry = telemetry
        self._register = Register()
        self._looked_s = 0.0
        self._backlog: tuple[int, int] | None = None
        self._sender = sender or Sender(config.sender, config.policy)
        self.signals = WebhookSignals(telemetry)
        self._dispatcher = Dispatcher(
            config.dispatch,
            database=database,
            register=self._register,
            sender=self._sender,
            opener=opener,
            telemetry=telemetry,
            signals=self.signals,
        )
        self._fanout = Fanout(
            config.fanout,
            queue=queue,
            database=database,
            register=self._register,
            look=self._look_again,
            on_added=self._dispatcher.wake,
            telemetry=telemetry,
            signals=self.signals,
        )
        self.signals.observe(self._standing)
        telemetry.observe_pool("webhooks", database.occupancy)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; attempts under way have a moment to end."""
        await self._sender.start()
        loops = [
            asyncio.create_task(
                self._repeat(act, every_s=every_s, what=what), name=f"webhooks-{what}"
            )
            for act, every_s, what in (
                (self._look, self._config.look_interval_s, "look"),
                (self._count, self._config.count_interval_s, "count"),
                (self._tidy, self._config.tidy_interval_s, "tidy"),
            )
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._fanout.run(stop), name="webhooks-fanout")
                group.create_task(self._dispatcher.run(stop), name="webhooks-dispatch")
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._sender.stop()

    async def _repeat(
        self, act: Callable[[], Awaitable[None]], *, every_s: float, what: str
    ) -> None:
        while True:
            try:
                await act()
            except (UnavailableError, PermanentError) as error:
                self._telemetry.warning(
                    Event.WEBHOOKS_FAILED,
                    f"Part of the work ({what}) failed and is done again: {error}",
                    error_code=error.code,
                )
            await asyncio.sleep(every_s)

    async def _look(self) -> None:
        """Read the register anew."""
        began_s = time.monotonic()
        async with self._database.acquire() as connection:
            self._register.replace(await read_endpoints(connection))
        self._looked_s = began_s

    async def _look_again(self) -> None:
        """Read the register as it is from now on, not more often than makes sense."""
        wait_s = self._looked_s + self._config.look_pause_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await self._look()

    async def _count(self) -> None:
        """Count what waits, on both sides."""
        with suppress(UnavailableError):
            self._backlog = None  # not known is not zero
            self._backlog = await self._queue.backlog()
        keys = [one.key for one in self._register.all()]
        if not keys:
            return
        async with self._database.acquire() as connection:
            waiting = await rows.count_waiting(
                connection, keys, count_max=self._config.fanout.waiting_count_max
            )
        for key, (count, oldest_ns) in waiting.items():
            one = self._register.find(key)
            if one is not None:
                one.waiting_count, one.oldest_ns = count, oldest_ns

    async def _tidy(self) -> None:
        """Forget what is old, a bounded number in each of a bounded number of rounds."""
        config = self._config
        async with self._database.acquire() as connection:
            await rows.forget_secrets(connection)
        await self._rounds(
            "expired",
            lambda connection: rows.expire(
                connection, keep_pending_s=config.keep_pending_s, count_max=config.tidy_count_max
            ),
        )
        for state, keep_s in (
            (DeliveryState.DELIVERED, config.keep_delivered_s),
            (DeliveryState.FAILED, config.keep_failed_s),
        ):
            await self._rounds(
                "age",
                lambda connection, state=state, keep_s=keep_s: rows.forget(
                    connection, state, keep_s=keep_s, count_max=config.tidy_count_max
                ),
            )
        for one in self._register.all():
            await self._rounds(
                "number",
                lambda connection, key=one.key: rows.forget_surplus(
                    connection,
                    key,
                    keep_count=config.keep_count,
                    count_max=config.tidy_count_max,
                ),
            )

    async def _rounds(self, reason: str, act: Callable[..., Awaitable[int]]) -> None:
        for _ in range(_ROUNDS_MAX):
            async with self._database.acquire() as connection:
                count = await act(connection)
            if reason == "expired":
                self.signals.dropped(reason, count)
            else:
                self.signals.forgotten(reason, count)
            if count < self._config.tidy_count_max:
                return

    def _standing(self) -> Standing:
        endpoints = self._register.all()
        counts = Counter(one.health.state for one in endpoints)
        fails = whose_fail(endpoints)
        now_ns = time.time_ns()
        oldest_ns = min(
            (one.oldest_ns for one in endpoints if one.oldest_ns is not None), default=now_ns
        )
        return Standing(
            waiting_count=sum(one.waiting_count for one in endpoints),
            oldest_s=max((now_ns - oldest_ns) / 1e9, 0.0),
            in_flight_count=self._dispatcher.in_flight_count,
            lookups_count=self._sender.lookups_count,
            events_pending_count=None if self._backlog is None else sum(self._backlog),
            endpoint_counts={state.value: counts[state] for state in EndpointState},
            tenants_count=fails.tenants_count,
            tenants_failing_count=fails.tenants_failing_count,
            receivers_failing_count=fails.receivers_failing_count,
        )
