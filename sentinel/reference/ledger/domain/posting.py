"""Double entry in two phases: a run of requests against accounts in memory.

Invariants, with b(a) the balance, d(a) and c(a) what pending transfers reserve, v(a) the version:

- every posted movement makes exactly two entries whose amounts sum to 0;
- b(a) = sum of a's entries = balance_after of a's last entry, and v(a) = number of a's entries;
- d(a) and c(a) are the sums of what a's open holds have left, and so never below 0;
- b(a) - d(a) >= 0 unless the account may go negative: what is reserved cannot be spent twice;
- |b(a)|, d(a) and c(a) are at most BALANCE_MINOR_MAX, and so are b(a) + c(a) and d(a) - b(a);
- a pending transfer is resolved once: posted, voided or expired; a movement is reversed once;
- a disbursement's hold, and what was posted of it, end by the disburser's own steps alone, and by no time;
- a transaction id is decided once: the same fingerprint again is a replay, another a conflict;
- a batch's key stands for one list of items: with another list, nothing of it is posted.

The rows behind the arguments are locked by the caller; here nothing waits and nothing is written,
so a whole batch costs one update an account, which is the remedy for hot accounts. The two phases
follow TigerBeetle's: pending reserves at once and so fails early, and each step is a new row.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.accounts import (
    BALANCE_MINOR_MAX,
    Account,
    Entry,
    open_account,
)
from sentinel.reference.ledger.domain.batch import Batch
from sentinel.reference.ledger.domain.disbursement import is_own
from sentinel.reference.ledger.domain.steps import Step
from sentinel.reference.ledger.domain.transfer import Kind, Transfer

Request = Transfer | Step
_S_NS: Final = 1_000_000_000


class Outcome(StrEnum):
    """What became of a request."""

    POSTED = "posted"
    REJECTED = "rejected"
    REPLAYED = "replayed"
    CONFLICT = "conflict"


class RejectReason(StrEnum):
    """Why a request was rejected."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    CURRENCY_MISMATCH = "currency_mismatch"
    BALANCE_LIMIT = "balance_limit"
    PENDING_UNKNOWN = "pending_unknown"
    PENDING_RESOLVED = "pending_resolved"
    PENDING_EXPIRED = "pending_expired"
    PENDING_NOT_EXPIRED = "pending_not_expired"
    EXCEEDS_PENDING = "exceeds_pending"
    REVERSAL_UNKNOWN = "reversal_unknown"
    ALREADY_REVERSED = "already_reversed"
    BELONGS_TO_DISBURSEMENT = "belongs_to_disbursement"


class HoldState(StrEnum):
    """Where a pending transfer stands."""

    OPEN = "open"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Money that goes, or went, from one account to another."""

    tenant: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str

    @property
    def keys(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The debit account's key, then the credit account's."""
        return (self.tenant, self.debit_account), (self.tenant, self.credit_account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A pending transfer that was granted; its time is over at `expires_ns`, unless a disbursement began with it.

    That one's money may be on its way to a bank at any time, and ends by what the bank says of it.
    """

    pending_id: uuid.UUID
    movement: Movement
    expires_ns: int
    state: HoldState = HoldState.OPEN
    resolved_by: uuid.UUID | None = None
    of_disbursement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A transfer or a post whose money has moved, and what reversed it; of which disbursement it was, if of any."""

    transaction_id: uuid.UUID
    movement: Movement
    reversed_by: uuid.UUID | None = None
    disbursement_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one request.

    `movement` is what it moves or reserves, of a step its target's; None when the target is not
    known. `entries` is empty unless money moved.
    """

    request: Request
    outcome: Outcome
    reason: RejectReason | None
    movement: Movement | None
    entries: tuple[Entry, ...] = ()


@dataclass(slots=True, kw_only=True)
class Book:
    """The rows that a batch is decided against, and which of them it changed.

    The caller fills in what the requests name, as it stands in the database; `decide` changes it.
    """

    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    holds: dict[uuid.UUID, Hold] = field(default_factory=dict)
    posted: dict[uuid.UUID, Posted] = field(default_factory=dict)
    decided: dict[uuid.UUID, str] = field(default_factory=dict)
    batches: dict[uuid.UUID, str] = field(default_factory=dict)
    changed_accounts: set[tuple[str, str]] = field(default_factory=set)
    changed_holds: set[uuid.UUID] = field(default_factory=set)


def targets(requests: Iterable[Request]) -> set[uuid.UUID]:
    """Return the earlier transactions that the requests' steps name."""
    return {request.target_id for request in requests if isinstance(request, Step)}


def decide(asked: Sequence[Request | Batch], book: Book, *, now_ns: int) -> list[Decision]:
    """Decide what was asked in order and bring `book` up to date.

    Args:
        asked: oldest first.
        book: every account that the requests or their targets name (a missing one is opened), the holds and posted
            movements their steps name, and the fingerprints of the transactions and batches that were decided before.
        now_ns: Unix time of the decision: pending transfers are granted from it and end by it.

    Returns:
        A decision for each request, in order; of a batch one for each of its items.
    """
    decisions: list[Decision] = []
    for one in asked:
        if contradicts(one, book):
            # As a whole: an item that the first list did not have is not asked for either.
            decisions += [
                Decision(request=item, outcome=Outcome.CONFLICT, reason=None, movement=None)
                for item in items_of(one)
            ]
            continue
        if isinstance(one, Batch):
            book.batches[one.batch_id] = one.fingerprint
        decisions += [_decide(item, book, now_ns) for item in items_of(one)]
    return decisions


def contradicts(asked: Request | Batch, book: Book) -> bool:
    """Say whether it is a batch whose key was used before, for another list."""
    return (
        isinstance(asked, Batch)
        and book.batches.get(asked.batch_id, asked.fingerprint) != asked.fingerprint
    )


def items_of(asked: Request | Batch) -> tuple[Request, ...]:
    """Return the requests to decide: one, or a batch's items in order."""
    return asked.items if isinstance(asked, Batch) else (asked,)


def _decide(request: Request, book: Book, now_ns: int) -> Decision:
    mark, transaction_id = request.fingerprint, request.transaction_id
    earlier = book.decided.get(transaction_id)
    if earlier is not None:
        outcome = Outcome.REPLAYED if earlier == mark else Outcome.CONFLICT
        return Decision(request=request, outcome=outcome, reason=None, movement=None)
    book.decided[transaction_id] = mark
    if isinstance(request, Transfer):
        return _transfer(request, book, now_ns)
    if request.kind is Kind.REVERSAL:
        return _reversal(request, book)
    return _resolution(request, book, now_ns)


def _transfer(request: Transfer, book: Book, now_ns: int) -> Decision:
    movement = Movement(
        tenant=request.tenant,
        debit_account=request.debit_account,
        credit_account=request.credit_account,
        amount_minor=request.amount_minor,
        currency=request.currency,
    )
    for account_id in (movement.debit_account, movement.credit_account):
        key = (movement.tenant, account_id)
        if key not in book.accounts:
            book.accounts[key] = open_account(
                tenant=movement.tenant, account_id=account_id, currency=movement.currency
            )
    reserves = request.expires_in_s is not None
    reason = _hindrance(movement, book, reserves=reserves)
    if reason is not None:
        return _rejected(request, reason, movement)
    if request.expires_in_s is None:
        entries = _move(request.transaction_id, movement, book)
        book.posted[request.transaction_id] = Posted(
            transaction_id=request.transaction_id, movement=movement
        )
        return _granted(request, movement, entries)
    _reserve(movement, book, sign=1)
    book.holds[request.transaction_id] = Hold(
        pending_id=request.transaction_id,
        movement=movement,
        expires_ns=now_ns + request.expires_in_s * _S_NS,
        of_disbursement=request.payee is not None,
    )
    book.changed_holds.add(request.transaction_id)
    return _granted(request, movement, ())


def _resolution(request: Step, book: Book, now_ns: int) -> Decision:
    hold = book.holds.get(request.target_id)
    # A foreign tenant's is as unknown as one that never was: nothing is told of it.
    if hold is None or hold.movement.tenant != request.tenant:
        return _rejected(request, RejectReason.PENDING_UNKNOWN, None)
    amount = hold.movement.amount_minor if request.amount_minor is None else request.amount_minor
    movement = replace(hold.movement, amount_minor=amount)
    reason = _stale(hold, request, now_ns)
    if reason is None and amount > hold.movement.amount_minor:
        reason = RejectReason.EXCEEDS_PENDING
    if reason is not None:
        return _rejected(request, reason, movement)
    # What was reserved is free again before part of it is moved, so the move cannot lack funds.
    _reserve(hold.movement, book, sign=-1)
    states = {
        Kind.POST: HoldState.POSTED,
        Kind.VOID: HoldState.VOIDED,
        Kind.EXPIRE: HoldState.EXPIRED,
    }
    book.holds[hold.pending_id] = replace(
        hold, state=states[request.kind], resolved_by=request.transaction_id
    )
    book.changed_holds.add(hold.pending_id)
    if request.kind is not Kind.POST:
        return _granted(request, movement, ())
    entries = _move(request.transaction_id, movement, book)
    book.posted[request.transaction_id] = Posted(
        transaction_id=request.transaction_id,
        movement=movement,
        disbursement_id=hold.pending_id if hold.of_disbursement else None,
    )
    return _granted(request, movement, entries)


def _stale(hold: Hold, request: Step, now_ns: int) -> RejectReason | None:
    """Return why a hold cannot be resolved by this step, if it cannot."""
    if hold.of_disbursement and not is_own(request, hold.pending_id):
        return RejectReason.BELONGS_TO_DISBURSEMENT
    if hold.state is not HoldState.OPEN:
        return RejectReason.PENDING_RESOLVED
    over = now_ns >= hold.expires_ns and not hold.of_disbursement
    if request.kind is Kind.EXPIRE:
        return None if over else RejectReason.PENDING_NOT_EXPIRED
    # A void returns the same money whether it is late or not.
    return RejectReason.PENDING_EXPIRED if over and request.kind is Kind.POST else None


def _reversal(request: Step, book: Book) -> Decision:
    posted = book.posted.get(request.target_id)
    if posted is None or posted.movement.tenant != request.tenant:
        return _rejected(request, RejectReason.REVERSAL_UNKNOWN, None)
    back = replace(
        posted.movement,
        debit_account=posted.movement.credit_account,
        credit_account=posted.movement.debit_account,
    )
    reason: RejectReason | None
    if posted.disbursement_id is not None and not is_own(request, posted.disbursement_id):
        reason = RejectReason.BELONGS_TO_DISBURSEMENT
    elif posted.reversed_by is not None:
        reason = RejectReason.ALREADY_REVERSED
    else:
        reason = _hindrance(back, book, reserves=False)
    if reason is not None:
        return _rejected(request, reason, back)
    book.posted[posted.transaction_id] = replace(posted, reversed_by=request.transaction_id)
    return _granted(request, back, _move(request.transaction_id, back, book))


def _hindrance(movement: Movement, book: Book, *, reserves: bool) -> RejectReason | None:
    """Return what stands against moving or reserving the amount, if anything does."""
    debit, credit = (book.accounts[key] for key in movement.keys)
    if movement.currency != debit.currency or movement.currency != credit.currency:
        return RejectReason.CURRENCY_MISMATCH
    after = debit.available_minor - movement.amount_minor
    if after < 0 and not debit.allow_negative:
        return RejectReason.INSUFFICIENT_FUNDS
    ceiling = credit.balance_minor + credit.credits_pending_minor + movement.amount_minor
    if after < -BALANCE_MINOR_MAX or ceiling > BALANCE_MINOR_MAX:
        return RejectReason.BALANCE_LIMIT
    # Beside a balance far on the other side of zero a sum of what is reserved has room for twice the limit: more than the
    # database's numbers hold, which would refuse all that is decided with it.
    pending = max(debit.debits_pending_minor, credit.credits_pending_minor)
    if reserves and pending + movement.amount_minor > BALANCE_MINOR_MAX:
        return RejectReason.BALANCE_LIMIT
    return None


def _reserve(movement: Movement, book: Book, *, sign: int) -> None:
    """Reserve the amount with sign 1, return it with -1."""
    debit, credit = movement.keys
    amount = sign * movement.amount_minor
    one = book.accounts[debit]
    book.accounts[debit] = replace(one, debits_pending_minor=one.debits_pending_minor + amount)
    one = book.accounts[credit]
    book.accounts[credit] = replace(one, credits_pending_minor=one.credits_pending_minor + amount)
    book.changed_accounts.update((debit, credit))


def _move(transaction_id: uuid.UUID, movement: Movement, book: Book) -> tuple[Entry, ...]:
    entries = []
    amounts = (-movement.amount_minor, movement.amount_minor)
    for leg, (key, amount) in enumerate(zip(movement.keys, amounts, strict=True)):
        account = book.accounts[key]
        after = replace(
            account, balance_minor=account.balance_minor + amount, version=account.version + 1
        )
        book.accounts[key] = after
        book.changed_accounts.add(key)
        entries.append(
            Entry(
                transaction_id=transaction_id,
                leg=leg,
                tenant=after.tenant,
                account_id=after.account_id,
                amount_minor=amount,
                balance_after_minor=after.balance_minor,
                account_version=after.version,
            )
        )
    return tuple(entries)


def _granted(request: Request, movement: Movement, entries: tuple[Entry, ...]) -> Decision:
    return Decision(
        request=request, outcome=Outcome.POSTED, reason=None, movement=movement, entries=entries
    )


def _rejected(request: Request, reason: RejectReason, movement: Movement | None) -> Decision:
    return Decision(request=request, outcome=Outcome.REJECTED, reason=reason, movement=movement)
