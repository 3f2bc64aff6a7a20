"""What the edge reads: an account's balance, a transaction's state.

A transaction is looked for where it can be, in the order in which it moves: the database (posted or
rejected), the queue (pending), the dead-letter stream (failed), and once more the database, because
it may have been posted between the first look and the second. Nothing anywhere: not found.
"""

from __future__ import annotations

import uuid
from typing import Final

from sentinel.reference.ledger.domain import PermanentError, Transfer
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.envelope import (
    dead_subject,
    decode_envelope,
    transfer_subject,
)
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, STREAM, Queue
from sentinel.reference.ledger.wire.postgres import Database

_BALANCE: Final = """
select account_id, currency, balance_minor, version from ledger.accounts
where tenant = $1 and account_id = $2
"""
_TRANSACTION: Final = """
select tenant, fingerprint, state, reason, debit_account, credit_account, amount_minor, currency,
       accepted_at, posted_at
from ledger.transactions where transaction_id = $1
"""


class Reads:
    """Answers to the edge's two questions; each has its own pool.

    A lock on one table then cannot use up the connections that the other question needs.
    """

    def __init__(
        self, *, accounts: Database, transactions: Database, queue: Queue, telemetry: Telemetry
    ) -> None:
        self._accounts = accounts
        self._transactions = transactions
        self._queue = queue
        self._telemetry = telemetry
        telemetry.observe_pool("edge-accounts", accounts.occupancy)
        telemetry.observe_pool("edge-transactions", transactions.occupancy)

    async def balance(self, *, tenant: str, account_id: str) -> dict[str, object] | None:
        """Return an account's balance, or None when no transfer has named it yet.

        Raises:
            UnavailableError: the database did not answer in time.
        """
        with self._telemetry.query("SELECT", "accounts", self._accounts.namespace):
            async with self._accounts.acquire() as connection:
                row = await connection.fetchrow(_BALANCE, tenant, account_id)
        return dict(row) if row is not None else None

    async def transaction(
        self, *, tenant: str, transaction_id: uuid.UUID
    ) -> tuple[dict[str, object], str] | None:
        """Return a transaction's state and its fingerprint, or None when there is none.

        Raises:
            UnavailableError: database or queue did not answer in time.
        """
        found = await self._posted(tenant, transaction_id)
        if found is None:
            found = await self._queued(
                tenant, STREAM, transfer_subject(transaction_id), state="pending", reason=None
            )
        if found is None:
            found = await self._queued(
                tenant,
                DEAD_STREAM,
                dead_subject(str(transaction_id)),
                state="failed",
                reason="dead_lettered",
            )
        return found or await self._posted(tenant, transaction_id)

    async def _posted(
        self, tenant: str, transaction_id: uuid.UUID
    ) -> tuple[dict[str, object], str] | None:
        with self._telemetry.query("SELECT", "transactions", self._transactions.namespace):
            async with self._transactions.acquire() as connection:
                row = await connection.fetchrow(_TRANSACTION, transaction_id)
        if row is None or row["tenant"] != tenant:
            return None
        state = {
            "transaction_id": str(transaction_id),
            "state": row["state"],
            "reason": row["reason"],
            "debit_account": row["debit_account"],
            "credit_account": row["credit_account"],
            "amount_minor": row["amount_minor"],
            "currency": row["currency"],
            "accepted_at": row["accepted_at"].isoformat(),
            "posted_at": row["posted_at"].isoformat(),
        }
        return state, row["fingerprint"]

    async def _queued(
        self, tenant: str, stream: str, subject: str, *, state: str, reason: str | None
    ) -> tuple[dict[str, object], str] | None:
        payload = await self._queue.find(stream=stream, subject=subject)
        if payload is None:
            return None
        try:
            transfer = decode_envelope(payload).transfer
        except PermanentError:
            return None  # unreadable: whose it is cannot be told, so nobody is told
        if transfer.tenant != tenant:
            return None
        return _described(transfer, state=state, reason=reason), transfer.fingerprint


def _described(transfer: Transfer, *, state: str, reason: str | None) -> dict[str, object]:
    return {
        "transaction_id": str(transfer.transaction_id),
        "state": state,
        "reason": reason,
        "debit_account": transfer.debit_account,
        "credit_account": transfer.credit_account,
        "amount_minor": transfer.amount_minor,
        "currency": transfer.currency,
    }
