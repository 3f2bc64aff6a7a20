"""Double entry: a run of transfers against in-memory balances.

Invariants, with b(a) the balance and v(a) the version of account a:

- every posted transfer makes exactly two entries whose amounts sum to 0;
- b(a) = sum of a's entries = balance_after of a's last entry, and v(a) = number of a's entries;
- b(a) >= 0 unless the account may go negative;
- a transaction id is decided once: the same fingerprint again is a replay, another a conflict.

The rows behind `accounts` are locked by the caller; here nothing waits and nothing is written, so
a whole batch costs one update an account, which is the remedy for hot accounts.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.transfer import Transfer, fingerprint

EXTERNAL_PREFIX: Final = "external:"
# PostgreSQL's bigint ends at 2**63 - 1; a balance stops well before, and says so.
BALANCE_MINOR_MAX: Final = 2**62


class Outcome(StrEnum):
    """What became of a transfer."""

    POSTED = "posted"
    REJECTED = "rejected"
    REPLAYED = "replayed"
    CONFLICT = "conflict"


class RejectReason(StrEnum):
    """Why a transfer was rejected."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    CURRENCY_MISMATCH = "currency_mismatch"
    BALANCE_LIMIT = "balance_limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account's state; `version` counts its entries."""

    tenant: str
    account_id: str
    currency: str
    balance_minor: int
    allow_negative: bool
    version: int

    @property
    def key(self) -> tuple[str, str]:
        """The pair that names the account."""
        return (self.tenant, self.account_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a posted transfer: debits are negative, credits positive."""

    transaction_id: uuid.UUID
    leg: int
    tenant: str
    account_id: str
    amount_minor: int
    balance_after_minor: int
    account_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one transfer; `entries` is empty unless it was posted."""

    transfer: Transfer
    fingerprint: str
    outcome: Outcome
    reason: RejectReason | None
    entries: tuple[Entry, ...]


def opening_account(transfer: Transfer, account_id: str) -> Account:
    """Return the account as it is opened by the first transfer that names it.

    It takes that transfer's currency. Accounts called `external:...` stand for the world outside
    the ledger, where money comes from and goes to, and are the only ones that may go negative.
    """
    return Account(
        tenant=transfer.tenant,
        account_id=account_id,
        currency=transfer.currency,
        balance_minor=0,
        allow_negative=account_id.startswith(EXTERNAL_PREFIX),
        version=0,
    )


def post_transfers(
    transfers: Sequence[Transfer],
    *,
    accounts: Mapping[tuple[str, str], Account],
    decided: Mapping[uuid.UUID, str],
) -> tuple[list[Decision], dict[tuple[str, str], Account]]:
    """Decide `transfers` in order.

    Args:
        transfers: the transfers, oldest first.
        accounts: every account they name, by (tenant, account id); a missing one is opened.
        decided: fingerprints of transactions decided earlier, by transaction id.

    Returns:
        A decision for each transfer, in order, and the accounts whose balance changed.
    """
    current = dict(accounts)
    seen = dict(decided)
    changed: dict[tuple[str, str], Account] = {}
    decisions: list[Decision] = []
    for transfer in transfers:
        mark = fingerprint(transfer)
        earlier = seen.get(transfer.transaction_id)
        if earlier is not None:
            outcome = Outcome.REPLAYED if earlier == mark else Outcome.CONFLICT
            decisions.append(_undone(transfer, mark, outcome, None))
            continue
        seen[transfer.transaction_id] = mark
        debit = _account(current, transfer, transfer.debit_account)
        credit = _account(current, transfer, transfer.credit_account)
        reason = _reject_reason(transfer, debit=debit, credit=credit)
        if reason is not None:
            decisions.append(_undone(transfer, mark, Outcome.REJECTED, reason))
            continue
        entries = []
        for leg, (account, amount) in enumerate(
            ((debit, -transfer.amount_minor), (credit, transfer.amount_minor))
        ):
            after = replace(
                account,
                balance_minor=account.balance_minor + amount,
                version=account.version + 1,
            )
            current[after.key] = changed[after.key] = after
            entries.append(
                Entry(
                    transaction_id=transfer.transaction_id,
                    leg=leg,
                    tenant=after.tenant,
                    account_id=after.account_id,
                    amount_minor=amount,
                    balance_after_minor=after.balance_minor,
                    account_version=after.version,
                )
            )
        decisions.append(
            Decision(
                transfer=transfer,
                fingerprint=mark,
                outcome=Outcome.POSTED,
                reason=None,
                entries=tuple(entries),
            )
        )
    return decisions, changed


def _account(
    current: dict[tuple[str, str], Account], transfer: Transfer, account_id: str
) -> Account:
    key = (transfer.tenant, account_id)
    if key not in current:
        current[key] = opening_account(transfer, account_id)
    return current[key]


def _reject_reason(transfer: Transfer, *, debit: Account, credit: Account) -> RejectReason | None:
    if transfer.currency != debit.currency or transfer.currency != credit.currency:
        return RejectReason.CURRENCY_MISMATCH
    after = debit.balance_minor - transfer.amount_minor
    if after < 0 and not debit.allow_negative:
        return RejectReason.INSUFFICIENT_FUNDS
    if after < -BALANCE_MINOR_MAX or (
        credit.balance_minor + transfer.amount_minor > BALANCE_MINOR_MAX
    ):
        return RejectReason.BALANCE_LIMIT
    return None


def _undone(
    transfer: Transfer, mark: str, outcome: Outcome, reason: RejectReason | None
) -> Decision:
    return Decision(
        transfer=transfer, fingerprint=mark, outcome=outcome, reason=reason, entries=()
    )
