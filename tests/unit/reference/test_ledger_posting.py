"""Goal: the posting rules decide as documented, one case each.

Method: transfers as values against balances as values.
"""

from __future__ import annotations

from dataclasses import replace

from sentinel.reference.ledger.domain import (
    Account,
    Book,
    Decision,
    Outcome,
    RejectReason,
    Transfer,
    decide,
)
from sentinel.reference.ledger.domain.accounts import BALANCE_MINOR_MAX


def transfer(
    key: str, debit: str, credit: str, amount: int = 100, currency: str = "EUR"
) -> Transfer:
    return Transfer(
        tenant="shop",
        idempotency_key=key,
        debit_account=debit,
        credit_account=credit,
        amount_minor=amount,
        currency=currency,
    )


def account(name: str, balance: int, currency: str = "EUR") -> Account:
    return Account(
        tenant="shop",
        account_id=name,
        currency=currency,
        balance_minor=balance,
        allow_negative=False,
        version=3,
    )


def decided(*transfers: Transfer, accounts: tuple[Account, ...] = ()) -> list[Decision]:
    return decide(transfers, Book(accounts={one.key: one for one in accounts}), now_ns=0)


def test_a_posted_transfer_makes_two_entries_that_sum_to_zero() -> None:
    book = Book()
    decisions = decide([transfer("k", "external:bank", "alice", 250)], book, now_ns=0)
    assert decisions[0].outcome is Outcome.POSTED
    debit, credit = decisions[0].entries
    assert (debit.amount_minor, credit.amount_minor) == (-250, 250)
    assert (debit.balance_after_minor, credit.balance_after_minor) == (-250, 250)
    assert (debit.account_version, credit.account_version) == (1, 1)
    assert book.accounts["shop", "alice"].balance_minor == 250
    assert book.accounts["shop", "external:bank"].balance_minor == -250
    assert book.changed_accounts == {("shop", "alice"), ("shop", "external:bank")}


def test_an_ordinary_account_cannot_go_below_zero() -> None:
    decisions = decided(
        transfer("k1", "alice", "bob", 101), accounts=(account("alice", 100), account("bob", 0))
    )
    assert decisions[0].outcome is Outcome.REJECTED
    assert decisions[0].reason is RejectReason.INSUFFICIENT_FUNDS
    assert decisions[0].entries == ()


def test_an_ordinary_account_can_be_emptied() -> None:
    decisions = decided(transfer("k1", "alice", "bob", 100), accounts=(account("alice", 100),))
    assert decisions[0].outcome is Outcome.POSTED


def test_money_that_came_earlier_in_the_batch_can_be_spent() -> None:
    decisions = decided(
        transfer("k1", "external:bank", "alice", 100), transfer("k2", "alice", "bob", 100)
    )
    assert [decision.outcome for decision in decisions] == [Outcome.POSTED, Outcome.POSTED]


def test_an_account_keeps_the_currency_it_was_opened_with() -> None:
    decisions = decided(
        transfer("k1", "external:bank", "alice", currency="USD"),
        accounts=(account("alice", 0, "EUR"),),
    )
    assert decisions[0].reason is RejectReason.CURRENCY_MISMATCH


def test_a_balance_stops_before_the_database_overflows() -> None:
    decisions = decided(
        transfer("k1", "external:bank", "alice", 1),
        accounts=(account("alice", BALANCE_MINOR_MAX),),
    )
    assert decisions[0].reason is RejectReason.BALANCE_LIMIT


def test_what_is_reserved_stops_before_the_database_overflows_whatever_the_balance() -> None:
    """Two debtors, of whom each may pay as much as any account can hold, to one who owes as much."""
    owing = ("shop", "external:owing")
    holds = [
        replace(transfer(f"k{debtor}", debtor, owing[1], BALANCE_MINOR_MAX), expires_in_s=60)
        for debtor in ("external:one", "external:two")
    ]
    book = Book(
        accounts={owing: replace(account(owing[1], -BALANCE_MINOR_MAX), allow_negative=True)}
    )
    first, second = decide(holds, book, now_ns=0)
    assert first.outcome is Outcome.POSTED
    assert second.reason is RejectReason.BALANCE_LIMIT
    assert book.accounts[owing].credits_pending_minor == BALANCE_MINOR_MAX
    # And of who owes nothing and has all that can be had.
    rich = ("shop", "external:rich")
    book = Book(accounts={rich: replace(account(rich[1], BALANCE_MINOR_MAX), allow_negative=True)})
    out = [
        replace(transfer(f"out-{other}", rich[1], other, BALANCE_MINOR_MAX), expires_in_s=60)
        for other in ("alice", "bob")
    ]
    assert [one.reason for one in decide(out, book, now_ns=0)] == [
        None,
        RejectReason.BALANCE_LIMIT,
    ]
    # What is not reserved but moved is not held up by what is.
    moved = transfer("moved", "external:three", owing[1])
    book = Book(
        accounts={
            owing: replace(
                account(owing[1], -BALANCE_MINOR_MAX),
                allow_negative=True,
                credits_pending_minor=BALANCE_MINOR_MAX,
            )
        }
    )
    assert decide([moved], book, now_ns=0)[0].outcome is Outcome.POSTED


def test_a_key_is_decided_once_in_a_batch_and_across_batches() -> None:
    first = transfer("k", "external:bank", "alice", 100)
    other = transfer("k", "external:bank", "alice", 999)
    decisions = decided(first, first, other)
    assert [one.outcome for one in decisions] == [
        Outcome.POSTED,
        Outcome.REPLAYED,
        Outcome.CONFLICT,
    ]
    book = Book(decided={first.transaction_id: first.fingerprint})
    later = decide([first, other], book, now_ns=0)
    assert [one.outcome for one in later] == [Outcome.REPLAYED, Outcome.CONFLICT]
    assert book.changed_accounts == set()


def test_a_rejected_key_stays_rejected() -> None:
    poor = transfer("k", "alice", "bob", 100)
    decisions = decided(poor, transfer("k2", "external:bank", "alice", 500), poor)
    assert [one.outcome for one in decisions] == [
        Outcome.REJECTED,
        Outcome.POSTED,
        Outcome.REPLAYED,
    ]
