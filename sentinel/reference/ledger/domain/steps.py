"""Steps on an earlier transaction: post, void or expire a pending one, reverse a posted one.

Nothing that was decided is ever changed: each step is a transaction of its own that names its target.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sentinel.reference.ledger.domain import identity
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import (
    AMOUNT_MINOR_MAX,
    Kind,
    check_amount,
    check_key,
    check_tenant,
)

STEP_KINDS: Final = frozenset({Kind.POST, Kind.VOID, Kind.EXPIRE, Kind.REVERSAL})
# What is asked over HTTP: the ledger itself alone expires.
_ASKED: Final = frozenset({Kind.POST, Kind.VOID, Kind.REVERSAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `amount_minor` is for `post` alone, and without it all that is pending is posted."""

    tenant: str
    idempotency_key: str
    kind: Kind
    target_id: uuid.UUID
    amount_minor: int | None = None
    # Derived once, as a transfer's: the id from tenant and idempotency key, the mark from all that is asked.
    transaction_id: uuid.UUID = field(init=False, compare=False, repr=False)
    fingerprint: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a step that no rule speaks of; derive id and mark."""
        if self.kind not in STEP_KINDS:
            message = f"{self.kind.value} is no step on an earlier transaction"
            raise ValueError(message)
        if self.amount_minor is not None and (
            self.kind is not Kind.POST or not 0 < self.amount_minor <= AMOUNT_MINOR_MAX
        ):
            message = f"no amount of {self.amount_minor} can be given for {self.kind.value}"
            raise ValueError(message)
        object.__setattr__(
            self,
            "transaction_id",
            identity.transaction_id(tenant=self.tenant, idempotency_key=self.idempotency_key),
        )
        mark = identity.mark(
            self.tenant,
            self.idempotency_key,
            self.kind.value,
            str(self.target_id),
            "" if self.amount_minor is None else str(self.amount_minor),
        )
        object.__setattr__(self, "fingerprint", mark)


def parse_step(
    *, tenant: str, idempotency_key: str, kind: Kind, target: str, body: object
) -> Step:
    """Return the step that a request on the transaction `target` asks for.

    Args:
        tenant: who asks.
        idempotency_key: the request's key.
        kind: post, void or reversal.
        target: the id in the request's path.
        body: the decoded JSON body, None when there was none. Post alone takes `amount_minor`.

    Raises:
        InvalidTransferError: a header, the path or a field is wrong; the first found is named.
    """
    check_tenant(tenant)
    check_key(idempotency_key)
    if kind not in _ASKED:
        raise InvalidTransferError(
            code="invalid_step", field="", message="No such step on a transaction."
        )
    try:
        target_id = uuid.UUID(target)
    except ValueError:
        raise InvalidTransferError(
            code="invalid_id", field="id", message="A transaction's id is a UUID."
        ) from None
    fields: Mapping[object, object] = {}
    if isinstance(body, Mapping):
        fields = body
    elif body is not None:
        raise InvalidTransferError(
            code="invalid_body", field="", message="The body must be a JSON object."
        )
    known = {"amount_minor"} if kind is Kind.POST else set()
    unknown = sorted(str(name) for name in fields.keys() - known)
    if unknown:
        raise InvalidTransferError(
            code="unknown_field",
            field=unknown[0][:64],
            message="The body has a field that is not known.",
        )
    amount = check_amount(fields["amount_minor"]) if "amount_minor" in fields else None
    return Step(
        tenant=tenant,
        idempotency_key=idempotency_key,
        kind=kind,
        target_id=target_id,
        amount_minor=amount,
    )


def expire_step(*, tenant: str, pending_id: uuid.UUID, attempt: int) -> Step:
    """Return the step by which the ledger itself expires a pending transfer.

    Its key is derived, so several posters that notice the same one ask for one transaction. What
    was decided stays so, and by the clock of whoever decides it may be too early: hence attempts,
    counted from 0. No client can take the key first, for a client's may not hold a space.
    """
    return Step(
        tenant=tenant,
        idempotency_key=f"expire {pending_id} {attempt}",
        kind=Kind.EXPIRE,
        target_id=pending_id,
    )
