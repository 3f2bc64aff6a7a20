"""Reconcile: stream, books, analytics, audit trail and replica held against each other, in count and value."""

from sentinel.reference.ledger.reconcile.config import ReconcileConfig
from sentinel.reference.ledger.reconcile.payouts import wrong_payouts
from sentinel.reference.ledger.reconcile.reconciler import Reconciler
from sentinel.reference.ledger.reconcile.report import Check, Report, Result, State, Totals

__all__ = [
    "Check",
    "ReconcileConfig",
    "Reconciler",
    "Report",
    "Result",
    "State",
    "Totals",
    "wrong_payouts",
]
