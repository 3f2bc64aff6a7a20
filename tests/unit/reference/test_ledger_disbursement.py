"""Goal: whatever a rail says, in any order and however often, the money ends where the last word puts it.

Method: each word by itself, then hypothesis' words against a book in which the steps are decided.
"""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import (
    Book,
    Kind,
    Outcome,
    Transfer,
    check_key,
    decide,
)
from sentinel.reference.ledger.domain.disbursement import (
    Disbursement,
    DisbursementState,
    RailWord,
    ReturnCode,
    hear,
)
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import Payee

PENDING = Transfer(
    tenant="shop",
    idempotency_key="invoice-7",
    debit_account="vendors",
    credit_account="external:rail",
    amount_minor=500,
    currency="EUR",
    expires_in_s=86_400,
)
REQUESTED = Disbursement(
    pending_id=PENDING.transaction_id,
    tenant="shop",
    payee=Payee(account="DE00-1", name="Ann"),
    amount_minor=500,
    currency="EUR",
)
WORDS = [
    (RailWord.ACCEPTED, None),
    (RailWord.REFUSED, ReturnCode.AMOUNT_OVER_LIMIT),
    (RailWord.SETTLED, None),
    (RailWord.RETURNED, ReturnCode.ACCOUNT_CLOSED),
]


@pytest.mark.parametrize(
    ("words", "state", "steps"),
    [
        ([0], DisbursementState.SUBMITTED, []),
        ([1], DisbursementState.REFUSED, [Kind.VOID]),
        ([0, 2], DisbursementState.SETTLED, [Kind.POST]),
        ([0, 3], DisbursementState.RETURNED, [Kind.VOID]),
        ([0, 2, 3], DisbursementState.RETURNED_LATE, [Kind.POST, Kind.REVERSAL]),
        ([2], DisbursementState.SETTLED, [Kind.POST]),
        ([0, 0, 2, 2, 0], DisbursementState.SETTLED, [Kind.POST]),
        ([0, 3, 2], DisbursementState.RETURNED, [Kind.VOID]),
    ],
)
def test_each_word_leads_where_the_table_says(
    words: list[int], state: DisbursementState, steps: list[Kind]
) -> None:
    now, told = REQUESTED, []
    for word in words:
        now, step = hear(now, *WORDS[word])
        if step is not None:
            told.append(step.kind)
    assert (now.state, told) == (state, steps)


@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_the_book_ends_where_the_disbursement_does(
    words: list[tuple[RailWord, ReturnCode | None]],
) -> None:
    book = Book()
    fund = Transfer(
        tenant="shop",
        idempotency_key="fund",
        debit_account="external:bank",
        credit_account="vendors",
        amount_minor=500,
        currency="EUR",
    )
    decide([fund, PENDING], book, now_ns=0)
    now = REQUESTED
    for word, code in words:
        now, step = hear(now, word, code)
        if step is not None:
            # Told twice, as by two workers of which one was killed.
            first, again = decide([step, step], book, now_ns=1)
            assert (first.outcome, again.outcome) == (Outcome.POSTED, Outcome.REPLAYED)
    vendors = book.accounts["shop", "vendors"]
    paid = now.state is DisbursementState.SETTLED
    held = now.state in (DisbursementState.REQUESTED, DisbursementState.SUBMITTED)
    assert vendors.balance_minor == (0 if paid else 500)
    assert vendors.available_minor == (0 if paid or held else 500)


@pytest.mark.parametrize(
    ("word", "code"),
    [(RailWord.RETURNED, None), (RailWord.SETTLED, ReturnCode.ACCOUNT_CLOSED)],
)
def test_a_return_has_a_reason_and_nothing_else_has(
    word: RailWord, code: ReturnCode | None
) -> None:
    with pytest.raises(ValueError, match="return code"):
        hear(REQUESTED, word, code)


def test_no_client_can_take_its_keys() -> None:
    step = REQUESTED.post_step
    assert step.transaction_id != uuid.UUID(int=0)
    with pytest.raises(InvalidTransferError):
        check_key(step.idempotency_key)
