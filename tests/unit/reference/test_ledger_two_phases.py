"""Goal: pending transfers reserve, and each of their ends and a reversal does what is documented.

Method: a book of two accounts, one request after the other, one case each.
"""

from __future__ import annotations

import uuid

import pytest

from sentinel.reference.ledger.domain import (
    Book,
    HoldState,
    InvalidTransferError,
    Kind,
    Outcome,
    RejectReason,
    Request,
    Step,
    Transfer,
    decide,
    expire_step,
    parse_step,
    targets,
)

T0_NS = 1_700_000_000_000_000_000
S_NS = 1_000_000_000
ALICE, BOB = ("shop", "alice"), ("shop", "bob")


def transfer(
    key: str, debit: str, credit: str, amount: int, *, expires_in_s: int | None = None
) -> Transfer:
    return Transfer(
        tenant="shop",
        idempotency_key=key,
        debit_account=debit,
        credit_account=credit,
        amount_minor=amount,
        currency="EUR",
        expires_in_s=expires_in_s,
    )


def step(
    key: str, kind: Kind, target: Transfer | Step, amount: int | None = None, tenant: str = "shop"
) -> Step:
    return Step(
        tenant=tenant,
        idempotency_key=key,
        kind=kind,
        target_id=target.transaction_id,
        amount_minor=amount,
    )


PENDING = transfer("hold", "alice", "bob", 60, expires_in_s=30)


def funded(*requests: Transfer | Step) -> Book:
    """Return a book in which alice has 100, after `requests`."""
    book = Book()
    decide([transfer("fund", "external:bank", "alice", 100), *requests], book, now_ns=T0_NS)
    return book


def outcome(book: Book, request: Transfer | Step, *, after_s: int = 0) -> RejectReason | Outcome:
    decision = decide([request], book, now_ns=T0_NS + after_s * S_NS)[0]
    return decision.reason or decision.outcome


def test_a_pending_transfer_reserves_and_moves_nothing() -> None:
    book = funded()
    decision = decide([PENDING], book, now_ns=T0_NS)[0]
    assert (decision.outcome, decision.entries) == (Outcome.POSTED, ())
    alice, bob = book.accounts[ALICE], book.accounts[BOB]
    assert (alice.balance_minor, alice.available_minor, alice.version) == (100, 40, 1)
    assert (bob.balance_minor, bob.credits_pending_minor, bob.version) == (0, 60, 0)
    assert book.holds[PENDING.transaction_id].expires_ns == T0_NS + 30 * S_NS


def test_what_is_reserved_cannot_be_spent_or_reserved_again() -> None:
    book = funded(PENDING)
    assert outcome(book, transfer("k", "alice", "carol", 41)) is RejectReason.INSUFFICIENT_FUNDS
    again = transfer("k2", "alice", "carol", 41, expires_in_s=5)
    assert outcome(book, again) is RejectReason.INSUFFICIENT_FUNDS
    assert outcome(book, transfer("k3", "alice", "carol", 40)) is Outcome.POSTED


def test_what_may_come_cannot_be_spent() -> None:
    book = funded(PENDING)
    assert outcome(book, transfer("k", "bob", "carol", 1)) is RejectReason.INSUFFICIENT_FUNDS


@pytest.mark.parametrize(("amount", "moved"), [(None, 60), (60, 60), (25, 25)])
def test_posting_moves_what_is_asked_and_returns_the_rest(amount: int | None, moved: int) -> None:
    book = funded(PENDING)
    post = step("post", Kind.POST, PENDING, amount)
    decision = decide([post], book, now_ns=T0_NS)[0]
    assert [entry.amount_minor for entry in decision.entries] == [-moved, moved]
    assert {entry.transaction_id for entry in decision.entries} == {post.transaction_id}
    alice, bob = book.accounts[ALICE], book.accounts[BOB]
    assert (alice.balance_minor, alice.debits_pending_minor) == (100 - moved, 0)
    assert (bob.balance_minor, bob.credits_pending_minor) == (moved, 0)
    hold = book.holds[PENDING.transaction_id]
    assert (hold.state, hold.resolved_by) == (HoldState.POSTED, post.transaction_id)


def test_a_void_and_an_expiry_return_everything() -> None:
    voided = funded(PENDING)
    assert outcome(voided, step("void", Kind.VOID, PENDING)) is Outcome.POSTED
    expired = funded(PENDING)
    expiry = expire_step(tenant="shop", pending_id=PENDING.transaction_id, attempt=0)
    assert outcome(expired, expiry, after_s=30) is Outcome.POSTED
    for book, state in ((voided, HoldState.VOIDED), (expired, HoldState.EXPIRED)):
        assert book.accounts[ALICE].available_minor == 100
        assert book.accounts[BOB].credits_pending_minor == 0
        assert book.holds[PENDING.transaction_id].state is state


@pytest.mark.parametrize("first", [Kind.POST, Kind.VOID])
@pytest.mark.parametrize("second", [Kind.POST, Kind.VOID, Kind.EXPIRE])
def test_a_pending_transfer_ends_once(first: Kind, second: Kind) -> None:
    book = funded(PENDING, step("one", first, PENDING))
    before = dict(book.accounts)
    late = step("two", second, PENDING)
    assert outcome(book, late, after_s=60) is RejectReason.PENDING_RESOLVED
    assert book.accounts == before


def test_posting_ends_with_its_time_voiding_does_not() -> None:
    book = funded(PENDING)
    early = expire_step(tenant="shop", pending_id=PENDING.transaction_id, attempt=0)
    assert outcome(book, early, after_s=29) is RejectReason.PENDING_NOT_EXPIRED
    # By a clock that is behind; the next attempt is another transaction.
    again = expire_step(tenant="shop", pending_id=PENDING.transaction_id, attempt=1)
    assert again.transaction_id != early.transaction_id
    late = step("post", Kind.POST, PENDING)
    assert outcome(book, late, after_s=30) is RejectReason.PENDING_EXPIRED
    assert outcome(book, step("void", Kind.VOID, PENDING), after_s=31) is Outcome.POSTED


def test_no_more_than_what_is_pending_is_posted() -> None:
    book = funded(PENDING)
    assert outcome(book, step("p", Kind.POST, PENDING, 61)) is RejectReason.EXCEEDS_PENDING
    assert book.holds[PENDING.transaction_id].state is HoldState.OPEN


def test_a_step_on_what_is_not_there_or_another_tenants_is_told_the_same() -> None:
    book = funded(PENDING)
    nothing = transfer("never", "alice", "bob", 1)
    for kind, reason in (
        (Kind.POST, RejectReason.PENDING_UNKNOWN),
        (Kind.REVERSAL, RejectReason.REVERSAL_UNKNOWN),
    ):
        assert outcome(book, step(f"a{kind}", kind, nothing)) is reason
        foreign = step(f"b{kind}", kind, PENDING, tenant="thief")
        assert outcome(book, foreign) is reason
    # A transfer that moved at once is nothing pending, and a pending one has moved nothing.
    fund = transfer("fund", "external:bank", "alice", 100)
    assert outcome(book, step("c", Kind.VOID, fund)) is RejectReason.PENDING_UNKNOWN
    assert outcome(book, step("d", Kind.REVERSAL, PENDING)) is RejectReason.REVERSAL_UNKNOWN


def test_a_reversal_moves_the_money_back_once() -> None:
    paid = transfer("paid", "alice", "bob", 70)
    book = funded(paid)
    back = step("back", Kind.REVERSAL, paid)
    decision = decide([back], book, now_ns=T0_NS)[0]
    assert [(one.account_id, one.amount_minor) for one in decision.entries] == [
        ("bob", -70),
        ("alice", 70),
    ]
    assert book.accounts[ALICE].balance_minor == 100
    assert outcome(book, step("again", Kind.REVERSAL, paid)) is RejectReason.ALREADY_REVERSED
    # A reversal is final: what it moved back is moved anew by a transfer.
    assert outcome(book, step("undo", Kind.REVERSAL, back)) is RejectReason.REVERSAL_UNKNOWN


def test_a_reversal_respects_limits_and_what_is_reserved() -> None:
    paid = transfer("paid", "alice", "bob", 70)
    book = funded(paid, transfer("hold2", "bob", "carol", 10, expires_in_s=9))
    back = step("back", Kind.REVERSAL, paid)
    assert outcome(book, back) is RejectReason.INSUFFICIENT_FUNDS
    assert book.accounts["shop", "bob"].balance_minor == 70


def test_what_was_posted_of_a_pending_transfer_can_be_reversed() -> None:
    post = step("post", Kind.POST, PENDING, 25)
    book = funded(PENDING, post)
    assert outcome(book, step("back", Kind.REVERSAL, post)) is Outcome.POSTED
    assert book.accounts[ALICE].balance_minor == 100


def test_a_whole_life_fits_into_one_batch() -> None:
    post = step("post", Kind.POST, PENDING)
    book = Book()
    run: list[Request] = [
        transfer("fund", "external:bank", "alice", 100),
        PENDING,
        post,
        step("back", Kind.REVERSAL, post),
    ]
    decisions = decide(run, book, now_ns=T0_NS)
    assert [one.outcome for one in decisions] == [Outcome.POSTED] * 4
    assert targets(run) == {PENDING.transaction_id, post.transaction_id}
    assert book.accounts[ALICE].balance_minor == 100


def test_a_step_asked_for_again_is_a_replay_and_another_under_its_key_a_conflict() -> None:
    book = funded(PENDING)
    post = step("post", Kind.POST, PENDING, 25)
    other = step("post", Kind.POST, PENDING, 26)
    decisions = decide([post, post, other], book, now_ns=T0_NS)
    assert [one.outcome for one in decisions] == [
        Outcome.POSTED,
        Outcome.REPLAYED,
        Outcome.CONFLICT,
    ]


@pytest.mark.parametrize(
    ("kind", "target", "body", "code", "field"),
    [
        (Kind.POST, "nope", None, "invalid_id", "id"),
        (Kind.POST, str(uuid.UUID(int=5)), {"amount_minor": 0}, "invalid_field", "amount_minor"),
        (
            Kind.POST,
            str(uuid.UUID(int=5)),
            {"amount_minor": None},
            "invalid_field",
            "amount_minor",
        ),
        (Kind.VOID, str(uuid.UUID(int=5)), {"amount_minor": 5}, "unknown_field", "amount_minor"),
        (Kind.REVERSAL, str(uuid.UUID(int=5)), {"why": "x"}, "unknown_field", "why"),
        (Kind.POST, str(uuid.UUID(int=5)), [], "invalid_body", ""),
        (Kind.EXPIRE, str(uuid.UUID(int=5)), None, "invalid_step", ""),
        (Kind.TRANSFER, str(uuid.UUID(int=5)), None, "invalid_step", ""),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_with_the_field(
    kind: Kind, target: str, body: object, code: str, field: str
) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        parse_step(tenant="shop", idempotency_key="k", kind=kind, target=target, body=body)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_sound_step_is_read() -> None:
    target = str(uuid.UUID(int=5))
    post = parse_step(
        tenant="shop", idempotency_key="k", kind=Kind.POST, target=target, body={"amount_minor": 7}
    )
    assert (post.target_id, post.amount_minor) == (uuid.UUID(int=5), 7)
    void = parse_step(tenant="shop", idempotency_key="k", kind=Kind.VOID, target=target, body=None)
    assert void.amount_minor is None
    assert void.fingerprint != post.fingerprint


def test_no_client_can_take_the_key_of_an_expiry() -> None:
    expiry = expire_step(tenant="shop", pending_id=uuid.UUID(int=5), attempt=0)
    with pytest.raises(InvalidTransferError):
        parse_step(
            tenant="shop",
            idempotency_key=expiry.idempotency_key,
            kind=Kind.VOID,
            target=str(uuid.UUID(int=5)),
            body=None,
        )
