"""The relay: takes the outbox's rows to LEDGER_EVENTS, in order, and deletes what the stream has.

A relay that dies between publish and delete publishes again, which the stream recognises for two minutes: at least once. Several
posters have a relay each; a lock lets one of them read a cohort's outbox at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.posting import outbox
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.events import RelayMetrics
from sentinel.reference.ledger.wire.events import encode_event, event_subject
from sentinel.reference.ledger.wire.nats import Outgoing, Queue
from sentinel.reference.ledger.wire.postgres import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """Sizes and times of the relay.

    Attributes:
        batch_count_max: events published and deleted at a time.
        interval_s: how often it looks without being called, for rows of another poster that died.
        pause_s: between two rounds, so that a busy poster's rows go out together.
        watch_interval_s: how often depth and lag are read.
        rows_max: rows a cohort's outbox may hold; above it the oldest are dropped and counted.
    """

    batch_count_max: int = 500
    interval_s: float = 1.0
    pause_s: float = 0.02
    watch_interval_s: float = 5.0
    rows_max: int = 1_000_000

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        if min(self.batch_count_max, self.rows_max) < 1:
            message = "batch_count_max and rows_max must be at least 1"
            raise LedgerError(message)
        if min(self.interval_s, self.pause_s, self.watch_interval_s) <= 0:
            message = "interval_s, pause_s and watch_interval_s must be above 0"
            raise LedgerError(message)


class Relay:
    """Publishes events until it is cancelled; what it has not published it finds again."""

    def __init__(
        self,
        config: RelayConfig,
        *,
        cohorts: Iterable[int],
        queue: Queue,
        database: Database,
        telemetry: Telemetry,
    ) -> None:
        self._config = config
        self._cohorts = tuple(cohorts)
        self._queue = queue
        self._database = database
        self._telemetry = telemetry
        self._called = asyncio.Event()
        # Below this nothing can come any more, for positions are in the order of commits; to begin there spares the index's
        # search through what was deleted. Now and then it begins at the start all the same.
        self._done: dict[int, int] = {}
        self._failed = False
        self._waiting: tuple[int, float] | None = None
        self._unread: dict[str, float] = {}
        self._metrics = RelayMetrics(telemetry.meter, lambda: self._waiting, lambda: self._unread)

    def call(self) -> None:
        """Say that there is something to tell."""
        self._called.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        watcher = asyncio.create_task(self._watch(), name="relay-watch")
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._called.wait(), self._config.interval_s)
                self._called.clear()
                for cohort in self._cohorts:
                    await self._drain(cohort)
                await asyncio.sleep(self._config.pause_s)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

    async def round(self, cohort: int) -> int:
        """Publish the cohort's next events and delete their rows; returns how many rows there were.

        Raises:
            UnavailableError: queue or database is away; everything is tried again.
            PermanentError: the database refused.
        """
        async with self._database.acquire() as connection, connection.transaction():
            if not await outbox.try_alone(connection, cohort):
                return 0
            return await self._tell(connection, cohort)

    async def _tell(self, connection: Connection, cohort: int) -> int:
        rows = await outbox.read(
            connection,
            cohort,
            after=self._done.get(cohort, 0),
            count_max=self._config.batch_count_max,
        )
        if not rows:
            return 0
        events = [(row.event, row.trace_parent) for row in rows if row.event is not None]
        results = await self._queue.publish_in_order(
            [
                Outgoing(
                    subject=event_subject(cohort=cohort, tenant=event.tenant, kind=event.type),
                    payload=encode_event(event),
                    message_id=str(event.event_id),
                    trace_parent=trace_parent,
                )
                for event, trace_parent in events
            ]
        )
        # To lose this delete costs a publish that the stream recognises; to wait for the disk costs every round.
        await connection.execute("set local synchronous_commit = off")
        await outbox.delete(connection, cohort, [row.position for row in rows])
        self._done[cohort] = rows[-1].position
        stored = Counter(
            event.type
            for (event, _), result in zip(events, results, strict=True)
            if not result.duplicate
        )
        for kind, count in stored.items():
            self._metrics.published(kind, count)
        if repeated_count := len(events) - stored.total():
            self._metrics.repeated(repeated_count)
        return len(rows)

    async def _drain(self, cohort: int) -> None:
        try:
            full = self._config.batch_count_max
            while await self.round(cohort) == full:
                pass
        except (UnavailableError, PermanentError) as error:
            self._done.pop(cohort, None)
            if not self._failed:
                self._telemetry.warning(
                    Event.RELAY_FAILED, f"Events could not be published: {error}"
                )
            self._failed = True
            # The others wait for the same server.
            await asyncio.sleep(self._config.interval_s)
            return
        if self._failed:
            self._failed = False
            self._telemetry.info(Event.RELAY_RECOVERED, "Events are published again")

    async def _watch(self) -> None:
        began = time.monotonic()
        while True:
            try:
                async with self._database.acquire() as connection:
                    self._waiting = await outbox.waiting(connection, self._cohorts)
                    if self._waiting[0] > self._config.rows_max:
                        await self._trim(connection)
            except (UnavailableError, PermanentError):
                self._waiting = None  # not known is not zero
            try:
                # Told by whoever writes: a reader that is away tells nothing.
                self._unread = await self._queue.events_unread()
            except UnavailableError:
                self._unread = {}
            if time.monotonic() - began > 60.0:
                began = time.monotonic()
                self._done.clear()
            await asyncio.sleep(self._config.watch_interval_s)

    async def _trim(self, connection: Connection) -> None:
        """Drop the oldest of what is too much: a disk that is full would stop the ledger itself."""
        for cohort in self._cohorts:
            dropped_count = await outbox.trim(
                connection, cohort, rows_max=self._config.rows_max, count_max=10_000
            )
            if dropped_count:
                self._metrics.dropped(dropped_count)
                self._telemetry.error(
                    Event.RELAY_DROPPED,
                    "The outbox is full: the oldest events are dropped, and nobody is told of them",
                    cohort=cohort,
                    dropped_count=dropped_count,
                )
