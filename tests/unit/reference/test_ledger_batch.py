"""Goal: a batch is accepted whole or refused with the item's place, and its items' identity is derived.

Method: small batches as decoded bodies; a payroll whose funds end half-way.
"""

from __future__ import annotations

import pytest

from sentinel.reference.ledger.domain import (
    Batch,
    Book,
    InvalidTransferError,
    Outcome,
    Transfer,
    decide,
    item_id,
    parse_batch,
    transaction_id,
)
from sentinel.reference.ledger.domain.batch import ITEMS_COUNT_MAX


def item(credit: str, amount: object = 40) -> dict[str, object]:
    return {
        "debit_account": "payroll",
        "credit_account": credit,
        "amount_minor": amount,
        "currency": "EUR",
    }


def test_each_item_has_a_transaction_of_its_own_and_knows_its_place() -> None:
    batch = parse_batch(
        tenant="shop", idempotency_key="june", body={"items": [item("ann"), item("ben")]}
    )
    assert [one.batch.place for one in batch.items if one.batch] == [0, 1]
    ids = [one.transaction_id for one in batch.items]
    assert ids == [item_id(batch.batch_id, 0), item_id(batch.batch_id, 1)]
    assert transaction_id(tenant="shop", idempotency_key="june") not in {*ids, batch.batch_id}


def test_the_same_batch_has_the_same_mark_and_any_other_another() -> None:
    bodies = (
        [item("ann"), item("ben")],
        [item("ben"), item("ann")],
        [item("ann")],
        [item("ann"), item("ben", 41)],
    )
    marks = [
        parse_batch(tenant="shop", idempotency_key="june", body={"items": one}).fingerprint
        for one in (bodies[0], *bodies)
    ]
    assert marks[0] == marks[1]
    assert len(set(marks)) == len(bodies)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ([], "invalid_body", ""),
        ({}, "invalid_field", "items"),
        ({"items": []}, "invalid_field", "items"),
        ({"items": {}}, "invalid_field", "items"),
        ({"items": [1] * (ITEMS_COUNT_MAX + 1)}, "invalid_field", "items"),
        ({"items": [item("ann")], "note": "x"}, "unknown_field", "note"),
        ({"items": [item("ann"), item("ben", 0)]}, "invalid_field", "items[1].amount_minor"),
        ({"items": [item("ann"), 7]}, "invalid_body", "items[1]"),
        ({"items": [{**item("ann"), "x": 1}]}, "unknown_field", "items[0].x"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body: object, code: str, field: str) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        parse_batch(tenant="shop", idempotency_key="june", body=body)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_an_item_without_funds_takes_no_other_with_it() -> None:
    fund = Transfer(
        tenant="shop",
        idempotency_key="fund",
        debit_account="external:bank",
        credit_account="payroll",
        amount_minor=100,
        currency="EUR",
    )
    batch = parse_batch(
        tenant="shop",
        idempotency_key="june",
        body={"items": [item("ann"), item("ben", 90), item("cem")]},
    )
    decisions = decide([fund, *batch.items, *batch.items], Book(), now_ns=0)
    assert [one.outcome for one in decisions[1:4]] == [
        Outcome.POSTED,
        Outcome.REJECTED,
        Outcome.POSTED,
    ]
    assert {one.outcome for one in decisions[4:]} == {Outcome.REPLAYED}


def payroll(*names: str, amount: int = 40) -> Batch:
    items = [item(name, amount) for name in names]
    return parse_batch(tenant="shop", idempotency_key="june", body={"items": items})


FUND = Transfer(
    tenant="shop",
    idempotency_key="fund",
    debit_account="external:bank",
    credit_account="payroll",
    amount_minor=200,
    currency="EUR",
)


@pytest.mark.parametrize(
    "other",
    [payroll("ann", "ben"), payroll("ben", "ann"), payroll("ann", amount=41), payroll("cleo")],
    ids=["longer", "longer and first another", "another amount", "another account"],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_key_used_for_another_list_posts_nothing_of_it(other: Batch, *, together: bool) -> None:
    first = payroll("ann")
    book = Book()
    if together:
        decisions = decide([FUND, first, other, first], book, now_ns=0)
    else:
        decide([FUND, first], book, now_ns=0)
        # As a later run reads it: the fingerprint of the first use, and what it decided.
        book = Book(accounts=book.accounts, decided=book.decided, batches=dict(book.batches))
        decisions = decide([other, first], book, now_ns=0)
    *rest, last = decisions
    assert {one.outcome for one in rest[-len(other.items) :]} == {Outcome.CONFLICT}
    assert last.outcome is Outcome.REPLAYED
    balances = {key[1]: one.balance_minor for key, one in book.accounts.items()}
    assert balances == {"external:bank": -200, "payroll": 160, "ann": 40}


def test_a_shorter_list_is_another_too() -> None:
    book = Book()
    decide([FUND, payroll("ann", "ben")], book, now_ns=0)
    (only,) = decide([payroll("ann")], book, now_ns=0)
    assert only.outcome is Outcome.CONFLICT
