"""Goal: what the books say of a payment is held against the rail's words, and only a step that waits is let be.

Method: the table's own rows, then hypothesis' words against a book in which each step is decided, or waits.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import Book, HoldState, Step, Transfer, decide
from sentinel.reference.ledger.domain.disbursement import (
    Disbursement,
    DisbursementState,
    RailWord,
    ReturnCode,
    hear,
)
from sentinel.reference.ledger.domain.payouts import Booked, agrees
from sentinel.reference.ledger.domain.transfer import Payee

S = DisbursementState
OPEN = Booked(hold=HoldState.OPEN)
VOIDED = Booked(hold=HoldState.VOIDED)
PAID = Booked(hold=HoldState.POSTED, in_full=True)
PART = Booked(hold=HoldState.POSTED)
BACK = Booked(hold=HoldState.POSTED, in_full=True, moved_back=True)
PAYEE = Payee(account="DE00-1", name="Ann")
PENDING = Transfer(
    tenant="shop",
    idempotency_key="invoice-7",
    debit_account="external:vendors",
    credit_account="external:rail",
    amount_minor=500,
    currency="EUR",
    expires_in_s=86_400,
    payee=PAYEE,
)
WORDS = [
    (RailWord.ACCEPTED, None),
    (RailWord.REFUSED, ReturnCode.AMOUNT_OVER_LIMIT),
    (RailWord.SETTLED, None),
    (RailWord.RETURNED, ReturnCode.ACCOUNT_CLOSED),
]


@pytest.mark.parametrize(
    ("state", "agreed", "while_waiting"),
    [
        (S.REQUESTED, {OPEN}, set()),
        (S.SUBMITTED, {OPEN}, set()),
        (S.REFUSED, {VOIDED}, {OPEN}),
        (S.SETTLED, {PAID}, {OPEN}),
        (S.RETURNED, {VOIDED}, {OPEN}),
        (S.RETURNED_LATE, {BACK}, {PAID}),
    ],
)
def test_each_state_has_its_books(
    state: DisbursementState, agreed: set[Booked], while_waiting: set[Booked]
) -> None:
    every = {OPEN, VOIDED, PAID, PART, BACK}
    assert {one for one in every if agrees(state, one, waits=False)} == agreed
    assert {one for one in every if agrees(state, one, waits=True)} == agreed | while_waiting


@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_a_ledger_that_does_as_the_rail_says_agrees_at_every_moment(
    words: list[tuple[RailWord, ReturnCode | None]],
) -> None:
    book = Book()
    decide([PENDING], book, now_ns=0)
    now = Disbursement(
        pending_id=PENDING.transaction_id,
        tenant="shop",
        payee=PAYEE,
        amount_minor=500,
        currency="EUR",
    )
    assert agrees(now.state, booked(book, now), waits=False)
    for word, code in words:
        now, step = hear(now, word, code)
        if step is not None:
            assert agrees(now.state, booked(book, now), waits=True)
            assert not agrees(now.state, booked(book, now), waits=False)
            decide([step], book, now_ns=1)
        assert agrees(now.state, booked(book, now), waits=False)


def booked(book: Book, disbursement: Disbursement) -> Booked:
    hold = book.holds[disbursement.pending_id]
    post = None if hold.resolved_by is None else book.posted.get(hold.resolved_by)
    return Booked(
        hold=hold.state,
        in_full=post is not None and post.movement.amount_minor == disbursement.amount_minor,
        moved_back=post is not None and post.reversed_by is not None,
    )


def test_a_step_of_a_state_is_known_by_the_state_alone() -> None:
    now = Disbursement(
        pending_id=PENDING.transaction_id,
        tenant="shop",
        payee=PAYEE,
        amount_minor=500,
        currency="EUR",
        state=S.SETTLED,
    )
    assert isinstance(now.due_step, Step)
    assert now.due_step == now.post_step
