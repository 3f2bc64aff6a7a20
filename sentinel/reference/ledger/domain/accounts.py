"""An account's state, its entries, and how it is opened.

A balance is money that has moved. What is reserved by pending transfers stands beside it: money
that will leave, and money that may come. Only the first is withheld from its owner.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

EXTERNAL_PREFIX: Final = "external:"
# PostgreSQL's bigint ends at 2**63 - 1; a balance stops well before, and says so.
BALANCE_MINOR_MAX: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account's state; `version` counts its entries."""

    tenant: str
    account_id: str
    currency: str
    balance_minor: int
    allow_negative: bool
    version: int
    debits_pending_minor: int = 0
    credits_pending_minor: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The pair that names the account."""
        return (self.tenant, self.account_id)

    @property
    def available_minor(self) -> int:
        """What may still be spent: the balance without what pending transfers have reserved."""
        return self.balance_minor - self.debits_pending_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a posted movement: debits are negative, credits positive."""

    transaction_id: uuid.UUID
    leg: int
    tenant: str
    account_id: str
    amount_minor: int
    balance_after_minor: int
    account_version: int


def open_account(*, tenant: str, account_id: str, currency: str) -> Account:
    """Return an account as it is opened by the first transfer that names it.

    It takes that transfer's currency. Accounts called `external:...` stand for the world outside
    the ledger, where money comes from and goes to, and are the only ones that may go negative.
    """
    return Account(
        tenant=tenant,
        account_id=account_id,
        currency=currency,
        balance_minor=0,
        allow_negative=account_id.startswith(EXTERNAL_PREFIX),
        version=0,
    )
