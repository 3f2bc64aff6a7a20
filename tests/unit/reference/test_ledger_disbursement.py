"""Goal: whatever a rail says, in any order and however often, the money ends where the last word puts it.

Method: each word by itself, then hypothesis' words against a book in which the steps are decided.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import (
    Book,
    Kind,
    Outcome,
    RejectReason,
    Request,
    Step,
    Transfer,
    check_key,
    decide,
    expire_step,
)
from sentinel.reference.ledger.domain.disbursement import (
    Disbursement,
    DisbursementState,
    RailWord,
    ReturnCode,
    hear,
    own_key,
)
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import Payee
from sentinel.reference.ledger.edge.versions import WRITES, read_write

PENDING = Transfer(
    tenant="shop",
    idempotency_key="invoice-7",
    debit_account="vendors",
    credit_account="external:rail",
    amount_minor=500,
    currency="EUR",
    expires_in_s=86_400,
    payee=Payee(account="DE00-1", name="Ann"),
)
FUND = Transfer(
    tenant="shop",
    idempotency_key="fund",
    debit_account="external:bank",
    credit_account="vendors",
    amount_minor=500,
    currency="EUR",
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


def asked_by_its_tenant(kind: Kind, key: str, amount: int | None = None) -> Step:
    """A step as a client may ask for it: on the pending transfer, or on the post that `hold.resolved_by` names."""
    on_post = kind is Kind.REVERSAL
    return Step(
        tenant="shop",
        idempotency_key=key,
        kind=kind,
        target_id=REQUESTED.post_step.transaction_id if on_post else PENDING.transaction_id,
        amount_minor=amount,
    )


CLIENTS = st.sampled_from(
    [(Kind.VOID, None), (Kind.POST, None), (Kind.POST, 1), (Kind.REVERSAL, None)]
)


@given(words=st.lists(st.sampled_from(WORDS), max_size=8), data=st.data())
def test_the_book_ends_where_the_disbursement_does_whatever_its_tenant_asks_for(
    words: list[tuple[RailWord, ReturnCode | None]], data: st.DataObject
) -> None:
    book = Book()
    decide([FUND, PENDING], book, now_ns=0)
    now, keys = REQUESTED, count()

    def meddle() -> None:
        for kind, amount in data.draw(st.lists(CLIENTS, max_size=2)):
            step = asked_by_its_tenant(kind, f"c{next(keys)}", amount)
            (decision,) = decide([step], book, now_ns=1)
            settled = now.state in (DisbursementState.SETTLED, DisbursementState.RETURNED_LATE)
            known = kind is not Kind.REVERSAL or settled
            assert decision.entries == ()
            assert decision.reason is (
                RejectReason.BELONGS_TO_DISBURSEMENT if known else RejectReason.REVERSAL_UNKNOWN
            )

    meddle()
    for word, code in words:
        now, step = hear(now, word, code)
        if step is not None:
            # Told twice, as by two workers of which one was killed; and as late as a rail may be.
            late_ns = data.draw(st.integers(1, 2**62))
            first, again = decide([step, step], book, now_ns=late_ns)
            assert (first.outcome, again.outcome) == (Outcome.POSTED, Outcome.REPLAYED)
        meddle()
    vendors = book.accounts["shop", "vendors"]
    paid = now.state is DisbursementState.SETTLED
    held = now.state in (DisbursementState.REQUESTED, DisbursementState.SUBMITTED)
    assert vendors.balance_minor == (0 if paid else 500)
    assert vendors.available_minor == (0 if paid or held else 500)


@pytest.mark.parametrize(
    ("kind", "amount"), [(Kind.VOID, None), (Kind.POST, None), (Kind.POST, 1), (Kind.EXPIRE, None)]
)
def test_nobody_but_the_disburser_ends_what_it_has_reserved(
    kind: Kind, amount: int | None
) -> None:
    book = Book()
    meddling = asked_by_its_tenant(kind, "mine", amount)
    # In one run, as several messages of one batch are.
    run: list[Request] = [FUND, PENDING, meddling, REQUESTED.post_step]
    decisions = decide(run, book, now_ns=400 * 86_400 * 10**9)
    assert [one.reason for one in decisions] == [
        None,
        None,
        RejectReason.BELONGS_TO_DISBURSEMENT,
        None,
    ]
    assert book.accounts["shop", "vendors"].balance_minor == 0
    assert book.holds[PENDING.transaction_id].resolved_by == REQUESTED.post_step.transaction_id
    # Once it is over, the reason is the same: what became of it is not the asker's.
    (late,) = decide([asked_by_its_tenant(kind, "later", amount)], book, now_ns=0)
    assert late.reason is RejectReason.BELONGS_TO_DISBURSEMENT


def test_it_does_not_end_by_a_time_and_is_paid_however_late_the_bank_is() -> None:
    book = Book()
    decide([FUND, PENDING], book, now_ns=0)
    late_ns = book.holds[PENDING.transaction_id].expires_ns + 1
    expiry = expire_step(tenant="shop", pending_id=PENDING.transaction_id, attempt=0)
    decisions = decide([expiry, REQUESTED.post_step], book, now_ns=late_ns)
    assert [one.reason for one in decisions] == [RejectReason.BELONGS_TO_DISBURSEMENT, None]


def test_what_settled_goes_back_by_the_disbursers_word_and_not_by_its_tenants() -> None:
    book = Book()
    settled, post = hear(replace(REQUESTED, state=DisbursementState.SUBMITTED), *WORDS[2])
    back, reversal = hear(settled, *WORDS[3])
    assert post is not None
    assert reversal is not None
    meddling = asked_by_its_tenant(Kind.REVERSAL, "mine")
    decisions = decide([FUND, PENDING, post, meddling, reversal], book, now_ns=1)
    assert [one.reason for one in decisions] == [
        *[None] * 3,
        RejectReason.BELONGS_TO_DISBURSEMENT,
        None,
    ]
    assert back.state is DisbursementState.RETURNED_LATE
    assert book.accounts["shop", "vendors"].balance_minor == 500
    assert book.posted[post.transaction_id].reversed_by == reversal.transaction_id


def test_a_pending_transfer_to_the_rails_account_that_pays_nobody_is_its_tenants() -> None:
    plain = replace(PENDING, payee=None)
    book = Book()
    decisions = decide([FUND, plain, asked_by_its_tenant(Kind.VOID, "mine")], book, now_ns=0)
    assert [one.outcome for one in decisions] == [Outcome.POSTED] * 3


@pytest.mark.parametrize("kind", [Kind.POST, Kind.VOID, Kind.REVERSAL])
def test_a_key_of_another_disbursement_is_not_its_own(kind: Kind) -> None:
    step = asked_by_its_tenant(kind, own_key(kind, uuid.UUID(int=7)))
    decisions = decide([FUND, PENDING, REQUESTED.post_step, step], Book(), now_ns=0)
    assert decisions[-1].reason is RejectReason.BELONGS_TO_DISBURSEMENT


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("name", "kind"), [("post", Kind.POST), ("void", Kind.VOID), ("reverse", Kind.REVERSAL)]
)
def test_the_edge_reads_no_step_under_a_key_of_the_disbursers(
    version: int, name: str, kind: Kind
) -> None:
    write = next(one for one in WRITES if one.name == name)
    key = own_key(kind, PENDING.transaction_id)
    for forged in (key, key.replace(" ", "\t"), f" {key}", key.replace(" ", "\u00a0")):
        with pytest.raises(InvalidTransferError) as caught:
            read_write(
                write,
                version,
                tenant="shop",
                idempotency_key=forged,
                target=str(PENDING.transaction_id),
                body=None if version == 1 else {},
            )
        assert caught.value.code == "invalid_idempotency_key"


def test_who_ended_its_pending_transfer_is_known_by_the_step() -> None:
    void = hear(REQUESTED, *WORDS[1])[1]
    assert void is not None
    assert not REQUESTED.was_ended_by_another(void.transaction_id)
    assert not REQUESTED.was_ended_by_another(REQUESTED.post_step.transaction_id)
    assert REQUESTED.was_ended_by_another(asked_by_its_tenant(Kind.VOID, "mine").transaction_id)


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
