"""Passes over everything: the first of a process and one a day look at all of it, those between at what came since.

What an incremental pass finds stays found until a full pass has looked again. A full pass is made sooner, at most every
`recheck_s`, while anything drifts: so what was mended is said to agree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.reconcile import replica, told
from sentinel.reference.ledger.reconcile.books import (
    EVER,
    Mark,
    Scope,
    compare_books,
    compare_stream,
)
from sentinel.reference.ledger.reconcile.payouts import compare_payouts
from sentinel.reference.ledger.reconcile.report import (
    Check,
    Report,
    Result,
    Totals,
    merged,
    remembered,
)
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM
from sentinel.reference.ledger.wire.nats import operator, stream_name
from sentinel.reference.ledger.wire.postgres import Connection, session
from sentinel.reference.ledger.wire.streams import ReadUpTo, StreamState, read_up_to, stream_state

ANALYTICS: Final = "analytics"
# What is decided at a moment is committed within seconds of it: statements, locks and idle transactions have limits.
_OVERLAP: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileConfig:
    """Sizes and times of the passes.

    Attributes:
        full_every_s: from one full pass to the next.
        recheck_s: the same, while anything drifts.
        accounts_count_max: accounts of a cohort that an incremental pass looks at, beside those that moved.
        statement_timeout_s: of one comparison.
        replica_wait_s: how long a replica may take to come to the primary's place.
        analytics_wait_s: how long a single pass waits for analytics to come to where the books are.
    """

    cohorts: tuple[int, ...] = tuple(range(COHORTS_COUNT))
    full_every_s: float = 86_400.0
    recheck_s: float = 300.0
    accounts_count_max: int = 50_000
    statement_timeout_s: float = 600.0
    replica_wait_s: float = 5.0
    analytics_wait_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        if self.accounts_count_max < 1:
            message = "accounts_count_max must be at least 1"
            raise LedgerError(message)
        if min(self.full_every_s, self.recheck_s, self.statement_timeout_s) <= 0:
            message = "full_every_s, recheck_s and statement_timeout_s must be above 0"
            raise LedgerError(message)


class Reconciler:
    """Holds stream, database, analytics, audit trail and replica against each other."""

    def __init__(
        self,
        config: ReconcileConfig,
        *,
        nats: NatsConfig,
        postgres: PostgresConfig,
        replica: PostgresConfig | None = None,
    ) -> None:
        self._config = config
        self._nats = nats
        self._postgres = postgres
        self._replica = replica
        self._marks = {cohort: Mark() for cohort in config.cohorts}
        self._suspects = {cohort: told.Suspects() for cohort in config.cohorts}
        self._drifted: list[Result] = []
        self._full_at: float | None = None

    async def once(self) -> Report:
        """Look at everything, and wait a little for analytics to have read what is there.

        Raises:
            UnavailableError: a server is away.
            PermanentError: the database refused.
        """
        report = await self.run()
        deadline = time.monotonic() + self._config.analytics_wait_s
        while any(suspects.ids for suspects in self._suspects.values()):
            results = await self._judge_events()
            others = [one for one in report.results if one.check is not Check.EVENTS]
            earlier = [
                one for one in report.results if one.check is Check.EVENTS and one.drift_count
            ]
            report = replace(report, results=merged([*others, *earlier, *results]))
            if not any(result.reason for result in results) or time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.2)
        return report

    async def run(self) -> Report:
        """Make the next pass and return what is known after it.

        Raises:
            UnavailableError: a server is away; the same stretch is looked at again.
            PermanentError: the database refused.
        """
        full = self._is_full()
        began = time.monotonic()
        streams, read = await self._read_streams()
        results: list[Result] = []
        totals = Totals()
        for cohort in self._config.cohorts:
            found, sums = await self._cohort(cohort, streams[cohort], read, full=full)
            results += found
            totals += sums
        await self._note_suspects()
        known = merged(results)
        if full:
            self._full_at = began
        else:
            known = remembered(self._drifted, known)
        # A stream's lost numbers are remembered with the stream's own mark.
        self._drifted = [one for one in known if one.drift_count and one.check is not Check.STREAM]
        return Report(full=full, results=known, totals=totals)

    def _is_full(self) -> bool:
        if self._full_at is None:
            return True
        every_s = self._config.recheck_s if self._drifted else self._config.full_every_s
        return time.monotonic() - self._full_at >= every_s

    async def _read_streams(self) -> tuple[dict[int, StreamState], ReadUpTo | None]:
        async with operator(self._nats, name="reconcile") as (client, _):
            states = {
                cohort: await stream_state(client, stream_name(cohort))
                for cohort in self._config.cohorts
            }
            return states, await read_up_to(client, EVENTS_STREAM, ANALYTICS)

    async def _cohort(
        self, cohort: int, stream: StreamState, read: ReadUpTo | None, *, full: bool
    ) -> tuple[list[Result], Totals]:
        mark = self._marks[cohort]
        since = EVER if full or mark.since == EVER else mark.since - _OVERLAP
        scope = Scope(full=full, since=since, accounts_count_max=self._config.accounts_count_max)
        after = mark.account if not full else ("", "")
        async with (
            self._session(self._postgres) as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute("set transaction isolation level repeatable read")
            result, totals = await compare_stream(connection, cohort, stream, mark)
            results = [result, *await compare_books(connection, cohort, scope, mark)]
            results.append(await compare_payouts(connection, cohort, scope))
            results += await self._events(connection, cohort, read, full=full)
            results.append(await told.compare_audit(connection, cohort, since))
            side, until, lsn = None, None, ""
            if self._replica is not None:
                until = await replica.latest(connection, cohort)
                side = await self._side(connection, cohort, since, until, after)
                lsn = await replica.place(connection)
        results.append(await self._compare_replica(cohort, side, lsn, since, until, after))
        return results, totals

    async def _events(
        self, connection: Connection, cohort: int, read: ReadUpTo | None, *, full: bool
    ) -> list[Result]:
        suspects = self._suspects[cohort]
        found = await told.uncounted(connection, cohort, suspects.since)
        result = told.judge(suspects, found, read)
        results = [result]
        if full and read is not None:
            results.append(await told.compare_sums(connection, cohort))
        if not result.reason:
            # Judged. What is uncounted now is looked at again once analytics is past this moment.
            begun = [datetime.fromisoformat(one["posted_at"]) for one in found.values()]
            suspects.since = min(begun, default=self._marks[cohort].since - _OVERLAP)
            suspects.ids, suspects.up_to = found, 0
        return results

    async def _note_suspects(self) -> None:
        """Note, after the look, up to where analytics must read: what had left the outbox is on the stream by now."""
        fresh = [one for one in self._suspects.values() if one.ids and not one.up_to]
        if not fresh:
            return
        async with operator(self._nats, name="reconcile") as (client, _):
            last = (await stream_state(client, EVENTS_STREAM)).last
        for suspects in fresh:
            suspects.up_to = last

    async def _judge_events(self) -> Sequence[Result]:
        _, read = await self._read_streams()
        results = []
        for cohort in self._config.cohorts:
            async with self._session(self._postgres) as connection:
                suspects = self._suspects[cohort]
                found = await told.uncounted(connection, cohort, EVER)
                results.append(told.judge(suspects, found, read))
        return merged(results)

    async def _side(
        self,
        connection: Connection,
        cohort: int,
        since: datetime,
        until: datetime | None,
        after: tuple[str, str],
    ) -> replica.Side:
        return await replica.read_side(
            connection,
            cohort,
            since=since,
            until=until or since,
            after=after,
            accounts_count_max=self._config.accounts_count_max,
        )

    async def _compare_replica(
        self,
        cohort: int,
        primary: replica.Side | None,
        lsn: str,
        since: datetime,
        until: datetime | None,
        after: tuple[str, str],
    ) -> Result:
        if self._replica is None or primary is None:
            return Result(check=Check.REPLICA, absent=True, reason="no replica was given")
        async with (
            self._session(self._replica) as connection,
            connection.transaction(readonly=True),
        ):
            reason = await replica.replayed(connection, lsn, wait_s=self._config.replica_wait_s)
            if reason:
                return Result(check=Check.REPLICA, reason=reason)
            other = await self._side(connection, cohort, since, until, after)
        return replica.compare(cohort, primary, other)

    def _session(self, config: PostgresConfig) -> AbstractAsyncContextManager[Connection]:
        return session(
            config,
            application_name="reconcile",
            settings={"statement_timeout": str(int(self._config.statement_timeout_s * 1000))},
        )
