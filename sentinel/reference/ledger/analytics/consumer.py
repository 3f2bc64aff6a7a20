"""The analytics consumer: told at least once, counts once.

One database transaction remembers which events it had not seen and adds those to their days; only then are they acknowledged. A
consumer that is killed in between is told again and finds all of them seen. Ids are remembered for longer than the stream keeps
an event; one that is older all the same can no longer be told apart, and is not counted but reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from nats.aio.msg import Msg

from sentinel.reference.ledger.analytics import rows
from sentinel.reference.ledger.analytics.counting import day_of, sums
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.events import AnalyticsMetrics
from sentinel.reference.ledger.wire.events import DECIDED, LedgerEvent, decode_event
from sentinel.reference.ledger.wire.nats import Gaps, Queue
from sentinel.reference.ledger.wire.postgres import Database

DURABLE: Final = "analytics"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsConfig:
    """Sizes and times of the consumer.

    Attributes:
        remembered_days: how long an event's id is remembered; longer than the stream keeps events.
        forget_count_max: ids forgotten in one step.
    """

    batch_count_max: int = 500
    fetch_wait_s: float = 1.0
    back_off_s: float = 1.0
    watch_interval_s: float = 5.0
    remembered_days: int = 8
    forget_interval_s: float = 60.0
    forget_count_max: int = 10_000

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        if min(self.batch_count_max, self.forget_count_max) < 1:
            message = "batch_count_max and forget_count_max must be at least 1"
            raise LedgerError(message)
        if self.remembered_days < 8:
            message = "remembered_days must be at least 8: the stream keeps events for 7 days"
            raise LedgerError(message)


class Analytics:
    """Counts events until it is told to stop."""

    def __init__(
        self, config: AnalyticsConfig, *, queue: Queue, database: Database, telemetry: Telemetry
    ) -> None:
        self._config = config
        self._queue = queue
        self._database = database
        self._telemetry = telemetry
        self._backlog: tuple[int, int] | None = None
        self._gaps = Gaps(queue)
        self._metrics = AnalyticsMetrics(telemetry.meter, lambda: self._backlog)

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set."""
        watchers = [
            asyncio.create_task(self._watch(), name="analytics-watch"),
            asyncio.create_task(self._forget(), name="analytics-forget"),
        ]
        try:
            while not stop.is_set():
                try:
                    messages = await self._queue.fetch_events(
                        count_max=self._config.batch_count_max, wait_s=self._config.fetch_wait_s
                    )
                    if messages:
                        with self._telemetry.process_events(
                            [one.headers or {} for one in messages]
                        ):
                            await self.count(messages)
                except (UnavailableError, PermanentError) as error:
                    # Not acknowledged: the same events come again.
                    self._telemetry.warning(
                        Event.ANALYTICS_FAILED, f"Events could not be counted: {error}"
                    )
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), self._config.back_off_s)
        finally:
            for task in watchers:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def count(self, messages: Sequence[Msg]) -> None:
        """Count what had not been counted, commit, and only then acknowledge.

        Raises:
            UnavailableError: queue or database is away.
            PermanentError: the database refused.
        """
        if missed_count := await self._gaps.missed(messages):
            self._metrics.missed(missed_count)
            self._telemetry.error(
                Event.ANALYTICS_MISSED,
                "The stream let events go before they were counted",
                events_count=missed_count,
            )
        readable: list[Msg] = []
        events: list[LedgerEvent] = []
        for message in messages:
            try:
                events.append(decode_event(message.data))
            except PermanentError as error:
                await self._queue.end(message)
                self._metrics.counted(error.code, 1)
                self._telemetry.error(
                    Event.ANALYTICS_UNREADABLE,
                    "A message is no event, and is not counted",
                    sequence=message.metadata.sequence.stream,
                    error_code=error.code,
                )
                continue
            readable.append(message)
        # What is no transaction is nothing to count.
        decided = [event for event in events if event.type in DECIDED]
        oldest = self._remembered_from()
        current = [event for event in decided if day_of(event) >= oldest]
        fresh: list[LedgerEvent] = []
        if current:
            async with self._database.acquire() as connection, connection.transaction():
                fresh = await rows.unseen(connection, current)
                if fresh:
                    await rows.add(connection, sums(fresh))
        self._metrics.counted("counted", len(fresh))
        self._metrics.counted("repeated", len(current) - len(fresh))
        self._metrics.counted("undecided", len(events) - len(decided))
        if expired_count := len(decided) - len(current):
            self._metrics.counted("expired", expired_count)
            self._telemetry.error(
                Event.ANALYTICS_EXPIRED,
                "Events are older than what is remembered, and are not counted",
                events_count=expired_count,
            )
        if readable:
            await self._queue.acknowledge(readable)

    def _remembered_from(self) -> date:
        return datetime.now(UTC).date() - timedelta(days=self._config.remembered_days)

    async def _watch(self) -> None:
        while True:
            try:
                self._backlog = await self._queue.backlog()
            except UnavailableError:
                self._backlog = None  # not known is not zero
            await asyncio.sleep(self._config.watch_interval_s)

    async def _forget(self) -> None:
        while True:
            with suppress(UnavailableError, PermanentError):
                await self.forget()
            await asyncio.sleep(self._config.forget_interval_s)

    async def forget(self) -> None:
        """Forget the ids of days that are over, in steps that each end soon.

        Raises:
            UnavailableError: the database is away.
            PermanentError: it refused.
        """
        full = self._config.forget_count_max
        forgotten_count = full
        while forgotten_count == full:
            async with self._database.acquire() as connection:
                forgotten_count = await rows.forget(
                    connection, before=self._remembered_from(), count_max=full
                )
