"""A cohort's books against themselves: what moved, a slice of time, a slice of accounts, and what is always looked at whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from sentinel.reference.ledger.reconcile import statements
from sentinel.reference.ledger.reconcile.place import NEVER
from sentinel.reference.ledger.reconcile.report import Check, Result
from sentinel.reference.ledger.wire.postgres import Connection

AccountKey = tuple[str, str]
NO_ACCOUNT: AccountKey = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Accounts behind `after`, up to `end`, which is one of them; to the last that there is without it."""

    after: AccountKey = NO_ACCOUNT
    end: AccountKey | None = None

    @property
    def args(self) -> tuple[str | None, ...]:
        """As the statements take it."""
        return (*self.after, *(self.end or (None, None)))


@dataclass(slots=True)
class TakenFrom:
    """From when on there are control totals.

    To find the first of them all are read. None is ever taken away, so it is looked for once; after that only what has an earlier
    moment is, of a poster whose clock is behind.

    Attributes:
        at: the earliest moment of those that were seen; None until there is one.
    """

    at: datetime | None = None

    async def read(self, connection: Connection, cohort: int, since: datetime) -> datetime | None:
        """Return it, for a look at what was posted from `since` on; None without any control total."""
        if self.at is None or since < self.at:
            before = NEVER if self.at is None else self.at
            found = await connection.fetchval(statements.INTAKE_FROM, cohort, before)
            self.at = found or self.at
        return self.at


async def next_stretch(
    connection: Connection, cohort: int, after: AccountKey, accounts_count_max: int
) -> Stretch:
    """Return the stretch that an incremental pass looks at: of the last accounts, it has no end."""
    row = await connection.fetchrow(statements.ACCOUNTS_END, cohort, *after, accounts_count_max)
    return Stretch(after=after, end=None if row is None else (row["tenant"], row["account_id"]))


async def compare_moved(
    connection: Connection,
    cohort: int,
    since: datetime,
    until: datetime,
    stretch: Stretch,
    taken_from: TakenFrom,
) -> list[Result]:
    """Return what does not agree of the transactions of a time, of the accounts that they moved, and of a stretch of the others.

    The connection is in a transaction that sees one moment.
    """
    return [
        *await compare_times(connection, cohort, since, until, taken_from),
        await _result(
            Check.CHAIN,
            connection,
            statements.CHAIN,
            statements.TRANSACTIONS_COUNT,
            cohort,
            since,
            until,
        ),
        await _result(
            Check.BALANCE, connection, statements.BALANCE, None, cohort, *stretch.args, since
        ),
    ]


async def compare_times(
    connection: Connection,
    cohort: int,
    since: datetime,
    until: datetime,
    taken_from: TakenFrom,
) -> list[Result]:
    """Return what does not agree of the transactions of a time: with their control totals, and with their entries."""
    times = (since, until)
    return [
        await _intake(connection, cohort, since, until, taken_from),
        await _result(
            Check.ENTRIES,
            connection,
            statements.ENTRIES,
            statements.TRANSACTIONS_COUNT,
            cohort,
            *times,
        ),
    ]


async def compare_accounts(connection: Connection, cohort: int, stretch: Stretch) -> list[Result]:
    """Return what does not agree of all that ever was on a stretch of accounts."""
    return [
        # What was examined of these is counted with their transactions.
        await _result(Check.ENTRIES, connection, statements.ORPHANS, None, cohort, *stretch.args),
        await _result(
            Check.CHAIN,
            connection,
            statements.CHAIN_WHOLE,
            statements.ENTRIES_COUNT,
            cohort,
            *stretch.args,
        ),
        await _result(
            Check.BALANCE,
            connection,
            statements.BALANCE_WHOLE,
            statements.ACCOUNTS_COUNT,
            cohort,
            *stretch.args,
        ),
    ]


async def compare_whole(connection: Connection, cohort: int) -> list[Result]:
    """Return what each pass compares of the whole cohort, which is little: what is reserved, and the sums."""
    return [
        await _result(
            Check.PENDING, connection, statements.PENDING, statements.HOLDS_COUNT, cohort
        ),
        await _result(
            Check.ZERO_SUM, connection, statements.ZERO_SUM, statements.CURRENCIES_COUNT, cohort
        ),
    ]


async def _intake(
    connection: Connection, cohort: int, since: datetime, until: datetime, taken_from: TakenFrom
) -> Result:
    begun = await taken_from.read(connection, cohort, since)
    if begun is None or begun >= until:
        return Result(check=Check.INTAKE)
    return await _result(
        Check.INTAKE,
        connection,
        statements.INTAKE,
        statements.TRANSACTIONS_COUNT,
        cohort,
        max(since, begun),
        until,
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
