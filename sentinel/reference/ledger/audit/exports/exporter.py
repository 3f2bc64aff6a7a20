"""The loop that makes exports: one after another, each once the audit has come past its period's end.

Several such processes may run: each takes what no other has. One that dies leaves its export to be begun anew when its
time is over. What fails by itself (the database is away) is tried again a few times; what would fail again is told to whoever asked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.exports import rows as exports
from sentinel.reference.ledger.audit.exports.making import Bounds, ExportFailedError, make
from sentinel.reference.ledger.audit.exports.rows import Due, Standing
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.exports import WORDS, ExportFailure
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.exports import ExporterSignals
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Connection, Database

_DAY_S: Final = 86_400.0
_TIDY_COUNT_MAX: Final = 100
_GIVE_BACK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterConfig:
    """What the process goes by.

    Attributes:
        postgres: the database, as the role that makes exports.
        witnessed: whether an export leads to a checkpoint that a witness signed.
        bounds: what one export may come to.
        look_interval_s: between looks for what is due.
        wait_s: how long an export waits for the audit before it fails.
        attempts_max: how often one is begun.
        keep_s: how long a file is kept.
        keep_count: how many files of a tenant.
        remember_s: how long it is remembered what was asked and what became of it.
        tidy_interval_s: between looks for what to let go.
    """

    postgres: PostgresConfig
    witnessed: bool = True
    bounds: Bounds = field(default_factory=Bounds)
    look_interval_s: float = 1.0
    retry_s: float = 5.0
    wait_s: float = 900.0
    attempts_max: int = 3
    keep_s: float = 7 * _DAY_S
    keep_count: int = 10
    remember_s: float = 90 * _DAY_S
    tidy_interval_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.attempts_max < 1 or self.keep_count < 1:
            message = "attempts_max and keep_count must be 1 at least"
            raise LedgerError(message)


class Exporter:
    """Makes exports until it is told to stop."""

    def __init__(
        self, config: ExporterConfig, *, database: Database, telemetry: Telemetry
    ) -> None:
        self._config = config
        self._database = database
        self._telemetry = telemetry
        self._standing = Standing()
        self._signals = ExporterSignals(telemetry, lambda: self._standing)
        telemetry.observe_pool("exports", database.occupancy)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what is being made then is left for the next process, at once."""
        tasks = [
            asyncio.create_task(self._work(), name="exports"),
            # By itself: what cannot be made, or takes hours, must not keep what is old.
            asyncio.create_task(self._keep_tidy(), name="exports-tidy"),
        ]
        waiting = asyncio.create_task(stop.wait(), name="exports-stop")
        try:
            await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, waiting):
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def _work(self) -> None:
        while True:
            try:
                more = await self._look()
            except LedgerError as error:
                more = False
                self._tell("Exports wait", error)
            if not more:
                await asyncio.sleep(self._config.look_interval_s)

    async def _look(self) -> bool:
        """Take the export that is due first, and make it if it can be made; returns whether there was one."""
        begun: ExportFailure | bool = False
        due: Due | None = None
        try:
            async with self._database.acquire() as connection, connection.transaction():
                due = await exports.take_due(connection)
                if due is not None:
                    begun = await self._begin(connection, due)
        except LedgerError as error:
            if due is None:
                raise
            # It would be the first again: the others come before its next turn.
            self._tell("An export cannot be begun and is tried again", error)
            self._signals.retried()
            async with self._database.acquire() as connection:
                await exports.wait(connection, due, self._config.retry_s)
            return True
        await self._count_standing()
        if due is None:
            return False
        if isinstance(begun, ExportFailure):
            self._signals.ended(due.age_s, begun.value)
            self._warn(due, begun, "")
        elif begun:
            await self._make(due)
        return True

    async def _begin(self, connection: Connection, due: Due) -> ExportFailure | bool:
        """Begin it; returns False when it has to wait, or why it has failed."""
        config = self._config
        if not await is_covered(connection, due, witnessed=config.witnessed):
            if due.age_s < config.wait_s:
                await exports.wait(connection, due, config.look_interval_s)
                return False
            await exports.fail(connection, due, ExportFailure.AUDIT_BEHIND)
            return ExportFailure.AUDIT_BEHIND
        if due.attempts >= config.attempts_max:
            await exports.fail(connection, due, ExportFailure.GIVEN_UP)
            return ExportFailure.GIVEN_UP
        await exports.begin(connection, due, config.bounds.lease_s)
        return True

    async def _make(self, due: Due) -> None:
        config = self._config
        with self._signals.making(due.trace_parent) as span:
            try:
                made = await make(
                    config.postgres,
                    due,
                    config.bounds,
                    witnessed=config.witnessed,
                    keep_s=config.keep_s,
                )
            except ExportFailedError as error:
                span.reason = error.reason.value
                async with self._database.acquire() as connection:
                    mine = await exports.fail(connection, due, error.reason, begun=True)
                if mine:
                    self._warn(due, error.reason, str(error))
                    self._signals.ended(due.age_s, error.reason.value)
            except (UnavailableError, PermanentError) as error:
                span.reason = error.code or "unavailable"
                self._signals.retried()
                self._telemetry.warning(
                    Event.EXPORTS_FAILED,
                    f"An export failed and is tried again: {error}",
                    error_code=error.code,
                    export_id=str(due.export_id),
                )
                await self._give_back(due, config.retry_s)
            except asyncio.CancelledError:
                with suppress(TimeoutError, UnavailableError, PermanentError):
                    await asyncio.wait_for(self._give_back(due, 0.0), timeout=_GIVE_BACK_S)
                raise
            else:
                if made is not None:
                    exported, bytes_count = made
                    span.entries_count = exported.entries_count
                    self._signals.ended(due.age_s, "")
                    self._telemetry.info(
                        Event.EXPORT_DONE,
                        "An export is done",
                        export_id=str(due.export_id),
                        entries_count=exported.entries_count,
                        bytes_count=bytes_count,
                    )

    async def _give_back(self, due: Due, seconds: float) -> None:
        async with self._database.acquire() as connection:
            await exports.wait(connection, due, seconds, begun=True)

    async def _count_standing(self) -> None:
        try:
            async with self._database.acquire() as connection:
                self._standing = await exports.standing(connection)
        except LedgerError as error:
            # What was begun a moment ago must not wait for it.
            self._tell("Exports cannot be counted", error)

    def _tell(self, what: str, error: LedgerError) -> None:
        self._telemetry.warning(
            Event.EXPORTS_FAILED, f"{what}: {error}", error_code=getattr(error, "code", "")
        )

    def _warn(self, due: Due, reason: ExportFailure, detail: str) -> None:
        self._telemetry.warning(
            Event.EXPORT_FAILED,
            f"An export failed: {detail or WORDS[reason]}",
            reason=reason.value,
            export_id=str(due.export_id),
        )

    async def _keep_tidy(self) -> None:
        """Let go what is old, a bounded number at a time; what fails of it leaves the rest alone."""
        config = self._config
        while True:
            for step in (self._expire, self._expire_surplus, self._clear_left, self._forget):
                try:
                    await step()
                except LedgerError as error:
                    self._tell("Old exports stay", error)
            await asyncio.sleep(max(config.tidy_interval_s, config.look_interval_s))

    async def _expire(self) -> None:
        async with self._database.acquire() as connection:
            aged = await exports.expire(connection, count_max=_TIDY_COUNT_MAX)
        self._signals.forgotten("age", aged)

    async def _expire_surplus(self) -> None:
        async with self._database.acquire() as connection:
            surplus = await exports.expire_surplus(
                connection, keep_count=self._config.keep_count, count_max=_TIDY_COUNT_MAX
            )
        self._signals.forgotten("number", surplus)

    async def _clear_left(self) -> None:
        """Remove the chunks of exports without a file, slice by slice: what has gone stays gone, whatever happens next."""
        async with self._database.acquire() as connection:
            keys = await exports.left(connection, count_max=_TIDY_COUNT_MAX)
        for key in keys:
            first: int | None = 0
            try:
                while first is not None:
                    async with self._database.acquire() as connection:
                        first = await exports.clear_slice(connection, key, first)
            except LedgerError as error:
                self._tell(f"What is left of export {key[1]} stays", error)

    async def _forget(self) -> None:
        async with self._database.acquire() as connection:
            await exports.forget(
                connection, keep_s=self._config.remember_s, count_max=_TIDY_COUNT_MAX
            )


async def is_covered(connection: Connection, due: Due, *, witnessed: bool) -> bool:
    """Say whether the trail has all that was committed before the period's end, below a checkpoint."""
    recorded_to = await rows.recorded_to(connection)
    if recorded_to is None or recorded_to < due.covered_lsn:
        return False
    last = await rows.last_checkpoint(connection, witnessed=witnessed)
    return last is not None and last.checkpoint.size >= await rows.size_before(
        connection, rows.us_of(due.end)
    )
