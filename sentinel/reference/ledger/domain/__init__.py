"""The ledger's rules, without I/O: transfers, double entry, the shape of load, simulated history."""

from sentinel.reference.ledger.domain.accounts import Account, Entry, open_account
from sentinel.reference.ledger.domain.batch import Batch, parse_batch
from sentinel.reference.ledger.domain.errors import (
    InvalidTransferError,
    LedgerError,
    PermanentError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from sentinel.reference.ledger.domain.identity import batch_id, item_id, transaction_id
from sentinel.reference.ledger.domain.posting import (
    Book,
    Decision,
    Hold,
    HoldState,
    Movement,
    Outcome,
    Posted,
    RejectReason,
    Request,
    contradicts,
    decide,
    items_of,
    targets,
)
from sentinel.reference.ledger.domain.steps import Step, expire_step, parse_step
from sentinel.reference.ledger.domain.transfer import (
    BatchItem,
    Kind,
    Transfer,
    check_key,
    check_tenant,
    is_account_id,
    parse_transfer,
)

__all__ = [
    "Account",
    "Batch",
    "BatchItem",
    "Book",
    "Decision",
    "Entry",
    "Hold",
    "HoldState",
    "InvalidTransferError",
    "Kind",
    "LedgerError",
    "Movement",
    "Outcome",
    "PermanentError",
    "Posted",
    "RejectReason",
    "Request",
    "Step",
    "Transfer",
    "UnavailableError",
    "UnreadableError",
    "UsageError",
    "batch_id",
    "check_key",
    "check_tenant",
    "contradicts",
    "decide",
    "expire_step",
    "is_account_id",
    "item_id",
    "items_of",
    "open_account",
    "parse_batch",
    "parse_step",
    "parse_transfer",
    "targets",
    "transaction_id",
]
