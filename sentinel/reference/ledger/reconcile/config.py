"""Sizes and times of reconciliation."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileConfig:
    """Sizes and times of the passes.

    Attributes:
        full_every_s: from one full pass to the next.
        recheck_s: the same, while anything drifts.
        accounts_count_max: accounts of a cohort that an incremental pass looks at, beside those that moved, and that a slice holds.
        entries_count_max: entries that a slice of accounts holds.
        transactions_count_max: transactions that a slice of time holds.
        slices_s: how long a pass goes on with slices of a full one; one slice is made in any case.
        statement_timeout_s: of one comparison.
        replica_wait_s: how long a replica may take to come to the primary's place.
        analytics_wait_s: how long a single pass waits for analytics and the audit trail to come to where the books are.
    """

    cohorts: tuple[int, ...] = tuple(range(COHORTS_COUNT))
    full_every_s: float = 86_400.0
    recheck_s: float = 300.0
    accounts_count_max: int = 50_000
    entries_count_max: int = 500_000
    transactions_count_max: int = 50_000
    slices_s: float = 60.0
    statement_timeout_s: float = 600.0
    replica_wait_s: float = 5.0
    analytics_wait_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse sizes and times that cannot work."""
        sizes = (self.accounts_count_max, self.entries_count_max, self.transactions_count_max)
        if min(sizes) < 1:
            message = "accounts_count_max, entries_count_max and transactions_count_max must be at least 1"
            raise LedgerError(message)
        if min(self.full_every_s, self.recheck_s, self.statement_timeout_s) <= 0:
            message = "full_every_s, recheck_s and statement_timeout_s must be above 0"
            raise LedgerError(message)
