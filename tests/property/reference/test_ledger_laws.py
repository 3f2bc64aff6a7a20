"""Goal: the ledger's laws hold for any transfers, split and delivered in any way.

Method: hypothesis draws transfers between a few accounts; a small store stands for the database.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import (
    Account,
    Decision,
    Entry,
    Outcome,
    Transfer,
    post_transfers,
)


class Store:
    """What the database keeps between batches."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.decided: dict[uuid.UUID, str] = {}
        self.entries: list[Entry] = []

    def apply(self, batch: Sequence[Transfer]) -> list[Decision]:
        """Decide a batch and keep the outcome, as the database's transaction does."""
        decisions, changed = post_transfers(batch, accounts=self.accounts, decided=self.decided)
        self.accounts.update(changed)
        for decision in decisions:
            if decision.outcome in (Outcome.POSTED, Outcome.REJECTED):
                self.decided[decision.transfer.transaction_id] = decision.fingerprint
            self.entries.extend(decision.entries)
        return decisions

    def balances(self) -> dict[tuple[str, str], int]:
        """Return every account's balance."""
        return {key: account.balance_minor for key, account in self.accounts.items()}


def transfers(names: Sequence[str]) -> st.SearchStrategy[list[Transfer]]:
    one = st.builds(
        lambda key, pair, amount: Transfer(
            tenant="t",
            idempotency_key=f"k{key}",
            debit_account=pair[0],
            credit_account=pair[1],
            amount_minor=amount,
            currency="EUR",
        ),
        st.integers(0, 30),
        st.permutations(names).map(lambda order: (order[0], order[1])),
        st.integers(1, 1000),
    )
    return st.lists(one, max_size=40)


MIXED = ("external:bank", "alice", "bob", "carol")
OUTSIDE = ("external:a", "external:b", "external:c")


@given(batch=transfers(MIXED))
def test_balances_are_the_sum_of_entries_and_everything_sums_to_zero(
    batch: list[Transfer],
) -> None:
    store = Store()
    store.apply(batch)
    assert sum(store.balances().values()) == 0
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    versions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in store.entries:
        key = (entry.tenant, entry.account_id)
        sums[key] += entry.amount_minor
        versions[key].append(entry.account_version)
        assert entry.balance_after_minor == sums[key]
    assert dict(sums) == store.balances()
    for key, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1))
        if not key[1].startswith("external:"):
            assert store.accounts[key].balance_minor >= 0


@given(batch=transfers(MIXED), data=st.data())
def test_any_split_into_batches_decides_the_same(
    batch: list[Transfer], data: st.DataObject
) -> None:
    whole, parts = Store(), Store()
    expected = whole.apply(batch)
    got: list[Decision] = []
    rest = batch
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        got.extend(parts.apply(rest[:size]))
        rest = rest[size:]
    assert got == expected
    assert parts.balances() == whole.balances()


@given(batch=transfers(MIXED))
def test_replaying_everything_changes_nothing(batch: list[Transfer]) -> None:
    store = Store()
    store.apply(batch)
    before, entries_count = store.balances(), len(store.entries)
    again = store.apply(batch)
    assert store.balances() == before
    assert len(store.entries) == entries_count
    assert all(one.outcome in (Outcome.REPLAYED, Outcome.CONFLICT) for one in again)


@given(batch=transfers(OUTSIDE), data=st.data())
def test_order_and_duplicates_do_not_matter_where_funds_never_lack(
    batch: list[Transfer], data: st.DataObject
) -> None:
    # One body a key: with two, which one wins is the order's to say.
    distinct = list({one.idempotency_key: one for one in batch}.values())
    straight, shuffled = Store(), Store()
    straight.apply(distinct)
    copies = st.lists(st.sampled_from(distinct), max_size=10) if distinct else st.just([])
    shuffled.apply(data.draw(st.permutations(distinct + data.draw(copies))))
    assert shuffled.balances() == straight.balances()
