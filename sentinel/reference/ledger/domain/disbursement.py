"""Paying out: money that leaves over a bank's rail, which says later what became of it.

A disbursement reserves its amount (a pending transfer to the rail's account), is handed to the rail under an id
of its own, and ends by what the rail says: settled, and the pending transfer is posted; returned, and it is
voided; returned after it had settled, and what was posted is reversed. Each of these is a request with a
derived key, so whoever tells of it twice changes nothing.

    requested ──► submitted ──► settled ──► returned_late
        │             │
        └──► refused  └──► returned

`refused` is the rail's word before it took anything: the account cannot be one, the amount is over its limit.

Nobody else may end what it has reserved or take back what it has moved, neither its tenant nor a time: the bank pays whether or
not the books still have the money. So nothing is free again before the bank has spoken.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.steps import Step
from sentinel.reference.ledger.domain.transfer import Kind, Payee, Transfer, parse_transfer


class DisbursementState(StrEnum):
    """Where a disbursement stands."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    REFUSED = "refused"
    SETTLED = "settled"
    RETURNED = "returned"
    RETURNED_LATE = "returned_late"


class ReturnCode(StrEnum):
    """Why a bank sends money back; the two letters are this rail's own, the meanings those of any."""

    ACCOUNT_CLOSED = "AC"
    ACCOUNT_UNKNOWN = "AU"
    NAME_MISMATCH = "NM"
    BENEFICIARY_REFUSES = "BR"
    AMOUNT_OVER_LIMIT = "AL"
    CURRENCY_NOT_HELD = "CN"
    NOT_AUTHORISED = "NA"
    BANK_UNREACHABLE = "BU"


RAIL_ACCOUNT: Final = "external:rail"
RAIL_TIME_S: Final = 30 * 86_400
"""What its pending transfer says of its end, as each must say something; it ends by the rail's word, however late."""

OWN_KEYS: Final = "disburse "
"""How the keys of its steps begin; with a space, which no client's key may hold."""

PAYEE_ACCOUNT: Final = r"[A-Z0-9][A-Z0-9-]{3,33}"
PAYEE_NAME_LENGTH_MAX: Final = 70

_FIELDS: Final = frozenset({"debit_account", "amount_minor", "currency", "payee"})
_ACCOUNT: Final = re.compile(PAYEE_ACCOUNT)
# No control characters: names stand in tables and logs.
_NAME: Final = re.compile(rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{{1,{PAYEE_NAME_LENGTH_MAX}}}")


class RailWord(StrEnum):
    """What a rail says of a payment."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    SETTLED = "settled"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disbursement:
    """One payment out; `posted_id` is set once it was settled, `return_code` once it came back."""

    pending_id: uuid.UUID
    tenant: str
    payee: Payee
    amount_minor: int
    currency: str
    state: DisbursementState = DisbursementState.REQUESTED
    return_code: ReturnCode | None = None

    @property
    def post_step(self) -> Step:
        """The step that moves its money; derived, so it is the same whenever it is asked for."""
        return self._step(Kind.POST, self.pending_id)

    @property
    def due_step(self) -> Step | None:
        """The step that its state calls for; None while the rail's word is awaited."""
        kind = STEP_OF.get(self.state)
        if kind is None:
            return None
        on_post = kind is Kind.REVERSAL
        return self._step(kind, self.post_step.transaction_id if on_post else self.pending_id)

    def was_ended_by_another(self, resolved_by: uuid.UUID) -> bool:
        """Say whether what ended its pending transfer was no step of its own."""
        own = (self._step(kind, self.pending_id) for kind in (Kind.POST, Kind.VOID))
        return resolved_by not in {step.transaction_id for step in own}

    def _step(self, kind: Kind, target_id: uuid.UUID) -> Step:
        return Step(
            tenant=self.tenant,
            idempotency_key=own_key(kind, self.pending_id),
            kind=kind,
            target_id=target_id,
        )


def own_key(kind: Kind, pending_id: uuid.UUID) -> str:
    """Return the key of a disbursement's own step, which no client's could be."""
    return f"{OWN_KEYS}{kind.value} {pending_id}"


def is_own(step: Step, pending_id: uuid.UUID) -> bool:
    """Say whether a step is the disbursement's own."""
    return step.idempotency_key == own_key(step.kind, pending_id)


_NEXT: Final[dict[tuple[DisbursementState, RailWord], DisbursementState]] = {
    (DisbursementState.REQUESTED, RailWord.ACCEPTED): DisbursementState.SUBMITTED,
    (DisbursementState.REQUESTED, RailWord.REFUSED): DisbursementState.REFUSED,
    # An answer that was lost: the rail has gone on meanwhile.
    (DisbursementState.REQUESTED, RailWord.SETTLED): DisbursementState.SETTLED,
    (DisbursementState.REQUESTED, RailWord.RETURNED): DisbursementState.RETURNED,
    (DisbursementState.SUBMITTED, RailWord.SETTLED): DisbursementState.SETTLED,
    (DisbursementState.SUBMITTED, RailWord.RETURNED): DisbursementState.RETURNED,
    (DisbursementState.SETTLED, RailWord.RETURNED): DisbursementState.RETURNED_LATE,
}
STEP_OF: Final = {
    DisbursementState.REFUSED: Kind.VOID,
    DisbursementState.SETTLED: Kind.POST,
    DisbursementState.RETURNED: Kind.VOID,
    DisbursementState.RETURNED_LATE: Kind.REVERSAL,
}
"""What each word of the rail's does on the ledger."""
TRANSITIONS: Final = frozenset((before.value, after.value) for (before, _), after in _NEXT.items())
"""From which state to which a rail's words can bring one."""


def hear(
    disbursement: Disbursement, word: RailWord, return_code: ReturnCode | None = None
) -> tuple[Disbursement, Step | None]:
    """Take in what the rail says.

    Args:
        disbursement: as it stands.
        word: what the rail says.
        return_code: why, of `refused` and `returned`.

    Returns:
        How it stands now, and the step on the ledger that follows from it; the same and None when the word
        is not news. After a word that is not news the rail may have said others that were lost: it is
        asked for the whole state, and says the last word only.

    Raises:
        ValueError: a return without a code, or another word with one.
    """
    if (return_code is not None) != (word in (RailWord.REFUSED, RailWord.RETURNED)):
        message = f"a rail's word {word.value} with the return code {return_code}"
        raise ValueError(message)
    state = _NEXT.get((disbursement.state, word))
    if state is None:
        return disbursement, None
    after = replace(disbursement, state=state, return_code=return_code)
    return after, after.due_step


def parse_disbursement(*, tenant: str, idempotency_key: str, body: object) -> Transfer:
    """Return the pending transfer that a disbursement begins with.

    Args:
        tenant: who asks.
        idempotency_key: the request's key.
        body: `{"debit_account", "amount_minor", "currency", "payee": {"account", "name"}}`.

    Raises:
        InvalidTransferError: a header or field is wrong; the first fault found is named.
    """
    if not isinstance(body, Mapping):
        raise InvalidTransferError(
            code="invalid_body", field="", message="The body must be a JSON object."
        )
    unknown = sorted(str(name) for name in body.keys() - _FIELDS)
    if unknown:
        raise InvalidTransferError(
            code="unknown_field",
            field=unknown[0][:64],
            message="The body has a field that is not known.",
        )
    payee = parse_payee(body.get("payee"))
    transfer = parse_transfer(
        tenant=tenant,
        idempotency_key=idempotency_key,
        body={
            **{name: value for name, value in body.items() if name != "payee"},
            "credit_account": RAIL_ACCOUNT,
            "expires_in_s": RAIL_TIME_S,
        },
    )
    return replace(transfer, payee=payee)


def parse_payee(value: object) -> Payee:
    """Return who is paid, or raise InvalidTransferError."""
    if not isinstance(value, Mapping) or value.keys() != {"account", "name"}:
        raise InvalidTransferError(
            code="invalid_field",
            field="payee",
            message="payee must be an object of account and name, and nothing else.",
        )
    account, name = value["account"], value["name"]
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise InvalidTransferError(
            code="invalid_field",
            field="payee.account",
            message="payee.account must be 4 to 34 of A-Z, 0-9 and -, as in ISO 13616.",
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidTransferError(
            code="invalid_field",
            field="payee.name",
            message="payee.name must be 1 to 70 printable characters.",
        )
    return Payee(account=account, name=name)
