"""A transfer as asked for: validation, derived identity, fingerprint.

The edge answers before anything is posted, so the transaction's id cannot come from the
database: it is derived from tenant and idempotency key, and a replay gets the same one.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.errors import InvalidTransferError

KEY_LENGTH_MAX: Final = 255
# Integers above 2**53 are silently rounded by JSON readers that use doubles.
AMOUNT_MINOR_MAX: Final = 2**53 - 1

_NAMESPACE: Final = uuid.UUID("8d9f3c52-6a0b-5b8e-9c1d-2f6f7a4c1e90")
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY: Final = re.compile(r"[\x21-\x7e]+")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,63}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_FIELDS: Final = frozenset({"debit_account", "credit_account", "amount_minor", "currency"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One movement of `amount_minor` from the debit account to the credit account."""

    tenant: str
    idempotency_key: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str

    @property
    def transaction_id(self) -> uuid.UUID:
        """The id derived from tenant and idempotency key."""
        return transaction_id(tenant=self.tenant, idempotency_key=self.idempotency_key)


def parse_transfer(*, tenant: str, idempotency_key: str, body: object) -> Transfer:
    """Return the transfer that a decoded JSON body asks for.

    Raises:
        InvalidTransferError: a header or field is missing, unknown, of the wrong type, or out of
            range; the first fault found is named.
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
    debit = _account(body, "debit_account")
    credit = _account(body, "credit_account")
    if debit == credit:
        raise _invalid(
            code="same_account",
            field="credit_account",
            message="Debit and credit account must be different.",
        )
    amount = body.get("amount_minor")
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
    currency = body.get("currency")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _invalid(
            code="invalid_field",
            field="currency",
            message="currency must be three capital letters, as in ISO 4217.",
        )
    return Transfer(
        tenant=tenant,
        idempotency_key=idempotency_key,
        debit_account=debit,
        credit_account=credit,
        amount_minor=amount,
        currency=currency,
    )


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


def is_account_id(text: str) -> bool:
    """Say whether `text` could name an account."""
    return _ACCOUNT.fullmatch(text) is not None


def transaction_id(*, tenant: str, idempotency_key: str) -> uuid.UUID:
    """Return the transaction's id, the same for every replay of the same key.

    A tenant holds no colon, so no two pairs make the same name.

    >>> transaction_id(tenant="shop", idempotency_key="order-1").version
    5
    """
    return uuid.uuid5(_NAMESPACE, f"{tenant}:{idempotency_key}")


def fingerprint(transfer: Transfer) -> str:
    """Return 32 hex digits that differ when the same key is used for another body."""
    parts = (
        transfer.tenant,
        transfer.idempotency_key,
        transfer.debit_account,
        transfer.credit_account,
        str(transfer.amount_minor),
        transfer.currency,
    )
    # No field can hold a newline, so the joined text is unambiguous.
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


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


def _invalid(*, code: str, field: str, message: str) -> InvalidTransferError:
    return InvalidTransferError(code=code, field=field, message=message)
