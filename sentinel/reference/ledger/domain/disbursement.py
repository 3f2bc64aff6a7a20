"""Paying out: money that leaves over a bank's rail, which says later what became of it.

A disbursement reserves its amount (a pending transfer to the rail's account), is handed to the rail under an id
of its own, and ends by what the rail says: settled, and the pending transfer is posted; returned, and it is
voided; returned after it had settled, and what was posted is reversed. Each of these is a request with a
derived key, so whoever tells of it twice changes nothing.

    requested ──► submitted ──► settled ──► returned_late
        │             │
        └──► refused  └──► returned

`refused` is the rail's word before it took anything: the account cannot be one, the amount is over its limit.
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
"""How long money is reserved for a rail that says nothing; then it is free again."""

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
        return self.step(Kind.POST, self.pending_id)

    def step(self, kind: Kind, target_id: uuid.UUID) -> Step:
        """Return a step of its own on one of its transactions."""
        return Step(
            tenant=self.tenant,
            idempotency_key=f"{OWN_KEYS}{kind.value} {self.pending_id}",
            kind=kind,
            target_id=target_id,
        )


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
    match state:
        case DisbursementState.SETTLED:
            return after, after.post_step
        case DisbursementState.REFUSED | DisbursementState.RETURNED:
            return after, after.step(Kind.VOID, after.pending_id)
        case DisbursementState.RETURNED_LATE:
            return after, after.step(Kind.REVERSAL, after.post_step.transaction_id)
        case _:
            return after, None


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
