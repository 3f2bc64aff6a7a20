"""From the stream of events to deliveries: each event is put on its way to every endpoint of its tenant that wants it.

An event is acknowledged once its deliveries are committed. A crash in between has it delivered again, and the deliveries' key,
endpoint and event, takes the second for the first. What an endpoint cannot be told, because too much waits for it or it is
disabled, is counted on the endpoint and in the metrics: nobody's queue grows without end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from nats.aio.msg import Msg

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.webhooks.endpoint import EndpointState
from sentinel.reference.ledger.domain.webhooks.message import EventType, WebhookEvent, make_event
from sentinel.reference.ledger.telemetry import Event, Telemetry, WebhookSignals
from sentinel.reference.ledger.webhooks import rows
from sentinel.reference.ledger.webhooks.endpoints import Key, Register
from sentinel.reference.ledger.webhooks.rows import ToSend
from sentinel.reference.ledger.wire.events import decode_event
from sentinel.reference.ledger.wire.nats import Gaps, Queue
from sentinel.reference.ledger.wire.postgres import Database

_TOLD: Final = frozenset(
    one.value
    for one in (EventType.POSTED, EventType.REJECTED, EventType.CONFLICT, EventType.FAILED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutConfig:
    """Sizes and times of the loop; `waiting_count_max` is how many deliveries may wait for one endpoint, roughly."""

    batch_count_max: int = 500
    fetch_wait_s: float = 1.0
    waiting_count_max: int = 10_000
    back_off_first_s: float = 0.2
    back_off_max_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        if min(self.batch_count_max, self.waiting_count_max) < 1:
            message = "batch_count_max and waiting_count_max must be at least 1"
            raise LedgerError(message)
        if not 0 < self.back_off_first_s <= self.back_off_max_s:
            message = "back_off_first_s must be above 0 and not above back_off_max_s"
            raise LedgerError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """An event of the stream, its position in the outbox and its place in a trace."""

    event: WebhookEvent
    position: int
    trace_parent: str | None


class Fanout:
    """Reads events until told to stop."""

    def __init__(
        self,
        config: FanoutConfig,
        *,
        queue: Queue,
        database: Database,
        register: Register,
        look: Callable[[], Awaitable[None]],
        on_added: Callable[[], None],
        telemetry: Telemetry,
        signals: WebhookSignals,
    ) -> None:
        self._config = config
        self._queue = queue
        self._gaps = Gaps(queue)
        self._database = database
        self._register = register
        self._look = look
        self._on_added = on_added
        self._telemetry = telemetry
        self._signals = signals

    async def run(self, stop: asyncio.Event) -> None:
        """Put events on their way until `stop`."""
        failures_count = 0
        while not stop.is_set():
            try:
                messages = await self._queue.fetch_events(
                    count_max=self._config.batch_count_max, wait_s=self._config.fetch_wait_s
                )
            except UnavailableError as error:
                self._telemetry.warning(Event.WEBHOOKS_FAILED, f"Fetching events failed: {error}")
                failures_count += 1
                await self._back_off(failures_count, stop)
                continue
            failures_count = 0
            if messages:
                await self._pass_on(messages, stop)

    async def _pass_on(self, messages: list[Msg], stop: asyncio.Event) -> None:
        """Put a batch on its way, again and again while the database is away, and acknowledge it."""
        if not await self._insist(partial(self._look_for_gaps, messages), messages, stop):
            return
        # Read after they were fetched: whoever was registered before something happened is told of it.
        if not await self._insist(self._look, messages, stop):
            return
        events = [
            told
            for message in messages
            # Most tenants have no endpoint: their events are not even read.
            if self._concerns_somebody(message.subject)
            and (told := self._read(message)) is not None
        ]
        to_send, dropped = self._choose(events)
        if (to_send or dropped) and not await self._insist(
            partial(self._add, to_send, dropped), messages, stop
        ):
            return
        with suppress(UnavailableError):  # they are delivered again, and found to be on their way
            await self._queue.acknowledge(messages)
        if to_send:
            self._on_added()

    async def _look_for_gaps(self, messages: Sequence[Msg]) -> None:
        """Count what the stream let go before it came here: nobody is told of it, and whose it was is not known."""
        if missed_count := await self._gaps.missed(messages):
            self._signals.missed(missed_count)
            self._telemetry.error(
                Event.WEBHOOKS_MISSED,
                "The stream let events go before they were put on their way, and no endpoint is told of them",
                events_count=missed_count,
            )

    async def _insist(
        self, act: Callable[[], Awaitable[None]], messages: list[Msg], stop: asyncio.Event
    ) -> bool:
        """Do it again and again while the database is away; False when told to stop meanwhile."""
        failures_count = 0
        while True:
            try:
                await act()
            except UnavailableError as error:
                failures_count += 1
                self._telemetry.warning(
                    Event.WEBHOOKS_FAILED,
                    f"Putting events on their way failed: {error}",
                    error_code=error.code,
                )
                if stop.is_set():
                    return False  # not acknowledged: they will be delivered again
                with suppress(UnavailableError):
                    await self._queue.keep(messages)
                await self._back_off(failures_count, stop)
            else:
                return True

    def _concerns_somebody(self, subject: str) -> bool:
        """Say whether the tenant in a subject, `ledger.events.c<cohort>.<tenant>.<type>`, has an endpoint."""
        parts = subject.split(".", 4)
        cohort = parts[2][1:] if len(parts) == 5 else ""
        if not (cohort.isascii() and cohort.isdigit()):
            return True  # somebody else's subject: what it says is read
        return bool(self._register.of_tenant(int(cohort), parts[3]))

    def _read(self, message: Msg) -> _Told | None:
        try:
            told = decode_event(message.data)
            if told.type not in _TOLD:
                return None
            event = make_event(
                event_id=told.event_id,
                kind=EventType(told.type),
                tenant=told.tenant,
                cohort=told.cohort,
                occurred_at=told.occurred_at,
                data=told.data,
            )
        except PermanentError as error:
            self._signals.dropped("unreadable")
            self._telemetry.error(
                Event.WEBHOOKS_EVENT_UNREADABLE,
                f"An event could not be read, and nobody is told of it: {error}",
                error_code=error.code,
                stream_sequence=message.metadata.sequence.stream,
            )
            return None
        trace_parent = (message.headers or {}).get("traceparent")
        return _Told(
            event=event,
            position=told.position,
            trace_parent=trace_parent if trace_parent and len(trace_parent) <= 64 else None,
        )

    def _choose(self, events: Sequence[_Told]) -> tuple[list[ToSend], Counter[Key]]:
        to_send: list[ToSend] = []
        dropped: Counter[Key] = Counter()
        for told in events:
            event = told.event
            for one in self._register.of_tenant(event.cohort, event.tenant):
                if event.type.value not in one.event_types:
                    continue
                if told.position <= one.registered_position:
                    # Not by the clock: that of whoever decided and that of the database differ.
                    self._signals.dropped("before_registration")
                    continue
                if one.health.state is EndpointState.DISABLED:
                    self._drop(dropped, one.key, "disabled")
                elif one.waiting_count >= self._config.waiting_count_max:
                    self._drop(dropped, one.key, "queue_full")
                else:
                    one.waiting_count += 1
                    to_send.append(
                        ToSend(endpoint=one, event=event, trace_parent=told.trace_parent)
                    )
        return to_send, dropped

    def _drop(self, dropped: Counter[Key], key: Key, reason: str) -> None:
        dropped[key] += 1
        self._signals.dropped(reason)
        self._telemetry.warning(
            Event.WEBHOOKS_DROPPED,
            "An endpoint is not told of an event",
            endpoint_id=str(key[1]),
            reason=reason,
        )

    async def _add(self, to_send: Sequence[ToSend], dropped: Counter[Key]) -> None:
        """Add them in one transaction; what the database refuses for good is found by halving, and dropped."""
        try:
            async with self._database.acquire() as connection, connection.transaction():
                if to_send:
                    await rows.add_deliveries(connection, to_send)
                if dropped:
                    await rows.count_dropped(connection, dropped)
        except PermanentError as error:
            if len(to_send) <= 1:
                # An endpoint that was deleted in this very moment, for one: it is owed nothing.
                self._signals.dropped("refused", len(to_send))
                self._telemetry.error(
                    Event.WEBHOOKS_FAILED,
                    f"The database refused a delivery, which is not made: {error}",
                    error_code=error.code,
                )
                return
            middle = len(to_send) // 2
            await self._add(to_send[:middle], dropped)
            await self._add(to_send[middle:], Counter())

    async def _back_off(self, failures_count: int, stop: asyncio.Event) -> None:
        doubled_s = self._config.back_off_first_s * 2 ** min(failures_count - 1, 10)
        await self._pause(min(doubled_s, self._config.back_off_max_s), stop)

    async def _pause(self, wait_s: float, stop: asyncio.Event) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=wait_s)
