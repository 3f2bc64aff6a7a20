"""A cohort's books against themselves and against their stream, in one snapshot of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from sentinel.reference.ledger.reconcile import numbers, statements
from sentinel.reference.ledger.reconcile.report import Check, Result, Totals
from sentinel.reference.ledger.wire.postgres import Connection
from sentinel.reference.ledger.wire.streams import StreamState

EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Mark:
    """How far a cohort has been looked at by earlier passes.

    Attributes:
        since: transactions that were decided before it have been compared.
        account: the last account that was looked at; the next stretch begins after it.
        stream_created_at: the stream that `number` and `lost` are of.
        number: every number up to it has left the stream and was found, or is in `lost`.
        lost: numbers that left the stream and that nobody took.
    """

    since: datetime = EVER
    account: tuple[str, str] = ("", "")
    stream_created_at: datetime | None = None
    number: int = 0
    lost: list[numbers.Run] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a pass looks at: everything, or what came since `since` and a stretch of accounts."""

    full: bool
    since: datetime
    accounts_count_max: int


async def compare_books(
    connection: Connection, cohort: int, scope: Scope, mark: Mark
) -> list[Result]:
    """Return what does not agree within the cohort's tables, and move the mark on.

    The connection is in a transaction that sees one moment.
    """
    since = scope.since
    results = [
        await _intake(connection, cohort, since),
        await _entries(connection, cohort, scope),
        await _chain(connection, cohort, scope),
        await _balance(connection, cohort, scope, mark),
        await _result(
            Check.PENDING, connection, statements.PENDING, statements.HOLDS_COUNT, cohort
        ),
        await _result(
            Check.ZERO_SUM, connection, statements.ZERO_SUM, statements.CURRENCIES_COUNT, cohort
        ),
    ]
    latest = await connection.fetchval(statements.LATEST, cohort, since)
    if latest is not None:
        mark.since = latest
    return results


async def compare_stream(
    connection: Connection, cohort: int, before: StreamState, mark: Mark
) -> tuple[Result, Totals]:
    """Return which numbers left the stream and were taken by nobody; the stream was read before this snapshot."""
    if mark.stream_created_at != before.created_at:
        mark.stream_created_at, mark.number, mark.lost = before.created_at, 0, []
        kept_since = await connection.fetchval(statements.INTAKE_SINCE)
        if before.created_at < kept_since:
            # Older than the control totals: what it gave out before the first of them, none of them names.
            row = await connection.fetchrow(statements.TAKEN, cohort, 0, before.created_at)
            mark.number = (row["lowest"] or before.last + 1) - 1
    stretch = (cohort, mark.number, before.created_at)
    taken = await connection.fetchrow(statements.TAKEN, *stretch)
    runs: list[numbers.Run] = []
    if taken["highest"] is not None:
        # All that was taken, but for the gaps: so few rows come over, however much was taken.
        gaps = await connection.fetch(statements.GAPS, *stretch)
        runs = _between(
            [(row["first"], row["last"]) for row in gaps],
            lowest=taken["lowest"],
            highest=taken["highest"],
        )
    untaken = numbers.untaken(after=mark.number, taken=runs, last=before.last)
    lost = numbers.lost(untaken, before)
    done = before.first - 1
    known = [run for run in lost if run[1] <= done]
    all_lost = [*mark.lost, *lost]
    totals = await _totals(connection, cohort, before, untaken=untaken, lost=all_lost)
    if done > mark.number:
        mark.number = done
        mark.lost = [*mark.lost, *known]
    findings = [
        {"cohort": cohort, "first_sequence": first, "last_sequence": last, "taken_by": None}
        for first, last in all_lost
    ]
    return (
        Result(
            check=Check.STREAM,
            drift_count=numbers.count(all_lost),
            examined_count=before.last,
            findings=tuple(findings[:10]),
        ),
        totals,
    )


async def _totals(
    connection: Connection,
    cohort: int,
    stream: StreamState,
    *,
    untaken: Sequence[numbers.Run],
    lost: Sequence[numbers.Run],
) -> Totals:
    row = await connection.fetchrow(statements.TAKEN, cohort, 0, stream.created_at)
    lost_count = numbers.count(lost)
    new_lost = numbers.count(numbers.lost(untaken, stream))
    in_flight = numbers.count(untaken) - new_lost
    return Totals(
        accepted_messages=stream.last,
        decided_messages=stream.last - in_flight - lost_count - row["dead"],
        dead_messages=row["dead"],
        in_flight_messages=in_flight,
        lost_messages=lost_count,
        posted_requests=row["posted"],
        rejected_requests=row["rejected"],
        repeated_requests=row["repeated"],
    )


def _between(gaps: Sequence[numbers.Run], *, lowest: int, highest: int) -> list[numbers.Run]:
    """Return the runs that the gaps leave of `lowest` to `highest`."""
    runs, reached = [], lowest
    for first, last in gaps:
        runs.append((reached, first - 1))
        reached = last + 1
    return [*runs, (reached, highest)]


async def _intake(connection: Connection, cohort: int, since: datetime) -> Result:
    begun = await connection.fetchval(statements.INTAKE_FROM, cohort)
    if begun is None:
        return Result(check=Check.INTAKE)
    since = max(since, begun)
    return await _result(
        Check.INTAKE, connection, statements.INTAKE, statements.TRANSACTIONS_COUNT, cohort, since
    )


async def _entries(connection: Connection, cohort: int, scope: Scope) -> Result:
    result = await _result(
        Check.ENTRIES,
        connection,
        statements.ENTRIES,
        statements.TRANSACTIONS_COUNT,
        cohort,
        scope.since,
    )
    if not scope.full:
        return result
    orphans = await _result(Check.ENTRIES, connection, statements.ORPHANS, None, cohort)
    return Result(
        check=Check.ENTRIES,
        drift_count=result.drift_count + orphans.drift_count,
        drift_value_minor=result.drift_value_minor + orphans.drift_value_minor,
        examined_count=result.examined_count,
        findings=(*result.findings, *orphans.findings)[:10],
    )


async def _chain(connection: Connection, cohort: int, scope: Scope) -> Result:
    if scope.full:
        return await _result(
            Check.CHAIN, connection, statements.CHAIN_WHOLE, statements.ENTRIES_COUNT, cohort
        )
    return await _result(
        Check.CHAIN,
        connection,
        statements.CHAIN,
        statements.TRANSACTIONS_COUNT,
        cohort,
        scope.since,
    )


async def _balance(connection: Connection, cohort: int, scope: Scope, mark: Mark) -> Result:
    if scope.full:
        return await _result(
            Check.BALANCE, connection, statements.BALANCE_WHOLE, statements.ACCOUNTS_COUNT, cohort
        )
    after = mark.account
    row = await connection.fetchrow(
        statements.ACCOUNTS_END, cohort, *after, scope.accounts_count_max
    )
    mark.account = (row["tenant"], row["account_id"]) if row is not None else ("", "")
    end = mark.account if row is not None else (None, None)
    return await _result(
        Check.BALANCE,
        connection,
        statements.BALANCE,
        None,
        cohort,
        *after,
        *end,
        scope.since,
    )


async def _result(
    check: Check,
    connection: Connection,
    select: str,
    count: str | None,
    cohort: int,
    *args: object,
) -> Result:
    rows = await connection.fetch(statements.compared(select), cohort, *args)
    examined = await connection.fetchval(count, cohort, *args) if count else 0
    return Result(
        check=check,
        drift_count=int(rows[0]["all_number"]) if rows else 0,
        drift_value_minor=int(rows[0]["all_value"] or 0) if rows else 0,
        examined_count=int(examined),
        findings=tuple(_finding(cohort, row) for row in rows),
    )


def _finding(cohort: int, row: Any) -> dict[str, Any]:
    return {
        "cohort": cohort,
        **orjson.loads(row["detail"]),
        "drift_value_minor": int(row["value"] or 0),
    }
