"""The ledger's rules, without I/O: transfers, double entry, the shape of load, simulated history."""

from sentinel.reference.ledger.domain.errors import (
    InvalidTransferError,
    LedgerError,
    PermanentError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from sentinel.reference.ledger.domain.posting import (
    Account,
    Decision,
    Entry,
    Outcome,
    RejectReason,
    opening_account,
    post_transfers,
)
from sentinel.reference.ledger.domain.transfer import (
    Transfer,
    check_key,
    check_tenant,
    fingerprint,
    is_account_id,
    parse_transfer,
    transaction_id,
)

__all__ = [
    "Account",
    "Decision",
    "Entry",
    "InvalidTransferError",
    "LedgerError",
    "Outcome",
    "PermanentError",
    "RejectReason",
    "Transfer",
    "UnavailableError",
    "UnreadableError",
    "UsageError",
    "check_key",
    "check_tenant",
    "fingerprint",
    "is_account_id",
    "opening_account",
    "parse_transfer",
    "post_transfers",
    "transaction_id",
]
