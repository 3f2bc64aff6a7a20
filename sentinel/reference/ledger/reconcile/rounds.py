"""A full pass in slices: so much at a time that a statement's limit is far, and a mark that is kept from pass to pass.

Of each cohort first the accounts, each slice with all that ever was on them, then the transactions in the order of time, then the
payments and the sums of analytics. What is posted meanwhile is looked at by the incremental passes; what a slice has looked at may be altered behind
it, as behind a full pass of one piece, and is found by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sentinel.reference.ledger.reconcile import statements
from sentinel.reference.ledger.reconcile.books import (
    NO_ACCOUNT,
    AccountKey,
    Stretch,
    TakenFrom,
    compare_accounts,
    compare_times,
)
from sentinel.reference.ledger.reconcile.place import EVER, NEVER
from sentinel.reference.ledger.reconcile.replica import Scope
from sentinel.reference.ledger.reconcile.report import Result, merged
from sentinel.reference.ledger.wire.postgres import Connection

_STEP_FIRST: Final = timedelta(hours=1)
_STEP_MIN: Final = timedelta(milliseconds=10)
# A slice that did not end in time is tried again with half as much, down to this share.
_SHARE_MIN: Final = 1 / 256


class Stage(Enum):
    """What of a cohort is looked at."""

    ACCOUNTS = "accounts"
    TIMES = "times"
    SUMS = "sums"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSizes:
    """How much a slice holds at most."""

    accounts_count_max: int
    entries_count_max: int
    transactions_count_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What is looked at next: accounts or a time, or neither, for payments and sums."""

    cohort: int
    accounts: Stretch | None = None
    times: tuple[datetime, datetime] | None = None

    @property
    def scope(self) -> Scope:
        """What of it a replica has."""
        return Scope(accounts=self.accounts, times=self.times)


@dataclass(slots=True)
class Round:
    """A full pass under way.

    Attributes:
        cohorts: those that are not done, the one that is being looked at first.
        found: what the slices found.
        owed: why it has to be made again soon: what it could not look at.
    """

    cohorts: list[int]
    sizes: SliceSizes
    found: list[Result] = field(default_factory=list)
    owed: str = ""
    _stage: Stage = Stage.ACCOUNTS
    _after: AccountKey = NO_ACCOUNT
    _since: datetime = EVER
    _newest: datetime | None = None
    _step: timedelta = _STEP_FIRST
    _share: float = 1.0

    @property
    def done(self) -> bool:
        """Whether everything was looked at."""
        return not self.cohorts

    def add(self, results: Sequence[Result]) -> None:
        """Take what a slice found."""
        self.found = merged([*self.found, *results])

    def smaller(self) -> None:
        """Have the next slices hold half as much: one did not end in time."""
        self._share = max(self._share / 2, _SHARE_MIN)
        self._step = max(self._step / 2, _STEP_MIN)

    async def next(self, connection: Connection) -> Slice:
        """Return the slice that comes next, in the connection's transaction."""
        cohort = self.cohorts[0]
        if self._stage is Stage.ACCOUNTS:
            return Slice(cohort=cohort, accounts=await self._accounts(connection, cohort))
        if self._stage is Stage.TIMES:
            return Slice(cohort=cohort, times=(self._since, await self._until(connection, cohort)))
        return Slice(cohort=cohort)

    def passed(self, part: Slice) -> None:
        """Note that a slice was looked at."""
        if part.accounts is not None:
            self._after = part.accounts.end or NO_ACCOUNT
            if part.accounts.end is None:
                self._stage = Stage.TIMES
        elif part.times is not None:
            self._since = part.times[1]
            if self._since == NEVER:
                self._stage = Stage.SUMS
        else:
            del self.cohorts[0]
            self._stage, self._since, self._newest = Stage.ACCOUNTS, EVER, None

    async def _accounts(self, connection: Connection, cohort: int) -> Stretch:
        row = await connection.fetchrow(
            statements.SLICE_END,
            cohort,
            *self._after,
            self._count(self.sizes.accounts_count_max),
            self._count(self.sizes.entries_count_max),
        )
        end = None if row is None else (row["tenant"], row["account_id"])
        return Stretch(after=self._after, end=end)

    async def _until(self, connection: Connection, cohort: int) -> datetime:
        """Return where a slice ends that begins at `_since` and holds about as much as it may."""
        since = self._since
        if self._newest is None:
            row = await connection.fetchrow(statements.TIMES, cohort)
            if row["oldest"] is None:
                return NEVER
            self._newest = row["newest"]
            since = max(since, row["oldest"])
        elif since > self._newest:
            return NEVER
        count_max = self._count(self.sizes.transactions_count_max)
        while True:
            until = NEVER if NEVER - since <= self._step else since + self._step
            count = await connection.fetchval(
                statements.TRANSACTIONS_COUNT, cohort, self._since, until
            )
            if count <= count_max or self._step <= _STEP_MIN:
                break
            self._step = max(self._step / 2, _STEP_MIN)
        if count < count_max / 4:
            self._step *= 2  # also over years in which nothing was posted
        return NEVER if until > self._newest else until

    def _count(self, count_max: int) -> int:
        return max(int(count_max * self._share), 1)


async def compare_slice(
    connection: Connection, part: Slice, taken_from: TakenFrom
) -> list[Result]:
    """Return what does not agree of the books in a slice, in the connection's transaction."""
    if part.accounts is not None:
        return await compare_accounts(connection, part.cohort, part.accounts)
    if part.times is not None:
        return await compare_times(connection, part.cohort, *part.times, taken_from)
    return []
