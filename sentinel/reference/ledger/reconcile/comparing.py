"""One cohort's comparisons, in one snapshot of its database and then, past the same place, of its replica."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.reconcile import audited, books, replica, taken, told
from sentinel.reference.ledger.reconcile.config import ReconcileConfig
from sentinel.reference.ledger.reconcile.marks import Mark
from sentinel.reference.ledger.reconcile.payouts import compare_payouts
from sentinel.reference.ledger.reconcile.place import EVER, NEVER, Place, place_of, since
from sentinel.reference.ledger.reconcile.report import Check, Result, Totals
from sentinel.reference.ledger.reconcile.rounds import Round, compare_slice
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Connection, session
from sentinel.reference.ledger.wire.streams import ReadUpTo, StreamState


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What NATS said before a snapshot; `away` says why it said nothing."""

    streams: dict[int, StreamState]
    read: ReadUpTo | None = None
    away: str = ""


class Comparer:
    """Compares cohorts, by what is known of them, and moves what is known.

    Attributes:
        replica_away: why the replica was not asked any more in this pass.
        owed: why a full pass is to be made sooner.
    """

    def __init__(
        self, config: ReconcileConfig, *, postgres: PostgresConfig, replica: PostgresConfig | None
    ) -> None:
        self._config = config
        self._postgres = postgres
        self._replica = replica
        self.replica_away = ""
        self.owed = ""

    async def slice(
        self, connection: Connection, current: Round, marks: Mapping[int, Mark], seen: Seen
    ) -> None:
        """Look at the next slice of a full pass."""
        trail = await audited.read_trail(connection)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            part = await current.next(connection)
            mark = marks[part.cohort]
            results = await compare_slice(connection, part, mark.taken_from)
            if part.accounts is None and part.times is None:
                results.append(await compare_payouts(connection, part.cohort, EVER))
                if seen.read is not None:
                    results.append(await told.compare_sums(connection, part.cohort))
            if part.times is not None:
                results.append(
                    await self._audit_slice(connection, part.cohort, mark, trail, part.times)
                )
            side, lsn = None, ""
            if self._replica is not None and part.scope != replica.Scope():
                side = await self._side(connection, part.cohort, part.scope)
                lsn = await replica.place(connection)
        if side is not None:
            against = await self._compare_replica(part.cohort, side, lsn, part.scope)
            if against.reason:
                current.owed = against.reason
            results.append(against)
        if part.times is not None and mark.audited.room_count <= 0:
            current.owed = current.owed or audited.waiting(mark.audited)
        current.add(results)
        current.passed(part)

    async def _audit_slice(
        self,
        connection: Connection,
        cohort: int,
        mark: Mark,
        trail: audited.Trail | None,
        times: audited.Times,
    ) -> Result:
        if trail is None:
            return audited.absent()
        count = await audited.look(connection, cohort, mark.audited, trail, times, place=None)
        return Result(check=Check.AUDIT, examined_count=count)

    async def since(self, cohort: int, mark: Mark, seen: Seen) -> tuple[list[Result], Totals]:
        """Compare what came since the mark, and move it."""
        stream = seen.streams.get(cohort)
        totals = Totals()
        side, lsn, scope = None, "", replica.Scope()
        async with self.session(self._postgres) as connection:
            trail = await audited.read_trail(connection)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                at = await connection.fetchval("select now()")
                place = None if stream is None else place_of(stream, at=at)
                if stream is None:
                    results = [taken.remembered_lost(cohort, mark.numbers, reason=seen.away)]
                else:
                    result, totals = await taken.compare_stream(
                        connection, cohort, stream, mark.numbers
                    )
                    results = [result]
                results += await self._books(connection, cohort, mark, place)
                results.append(await self._events(connection, cohort, mark, seen, place))
                results.append(await self._audit(connection, cohort, mark, trail, place, seen))
                if self._replica is None:
                    reason = "no replica was given"
                    results.append(Result(check=Check.REPLICA, absent=True, reason=reason))
                elif mark.replica is None:
                    mark.replica = place  # what was before is the full pass's
                else:
                    scope = await self._replica_scope(connection, cohort, mark, place)
                    side = await self._side(connection, cohort, scope)
                    lsn = await replica.place(connection)
        if side is not None:
            result = await self._compare_replica(cohort, side, lsn, scope)
            if not result.reason and scope.accounts is not None:
                mark.replica = place or mark.replica
                mark.replica_account = scope.accounts.end or books.NO_ACCOUNT
            results.append(result)
        return results, totals

    async def _books(
        self, connection: Connection, cohort: int, mark: Mark, place: Place | None
    ) -> list[Result]:
        results = await books.compare_whole(connection, cohort)
        if mark.books is not None:
            stretch = await books.next_stretch(
                connection, cohort, mark.account, self._config.accounts_count_max
            )
            began = await self._since(connection, cohort, mark, mark.books, place)
            results += await books.compare_moved(
                connection, cohort, began, NEVER, stretch, mark.taken_from
            )
            results.append(await compare_payouts(connection, cohort, began))
            mark.account = stretch.end or books.NO_ACCOUNT
        mark.books = place or mark.books
        return results

    async def _since(
        self, connection: Connection, cohort: int, mark: Mark, of: Place, place: Place | None
    ) -> datetime:
        return await since(
            connection,
            cohort,
            of,
            stream_created_at=None if place is None else place.stream_created_at,
            began=mark.numbers.began,
        )

    async def _events(
        self,
        connection: Connection,
        cohort: int,
        mark: Mark,
        seen: Seen,
        place: Place | None,
    ) -> Result:
        suspects = mark.suspects
        if place is None:
            return Result(check=Check.EVENTS, reason=seen.away)
        began = EVER
        if suspects.place is not None:
            began = await self._since(connection, cohort, mark, suspects.place, place)
        found = await told.uncounted(connection, cohort, min(began, suspects.oldest))
        result = told.judge(suspects, found, seen.read)
        if not result.reason:
            # Judged. What is uncounted now is looked at again once analytics is past this moment.
            whole = len(found) < told.SUSPECTS_COUNT_MAX
            mark.suspects = told.Suspects(place=place if whole else suspects.place, ids=found)
        return result

    async def judge_events(self, cohort: int, mark: Mark, read: ReadUpTo | None) -> Result:
        """Return which suspects analytics has passed over, if it is past them by now."""
        async with self.session(self._postgres) as connection:
            found = await told.uncounted(connection, cohort, EVER)
        result = told.judge(mark.suspects, found, read)
        if not result.reason:
            mark.suspects = replace(mark.suspects, ids={})
        return result

    async def judge_audit(self, cohort: int, mark: Mark) -> Result:
        """Return which rows the trail has not recorded, if it is past them by now."""
        async with self.session(self._postgres) as connection:
            trail = await audited.read_trail(connection)
            if trail is None:
                return audited.absent()
            return await audited.judge(connection, cohort, mark.audited, trail)

    async def _audit(
        self,
        connection: Connection,
        cohort: int,
        mark: Mark,
        trail: audited.Trail | None,
        place: Place | None,
        seen: Seen,
    ) -> Result:
        if trail is None:
            return audited.absent()
        result = await audited.judge(connection, cohort, mark.audited, trail)
        if mark.audited.waits:
            return result
        if place is None:
            return replace(result, reason=seen.away)
        if mark.audited.place is None:
            mark.audited.place = place  # what was before is the full pass's
            return result
        began = await self._since(connection, cohort, mark, mark.audited.place, place)
        count = await audited.look(
            connection, cohort, mark.audited, trail, (began, NEVER), place=place
        )
        # Where nothing was waited for and something is now, nothing is known of it yet.
        reason = result.reason
        if not reason and not result.examined_count:
            reason = audited.waiting(mark.audited)
        return replace(result, examined_count=result.examined_count + count, reason=reason)

    async def _replica_scope(
        self, connection: Connection, cohort: int, mark: Mark, place: Place | None
    ) -> replica.Scope:
        """Return what came since the replica was last compared; of more than a slice, the full pass has to look at it."""
        assert mark.replica is not None
        began = await self._since(connection, cohort, mark, mark.replica, place)
        stretch = await books.next_stretch(
            connection, cohort, mark.replica_account, self._config.accounts_count_max
        )
        times = (began, NEVER)
        count_max = self._config.transactions_count_max
        if await replica.count_up_to(connection, cohort, times, count_max) > count_max:
            self.owed = self.owed or "the replica was away for long"
            return replica.Scope(accounts=stretch)
        return replica.Scope(accounts=stretch, times=times)

    async def _side(
        self, connection: Connection, cohort: int, scope: replica.Scope
    ) -> replica.Side:
        # The replica may have come to have accounts in the midst of the stretch.
        return await replica.read_side(
            connection, cohort, scope, accounts_count_max=2 * self._config.accounts_count_max
        )

    async def _compare_replica(
        self, cohort: int, primary: replica.Side, lsn: str, scope: replica.Scope
    ) -> Result:
        """Return what the replica has otherwise, or why nothing is known of it."""
        assert self._replica is not None
        if self.replica_away:
            return Result(check=Check.REPLICA, reason=self.replica_away)
        try:
            async with (
                self.session(self._replica) as connection,
                connection.transaction(readonly=True),
            ):
                reason = await replica.replayed(
                    connection, lsn, wait_s=self._config.replica_wait_s
                )
                if reason:
                    return Result(check=Check.REPLICA, reason=reason)
                other = await self._side(connection, cohort, scope)
        except (UnavailableError, PermanentError) as error:
            # Asked once a pass: each question waits for as long as a connection may take.
            self.replica_away = f"the replica is away: {error}"
            return Result(check=Check.REPLICA, reason=self.replica_away)
        return replica.compare(cohort, primary, other)

    def session(self, config: PostgresConfig) -> AbstractAsyncContextManager[Connection]:
        """Open a session whose statements may take as long as a comparison may."""
        return session(
            config,
            application_name="reconcile",
            settings={"statement_timeout": str(int(self._config.statement_timeout_s * 1000))},
        )
