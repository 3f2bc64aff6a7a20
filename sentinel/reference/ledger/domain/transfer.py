"""A transfer as asked for: validation, derived identity, fingerprint."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain import identity
from sentinel.reference.ledger.domain.errors import InvalidTransferError

KEY_LENGTH_MAX: Final = 255
# Integers above 2**53 are silently rounded by JSON readers that use doubles.
AMOUNT_MINOR_MAX: Final = 2**53 - 1
EXPIRES_IN_S_MAX: Final = 90 * 86_400

# Whole texts, in the syntax that regular expressions of other languages share.
IDEMPOTENCY_KEY: Final = r"[\x21-\x7e]+"
ACCOUNT_ID: Final = r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,63}"
CURRENCY_CODE: Final = r"[A-Z]{3}"

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY: Final = re.compile(IDEMPOTENCY_KEY)
_ACCOUNT: Final = re.compile(ACCOUNT_ID)
_CURRENCY: Final = re.compile(CURRENCY_CODE)
_FIELDS: Final = frozenset(
    {"debit_account", "credit_account", "amount_minor", "currency", "expires_in_s"}
)


class Kind(StrEnum):
    """What a transaction does."""

    TRANSFER = "transfer"  # moves money at once
    PENDING = "pending"  # reserves it
    POST = "post"  # moves what was reserved, or part of it, and returns the rest
    VOID = "void"  # returns what was reserved
    EXPIRE = "expire"  # the same, because its time was over
    REVERSAL = "reversal"  # moves back what was moved


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """An item's batch and its place in it, counted from 0."""

    batch_id: uuid.UUID
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """Who is paid over a bank's rail, as the rail needs it."""

    account: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One movement of `amount_minor` from the debit account to the credit account.

    With `expires_in_s` it is pending: the amount is reserved, for so many seconds at most.
    """

    tenant: str
    idempotency_key: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    expires_in_s: int | None = None
    batch: BatchItem | None = None
    payee: Payee | None = None
    # Derived once, for each is asked for again and again on its way: the id from tenant and idempotency key, an item's from
    # its batch and place; the mark, 32 hex digits, differs when the same key is used for another body.
    transaction_id: uuid.UUID = field(init=False, compare=False, repr=False)
    fingerprint: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Derive id and mark."""
        object.__setattr__(self, "transaction_id", self._derived_id())
        object.__setattr__(self, "fingerprint", self._mark())

    @property
    def kind(self) -> Kind:
        """Whether it moves money at once or reserves it."""
        return Kind.TRANSFER if self.expires_in_s is None else Kind.PENDING

    def _derived_id(self) -> uuid.UUID:
        if self.batch is not None:
            return identity.item_id(self.batch.batch_id, self.batch.place)
        return identity.transaction_id(tenant=self.tenant, idempotency_key=self.idempotency_key)

    def _mark(self) -> str:
        parts = [
            self.tenant,
            self.idempotency_key,
            self.debit_account,
            self.credit_account,
            str(self.amount_minor),
            self.currency,
        ]
        # Only where there is something to say: marks that were made before pending transfers hold.
        if self.expires_in_s is not None:
            parts.append(f"pending {self.expires_in_s}")
        if self.batch is not None:
            parts.append(f"item {self.batch.place}")
        if self.payee is not None:
            parts += [f"payee {self.payee.account}", self.payee.name]
        return identity.mark(*parts)


def parse_transfer(
    *, tenant: str, idempotency_key: str, body: object, batch: BatchItem | None = None
) -> Transfer:
    """Return the transfer that a decoded JSON body asks for.

    Args:
        tenant: who asks.
        idempotency_key: the request's key, an item's batch's.
        body: an object of accounts, amount and currency; with `expires_in_s` it is pending.
        batch: where in which batch it stands, for an item.

    Raises:
        InvalidTransferError: a header or field is missing, unknown, of the wrong type, or out of
            range; the fields that are wrong are all named, the first by the error itself.
    """
    check_tenant(tenant)
    check_key(idempotency_key)
    if not isinstance(body, Mapping):
        raise _invalid(code="invalid_body", field="", message="The body must be a JSON object.")
    unknown = sorted(str(name) for name in body.keys() - _FIELDS)
    if unknown:
        raise _invalid(
            code="unknown_field",
            field=unknown[0][:64],
            message="The body has a field that is not known.",
        )
    try:
        debit = _account(body, "debit_account")
        credit = _account(body, "credit_account")
        if debit == credit:
            raise _invalid(
                code="same_account",
                field="credit_account",
                message="Debit and credit account must be different.",
            )
        return Transfer(
            tenant=tenant,
            idempotency_key=idempotency_key,
            debit_account=debit,
            credit_account=credit,
            amount_minor=check_amount(body.get("amount_minor")),
            currency=_currency(body),
            expires_in_s=_expires_in_s(body),
            batch=batch,
        )
    except InvalidTransferError as error:
        # Looked for only now: what is right, which is nearly all, does not pay for it.
        others = [other for other in _faults(body) if other.field != error.field]
        raise _invalid(
            code=error.code, field=error.field, message=error.message, others=others
        ) from None


def _faults(body: Mapping[object, object]) -> list[InvalidTransferError]:
    """Return what is wrong with each field by itself."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: _account(body, "debit_account"),
        lambda: _account(body, "credit_account"),
        lambda: check_amount(body.get("amount_minor")),
        lambda: _currency(body),
        lambda: _expires_in_s(body),
    )
    faults = []
    for check in checks:
        try:
            check()
        except InvalidTransferError as error:
            faults.append(error)
    return faults


def check_tenant(tenant: str) -> None:
    """Raise InvalidTransferError unless `tenant` is a well-formed tenant name."""
    if not _TENANT.fullmatch(tenant):
        raise _invalid(
            code="invalid_tenant",
            field="X-Tenant",
            message="X-Tenant must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit.",
        )


def check_key(idempotency_key: str) -> None:
    """Raise InvalidTransferError unless the idempotency key is printable ASCII and short."""
    if len(idempotency_key) > KEY_LENGTH_MAX or not _KEY.fullmatch(idempotency_key):
        raise _invalid(
            code="invalid_idempotency_key",
            field="Idempotency-Key",
            message=f"Idempotency-Key must be 1 to {KEY_LENGTH_MAX} printable ASCII characters, no spaces.",
        )


def check_amount(amount: object) -> int:
    """Return the amount in minor units, or raise InvalidTransferError."""
    # bool is an int in Python, and `true` is no amount.
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise _invalid(
            code="invalid_field",
            field="amount_minor",
            message="amount_minor must be an integer of minor units.",
        )
    if not 0 < amount <= AMOUNT_MINOR_MAX:
        raise _invalid(
            code="invalid_field",
            field="amount_minor",
            message=f"amount_minor must be 1 to {AMOUNT_MINOR_MAX}.",
        )
    return amount


def is_account_id(text: str) -> bool:
    """Say whether `text` could name an account."""
    return _ACCOUNT.fullmatch(text) is not None


def _account(body: Mapping[object, object], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not is_account_id(value):
        raise _invalid(
            code="invalid_field",
            field=field,
            message=f"{field} must be 1 to 64 of letters, digits and : _ . -, "
            "beginning with a letter or digit.",
        )
    return value


def _currency(body: Mapping[object, object]) -> str:
    value = body.get("currency")
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise _invalid(
            code="invalid_field",
            field="currency",
            message="currency must be three capital letters, as in ISO 4217.",
        )
    return value


def _expires_in_s(body: Mapping[object, object]) -> int | None:
    if "expires_in_s" not in body:
        return None
    value = body["expires_in_s"]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= EXPIRES_IN_S_MAX:
        raise _invalid(
            code="invalid_field",
            field="expires_in_s",
            message=f"expires_in_s must be an integer of 1 to {EXPIRES_IN_S_MAX} seconds.",
        )
    return value


def _invalid(
    *, code: str, field: str, message: str, others: Sequence[InvalidTransferError] = ()
) -> InvalidTransferError:
    return InvalidTransferError(code=code, field=field, message=message, others=others)
