"""Goal: the ledger's laws hold for any requests, split and delivered in any way.

Method: hypothesis draws transfers, pending ones, their ends and reversals between a few accounts; a
small store stands for the database, and a clock that runs from batch to batch ends some of them.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import (
    Book,
    Decision,
    Entry,
    HoldState,
    Kind,
    Outcome,
    Request,
    Step,
    Transfer,
    decide,
    transaction_id,
)
from sentinel.reference.ledger.domain.accounts import BALANCE_MINOR_MAX

S_NS = 1_000_000_000


class Store:
    """What the database keeps between batches."""

    def __init__(self) -> None:
        self.book = Book()
        self.entries: list[Entry] = []

    def apply(self, batch: Sequence[Request], *, now_ns: int = 0) -> list[Decision]:
        """Decide a batch and keep the outcome, as the database's transaction does."""
        decisions = decide(batch, self.book, now_ns=now_ns)
        for decision in decisions:
            self.entries.extend(decision.entries)
        return decisions

    def balances(self) -> dict[tuple[str, str], int]:
        """Return every account's balance."""
        return {key: account.balance_minor for key, account in self.book.accounts.items()}


def transfers(names: Sequence[str]) -> st.SearchStrategy[Transfer]:
    return st.builds(
        lambda key, pair, amount, expires: Transfer(
            tenant="t",
            idempotency_key=f"k{key}",
            debit_account=pair[0],
            credit_account=pair[1],
            amount_minor=amount,
            currency="EUR",
            expires_in_s=expires,
        ),
        st.integers(0, 9),
        st.permutations(names).map(lambda order: (order[0], order[1])),
        st.integers(1, 1000),
        st.one_of(st.none(), st.integers(1, 5)),
    )


def steps() -> st.SearchStrategy[Step]:
    # On the same few keys that transfers have, so that many a step finds its target.
    return st.builds(
        lambda key, target, kind, amount: Step(
            tenant="t",
            idempotency_key=f"s{key}",
            kind=kind,
            target_id=transaction_id(tenant="t", idempotency_key=target),
            amount_minor=amount if kind is Kind.POST else None,
        ),
        st.integers(0, 9),
        st.one_of(
            st.integers(0, 9).map(lambda key: f"k{key}"),
            st.integers(0, 9).map(lambda key: f"s{key}"),
        ),
        st.sampled_from([Kind.POST, Kind.VOID, Kind.EXPIRE, Kind.REVERSAL]),
        st.one_of(st.none(), st.integers(1, 1000)),
    )


MIXED = ("external:bank", "alice", "bob", "carol")
OUTSIDE = ("external:a", "external:b", "external:c")
REQUESTS: st.SearchStrategy[list[Request]] = st.lists(
    st.one_of(transfers(MIXED), steps()), max_size=60
)


@given(batches=st.lists(REQUESTS, max_size=4))
def test_the_book_balances_after_every_batch(batches: list[list[Request]]) -> None:
    store = Store()
    for place, batch in enumerate(batches):
        store.apply(batch, now_ns=place * 2 * S_NS)
        check(store)


@given(
    batch=st.lists(
        st.builds(
            lambda transfer, amount: replace(transfer, amount_minor=amount),
            transfers(OUTSIDE),
            st.sampled_from([2**53 - 1, BALANCE_MINOR_MAX]),
        ),
        min_size=6,
        max_size=12,
    )
)
def test_every_number_fits_where_the_database_keeps_it(batch: list[Transfer]) -> None:
    store = Store()
    # Each by a key of its own: what is decided once would say nothing of the limits.
    apart = [replace(one, idempotency_key=f"n{place}") for place, one in enumerate(batch)]
    for decision in store.apply(apart):
        for entry in decision.entries:
            assert abs(entry.balance_after_minor) <= BALANCE_MINOR_MAX
    for account in store.book.accounts.values():
        assert abs(account.balance_minor) <= BALANCE_MINOR_MAX
        assert 0 <= account.debits_pending_minor <= BALANCE_MINOR_MAX
        assert 0 <= account.credits_pending_minor <= BALANCE_MINOR_MAX


def check(store: Store) -> None:
    """Assert the invariants that the module of posting states."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    versions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    legs: defaultdict[uuid.UUID, int] = defaultdict(int)
    for entry in store.entries:
        key = (entry.tenant, entry.account_id)
        sums[key] += entry.amount_minor
        versions[key].append(entry.account_version)
        legs[entry.transaction_id] += entry.amount_minor
        assert entry.balance_after_minor == sums[key]
    assert set(legs.values()) <= {0}
    outgoing, incoming = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for hold in store.book.holds.values():
        if hold.state is HoldState.OPEN:
            debit, credit = hold.movement.keys
            outgoing[debit] += hold.movement.amount_minor
            incoming[credit] += hold.movement.amount_minor
        assert (hold.state is HoldState.OPEN) == (hold.resolved_by is None)
    for key, account in store.book.accounts.items():
        assert account.balance_minor == sums[key]
        assert versions[key] == list(range(1, account.version + 1))
        assert account.debits_pending_minor == outgoing[key]
        assert account.credits_pending_minor == incoming[key]
        assert account.allow_negative or account.available_minor >= 0


@given(batch=REQUESTS)
def test_every_target_is_resolved_or_reversed_once(batch: list[Request]) -> None:
    store = Store()
    ends: Counter[uuid.UUID] = Counter()
    for place, request in enumerate(batch):
        for decision in store.apply([request], now_ns=place * S_NS):
            if decision.outcome is Outcome.POSTED and isinstance(decision.request, Step):
                ends[decision.request.target_id] += 1
    assert set(ends.values()) <= {1}


@given(batch=REQUESTS)
def test_money_is_moved_by_transfers_posts_and_reversals_alone(batch: list[Request]) -> None:
    store = Store()
    for decision in store.apply(batch):
        moves = decision.request.kind in (Kind.TRANSFER, Kind.POST, Kind.REVERSAL)
        assert bool(decision.entries) == (moves and decision.outcome is Outcome.POSTED)


@given(batch=REQUESTS, data=st.data())
def test_any_split_into_batches_decides_the_same(
    batch: list[Request], data: st.DataObject
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
    assert parts.book == whole.book


@given(batch=REQUESTS)
def test_replaying_everything_changes_nothing(batch: list[Request]) -> None:
    store = Store()
    store.apply(batch)
    accounts, holds = dict(store.book.accounts), dict(store.book.holds)
    entries_count = len(store.entries)
    again = store.apply(batch, now_ns=60 * S_NS)
    assert store.book.accounts == accounts
    assert store.book.holds == holds
    assert len(store.entries) == entries_count
    assert all(one.outcome in (Outcome.REPLAYED, Outcome.CONFLICT) for one in again)


@given(batch=st.lists(transfers(OUTSIDE), max_size=40), data=st.data())
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
    assert shuffled.book.holds == straight.book.holds
