"""Goal: the slices of a full pass leave nothing out, hold no more than they may, and have an end.

Method: accounts and moments as values behind a stand-in for the database, which says what its statements would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.reconcile import statements
from sentinel.reference.ledger.reconcile.books import NO_ACCOUNT
from sentinel.reference.ledger.reconcile.place import EVER, NEVER
from sentinel.reference.ledger.reconcile.rounds import Round, Slice, SliceSizes

if TYPE_CHECKING:
    from sentinel.reference.ledger.wire.postgres import Connection

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIZES = SliceSizes(accounts_count_max=4, entries_count_max=10, transactions_count_max=5)


class Books:
    """A cohort's accounts, with how many entries each has, and the moments of its transactions."""

    def __init__(self, accounts: Sequence[int], moments: Sequence[datetime]) -> None:
        self.accounts = [(f"a{place:03}", entries) for place, entries in enumerate(accounts)]
        self.moments = sorted(moments)

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Where a slice of accounts ends, and from when to when there are transactions."""
        if query == statements.TIMES:
            oldest, newest = (self.moments[0], self.moments[-1]) if self.moments else (None, None)
            return {"oldest": oldest, "newest": newest}
        assert query == statements.SLICE_END
        _, _, after, accounts_count_max, entries_count_max = args
        assert isinstance(accounts_count_max, int)
        assert isinstance(entries_count_max, int)
        end, total = None, 0
        behind = [one for one in self.accounts if one[0] > str(after)]
        for name, entries in behind[:accounts_count_max]:
            total += entries
            if end is not None and total > entries_count_max:
                break
            end = {"tenant": "shop", "account_id": name}
        return end

    async def fetchval(self, query: str, *args: object) -> Any:
        """How many transactions a time has."""
        assert query == statements.TRANSACTIONS_COUNT
        _, since, until = args
        return len(self.of((since, until)))

    def of(self, times: tuple[Any, Any]) -> list[datetime]:
        """The moments of a time."""
        return [one for one in self.moments if times[0] <= one < times[1]]


async def slices_of(books: Books) -> list[Slice]:
    going = Round(cohorts=[0, 1], sizes=SIZES)
    found = []
    while not going.done:
        found.append(await going.next(cast("Connection", books)))
        going.passed(found[-1])
    return found


@given(
    accounts=st.lists(st.integers(0, 15), max_size=20),
    seconds=st.lists(
        st.one_of(st.integers(-5_000, 5_000), st.integers(-(10**9), 10**9)), max_size=60
    ),
)
def test_slices_follow_one_another_to_the_end(accounts: list[int], seconds: list[int]) -> None:
    books = Books(accounts, [NOON + timedelta(seconds=one) for one in seconds])
    found = asyncio.run(slices_of(books))
    assert [one.cohort for one in found] == sorted(one.cohort for one in found)
    for cohort in (0, 1):
        stretches = [one.accounts for one in found if one.cohort == cohort and one.accounts]
        assert stretches[0].after == NO_ACCOUNT
        assert [one.end for one in stretches[:-1]] == [one.after for one in stretches[1:]]
        assert stretches[-1].end is None
        times = [one.times for one in found if one.cohort == cohort and one.times]
        assert (times[0][0], times[-1][1]) == (EVER, NEVER)
        assert [one[1] for one in times[:-1]] == [one[0] for one in times[1:]]
        for one in times[:-1]:
            seen = books.of(one)
            assert len(seen) <= SIZES.transactions_count_max or len(set(seen)) == 1
        # The sums, once.
        assert (
            sum(not one.accounts and not one.times for one in found if one.cohort == cohort) == 1
        )
