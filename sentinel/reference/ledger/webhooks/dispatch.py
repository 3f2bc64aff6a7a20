"""Attempts: what is due is taken, sent and noted, each endpoint by itself.

However slow an endpoint is, it holds up nobody else: each has its own number of attempts that may be under way, one while it
fails and none while it asked to be left alone, and the number of all is so high that only many slow endpoints together reach
it. Then who may begin is drawn by lot.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.webhooks.delivery import (
    TABLE,
    DeliveryState,
    Judgement,
    Outcome,
    Reason,
    Step,
    step_of,
)
from sentinel.reference.ledger.domain.webhooks.endpoint import (
    EndpointState,
    Health,
    Patience,
    after,
    happened,
)
from sentinel.reference.ledger.domain.webhooks.message import EventType, make_event
from sentinel.reference.ledger.domain.webhooks.schedule import Schedule
from sentinel.reference.ledger.telemetry import Event, Telemetry, WebhookSignals
from sentinel.reference.ledger.webhooks import rows
from sentinel.reference.ledger.webhooks.endpoints import (
    Endpoint,
    Key,
    Register,
    keep_health,
    lock_endpoint,
)
from sentinel.reference.ledger.webhooks.rows import Due, ToSend
from sentinel.reference.ledger.webhooks.sender import Attempt, Sender
from sentinel.reference.ledger.webhooks.signing import signature_headers
from sentinel.reference.ledger.wire.postgres import Connection, Database
from sentinel.reference.ledger.wire.webhook_secrets import Opener

_NOTE_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchConfig:
    """How many attempts, when, and for how long a lost one is waited for."""

    schedule: Schedule = field(default_factory=Schedule)
    patience: Patience = field(default_factory=Patience)
    endpoint_attempts_max: int = 8
    attempts_max: int = 1000
    poll_s: float = 0.5
    gather_s: float = 0.01
    # Longer than an attempt and its note together take at most.
    lost_after_s: float = 60.0
    note_patience_s: float = 30.0
    stop_patience_s: float = 1.5

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        if min(self.endpoint_attempts_max, self.attempts_max) < 1:
            message = "endpoint_attempts_max and attempts_max must be at least 1"
            raise LedgerError(message)
        if not 0 < self.note_patience_s < self.lost_after_s:
            message = "note_patience_s must be above 0 and below lost_after_s"
            raise LedgerError(message)


class Dispatcher:
    """Makes the attempts until told to stop."""

    def __init__(
        self,
        config: DispatchConfig,
        *,
        database: Database,
        register: Register,
        sender: Sender,
        opener: Opener,
        telemetry: Telemetry,
        signals: WebhookSignals,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._database = database
        self._register = register
        self._sender = sender
        self._opener = opener
        self._telemetry = telemetry
        self._signals = signals
        self._chance = chance
        self._wake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Due] = {}
        self._counts: Counter[Key] = Counter()

    @property
    def in_flight_count(self) -> int:
        """Attempts that are under way."""
        return len(self._under_way)

    def wake(self) -> None:
        """Have it look at once: something is due."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Make attempts until `stop`; then those under way have a moment to end."""
        while not stop.is_set():
            self._wake.clear()
            taken_count = 0
            with suppress(UnavailableError):  # the database is away: what is due stays so
                taken_count = await self._begin_due()
            if not taken_count:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=self._config.poll_s)
            # Attempts end one by one: a moment later several places are free for one question.
            await asyncio.sleep(self._config.gather_s)
        await self._end()

    async def _begin_due(self) -> int:
        free = self._free(time.time_ns())
        if not free:
            return 0
        async with self._database.acquire() as connection:
            many = await rows.take_due(connection, free, lost_after_s=self._config.lost_after_s)
        for due in many:
            task = asyncio.create_task(self._attempt(due), name="webhook-attempt")
            self._under_way[task] = due
            self._counts[due.key] += 1
            task.add_done_callback(self._ended)
        return len(many)

    def _free(self, now_ns: int) -> dict[Key, int]:
        room_count = self._config.attempts_max - len(self._under_way)
        endpoints = list(self._register.all())
        if len(endpoints) > room_count:
            random.shuffle(endpoints)
        free: dict[Key, int] = {}
        for one in endpoints:
            allowed = one.health.attempts_max(self._config.endpoint_attempts_max, now_ns)
            count = min(allowed - self._counts[one.key], room_count)
            if count > 0:
                free[one.key] = count
                room_count -= count
        return free

    def _ended(self, task: asyncio.Task[None]) -> None:
        due = self._under_way.pop(task)
        self._counts[due.key] -= 1
        if not self._counts[due.key]:
            del self._counts[due.key]
        self._wake.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._telemetry.error(
                Event.WEBHOOKS_FAILED,
                f"An attempt ended by a fault of the ledger's own: {type(failure).__name__}",
            )

    async def _attempt(self, due: Due) -> None:
        endpoint = self._register.find(due.key)
        if endpoint is None:
            return  # deleted meanwhile, and the delivery with it
        with self._signals.attempt(
            trace_parent=due.trace_parent,
            event_type=due.type,
            endpoint_id=str(endpoint.endpoint_id),
            url=endpoint.url,
            attempt=due.attempt,
        ) as span:
            attempt = await self._send(endpoint, due)
            span.outcome = attempt.judgement.outcome.value
            span.reason = attempt.judgement.reason.value
            span.status = attempt.status
            await self._note_patiently(endpoint, due, attempt)

    async def _send(self, endpoint: Endpoint, due: Due) -> Attempt:
        now_ns = time.time_ns()
        opened = [self._opener.open(sealed) for sealed in endpoint.sealed_secrets(now_ns)]
        secrets = [one for one in opened if one is not None]
        if opened[0] is None:
            self._telemetry.error(
                Event.WEBHOOKS_SECRET_LOST,
                "An endpoint's secret cannot be opened with the keys there are; its owner can rotate it",
                tenant=endpoint.tenant,
                endpoint_id=str(endpoint.endpoint_id),
            )
            lost = Judgement(outcome=Outcome.FAILED, reason=Reason.SECRET_LOST)
            return Attempt(judgement=lost)
        headers = signature_headers(
            message_id=str(due.event_id),
            timestamp_s=now_ns // 1_000_000_000,
            body=due.body,
            secrets=secrets,
        )
        return await self._sender.send(
            endpoint.url, body=due.body, headers=headers, tenant=endpoint.tenant
        )

    async def _note_patiently(self, endpoint: Endpoint, due: Due, attempt: Attempt) -> None:
        """Note it, again and again while the database is away; else the attempt counts as lost and is repeated."""
        deadline = time.monotonic() + self._config.note_patience_s
        while True:
            try:
                await self._note(endpoint, due, attempt)
            except UnavailableError as error:
                if time.monotonic() >= deadline:
                    self._telemetry.warning(
                        Event.WEBHOOKS_FAILED,
                        f"What became of an attempt could not be noted, so it will be repeated: {error}",
                        error_code=error.code,
                    )
                    return
                await asyncio.sleep(_NOTE_AGAIN_S)
            else:
                return

    async def _note(self, endpoint: Endpoint, due: Due, attempt: Attempt) -> None:
        now_ns = time.time_ns()
        outcome = attempt.judgement.outcome
        is_usual = outcome is Outcome.DELIVERED and endpoint.health.state is EndpointState.ACTIVE
        async with (
            self._database.acquire() as connection,
            # One statement needs no transaction around it: that would be two round trips for nothing.
            nullcontext() if is_usual else connection.transaction(),
        ):
            before = health = endpoint.health
            if not is_usual:
                # The endpoint first, as whoever deletes it does: the other way round the two would wait for each other.
                locked = await lock_endpoint(connection, due.key)
                if locked is None:
                    return
                before = locked.health
                what = happened(before, outcome, now_ns, self._config.patience)
                health = after(
                    before,
                    what,
                    now_ns,
                    self._config.patience,
                    retry_after_s=attempt.retry_after_s,
                )
                if health != before:
                    await keep_health(connection, due.key, health)
            wait_s = self._config.schedule.next_wait_s(
                due.attempt, chance=self._chance(), retry_after_s=attempt.retry_after_s
            )
            step = step_of(outcome, wait_s)
            state = TABLE[DeliveryState.PENDING, step]
            noted = await rows.note_attempt(
                connection,
                due,
                state=state,
                wait_s=wait_s or 0.0,
                status=attempt.status,
                reason=attempt.judgement.reason,
            )
            was_disabled = (
                health.state is EndpointState.DISABLED
                and before.state is not EndpointState.DISABLED
            )
            if was_disabled:
                await self._tell_the_tenant(connection, endpoint, health, now_ns)
        self._count(
            endpoint,
            due,
            step,
            health,
            noted=noted,
            was_disabled=was_disabled,
            is_gone=outcome is Outcome.GONE,
        )

    def _count(
        self,
        endpoint: Endpoint,
        due: Due,
        step: Step,
        health: Health,
        *,
        noted: bool,
        was_disabled: bool,
        is_gone: bool,
    ) -> None:
        endpoint.health = health
        # The register may have been read anew meanwhile.
        known = self._register.find(due.key)
        if known is not None:
            known.health = health
        if noted and step is not Step.TO_BE_REPEATED:
            if known is not None:
                known.waiting_count = max(known.waiting_count - 1, 0)
            if step is Step.SUCCEEDED:
                self._signals.delivered((time.time_ns() - due.created_ns) / 1e9)
            else:
                self._signals.dropped("gone" if is_gone else "used_up")
        if was_disabled and health.disabled_because is not None:
            self._signals.disabled(health.disabled_because.value)
            self._telemetry.error(
                Event.WEBHOOKS_ENDPOINT_DISABLED,
                "An endpoint was disabled and takes no events until its owner enables it",
                tenant=endpoint.tenant,
                endpoint_id=str(endpoint.endpoint_id),
                reason=health.disabled_because.value,
                failures_count=health.failures_count,
            )

    async def _tell_the_tenant(
        self, connection: Connection, endpoint: Endpoint, health: Health, now_ns: int
    ) -> None:
        """Put it on its way to the tenant's other endpoints, in the transaction that disables this one."""
        event = make_event(
            event_id=uuid.uuid4(),
            kind=EventType.DISABLED,
            tenant=endpoint.tenant,
            cohort=endpoint.cohort,
            occurred_at=datetime.fromtimestamp(now_ns / 1e9, tz=UTC),
            data={
                "endpoint_id": str(endpoint.endpoint_id),
                "url": endpoint.url,
                "reason": "" if health.disabled_because is None else health.disabled_because.value,
            },
        )
        others = [
            ToSend(endpoint=one, event=event)
            for one in self._register.of_tenant(endpoint.cohort, endpoint.tenant)
            if one.key != endpoint.key
            and EventType.DISABLED.value in one.event_types
            and one.health.state is not EndpointState.DISABLED
        ]
        if others:
            await rows.add_deliveries(connection, others)

    async def _end(self) -> None:
        """Let attempts under way end, cut off those that take longer, and give them back."""
        if not self._under_way:
            return
        tasks = dict(self._under_way)
        await asyncio.wait(tasks, timeout=self._config.stop_patience_s)
        cut_off = [due for task, due in tasks.items() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        with suppress(UnavailableError, PermanentError):
            async with self._database.acquire() as connection:
                for due in cut_off:
                    await rows.give_back(connection, due)
