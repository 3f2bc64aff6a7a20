"""What the edge reads: an account's balance, a transaction's state.

A transaction is looked for where it can be, in the order in which it moves: the database (posted or
rejected), the queue (pending), the dead-letter stream (failed), and once more the database, because
it may have been posted between the first look and the second, and the replica, which is asked first, may not
have it yet. So the last look is the primary's. Nothing anywhere: not found.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from sentinel.reference.ledger.domain import Batch, PermanentError, Request, Step
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.lookup import Lookup, Statement
from sentinel.reference.ledger.edge.sources import Reading, Source
from sentinel.reference.ledger.wire.envelope import (
    dead_subject,
    decode_envelope,
    transfer_subject,
)
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, Queue, stream_name
from sentinel.reference.ledger.wire.postgres import Connection

_BALANCE: Final = Statement.of("""
    select a.account_id, a.currency, a.balance_minor, a.balance_minor - a.debits_pending_minor as available_minor, a.version
    from ledger.accounts a where a.cohort = $3 and a.tenant = who.tenant and a.account_id = $4
""")
_BALANCE_FIELDS: Final = ("account_id", "currency", "balance_minor", "available_minor", "version")
_TRANSACTION: Final = Statement.of("""
    select t.fingerprint, t.kind, t.state, t.reason, t.target_id, t.debit_account, t.credit_account, t.amount_minor,
           t.currency, t.accepted_at, t.posted_at, t.expires_at, h.state as hold_state, h.resolved_by,
           d.state as disbursement_state, d.return_code, d.unbooked_reason, d.payee_account, d.payee_name
    from ledger.transactions t
    left join ledger.holds h on h.cohort = $3 and h.pending_id = t.transaction_id
    left join ledger.disbursements d on d.cohort = $3 and d.pending_id = t.transaction_id
    where t.cohort = $3 and t.tenant = who.tenant and t.transaction_id = $4
""")
_BATCH: Final = """
select fingerprint, items_count, accepted_at from ledger.batches where cohort = $1 and tenant = $2 and batch_id = $3
"""
_ITEM_COUNTS: Final = """
select state, count(*)::int as count from ledger.transactions
where cohort = $1 and batch_id = $2 and tenant = $3 group by state
"""
_ITEMS: Final = """
select item, transaction_id, state, reason from ledger.transactions
where cohort = $1 and batch_id = $2 and tenant = $3 and item >= $4 order by item limit $5
"""


class Reads:
    """Answers to the edge's two questions; each has its own pools.

    A lock on one table then cannot use up the connections that the other question needs.
    """

    def __init__(self, *, accounts: Source, transactions: Source, queue: Queue) -> None:
        self._accounts = accounts
        self._transactions = transactions
        self._queue = queue

    async def balance(
        self, *, tenant: Tenant, account_id: str, reading: Reading
    ) -> dict[str, object] | None:
        """Return an account's balance, or None when no transfer has named it yet.

        Raises:
            UnavailableError: the database did not answer in time.
        """
        question = Lookup(_BALANCE, (account_id,), _balance)
        return await self._accounts.ask("accounts", tenant, reading, question, is_last=True)

    async def transaction(
        self, *, tenant: Tenant, transaction_id: uuid.UUID, reading: Reading
    ) -> tuple[dict[str, object], str] | None:
        """Return a transaction's state and its fingerprint, or None when there is none.

        Raises:
            UnavailableError: database or queue did not answer in time.
        """

        def told(row: Any) -> tuple[dict[str, object], str] | None:
            mark = row["fingerprint"]
            return (_told(transaction_id, row), mark) if mark is not None else None

        question = Lookup(_TRANSACTION, (transaction_id,), told)
        found = await self._transactions.ask(
            "transactions", tenant, reading, question, is_last=False
        )
        if found is None:
            found = await self.waiting(tenant, transaction_id)
        return found or await self._transactions.ask_primary(
            "transactions", tenant, reading, question, reason="missing"
        )

    async def batch(
        self,
        *,
        tenant: Tenant,
        batch_id: uuid.UUID,
        first_item: int,
        items_count_max: int,
        reading: Reading,
    ) -> tuple[dict[str, object], str] | None:
        """Return a batch's state, a page of its items, and its fingerprint, or None.

        Args:
            tenant: who asks.
            batch_id: the batch's id.
            first_item: the place, counted from 0, at which the page begins.
            items_count_max: how many items the page holds at most.
            reading: what the answer must not be older than.

        Raises:
            UnavailableError: database or queue did not answer in time.
        """

        async def question(connection: Connection) -> tuple[dict[str, object], str] | None:
            return await _decided_batch(connection, tenant, batch_id, first_item, items_count_max)

        found = await self._transactions.ask("batches", tenant, reading, question, is_last=False)
        if found is None:
            found = await self.waiting(tenant, batch_id)
        return found or await self._transactions.ask_primary(
            "batches", tenant, reading, question, reason="missing"
        )

    async def waiting(
        self, tenant: Tenant, asked_id: uuid.UUID
    ) -> tuple[dict[str, object], str] | None:
        """Look where it waits to be decided, then where it was given up; return state and fingerprint, or None.

        Raises:
            UnavailableError: the queue did not answer in time.
        """
        subject = transfer_subject(cohort=tenant.cohort, asked_id=asked_id)
        found = await self._queued(
            tenant, stream_name(tenant.cohort), subject, state="pending", reason=None
        )
        return found or await self._queued(
            tenant,
            DEAD_STREAM,
            dead_subject(str(asked_id)),
            state="failed",
            reason="dead_lettered",
        )

    async def _queued(
        self, tenant: Tenant, stream: str, subject: str, *, state: str, reason: str | None
    ) -> tuple[dict[str, object], str] | None:
        payload = await self._queue.find(stream=stream, subject=subject)
        if payload is None:
            return None
        try:
            asked = decode_envelope(payload).asked
        except PermanentError:
            return None  # unreadable: whose it is cannot be told, so nobody is told
        if asked.tenant != tenant.name:
            return None
        return _described(asked, state=state, reason=reason), asked.fingerprint


async def _decided_batch(
    connection: Connection,
    tenant: Tenant,
    batch_id: uuid.UUID,
    first_item: int,
    items_count_max: int,
) -> tuple[dict[str, object], str] | None:
    batch = await connection.fetchrow(_BATCH, tenant.cohort, tenant.name, batch_id)
    if batch is None:
        return None
    counts = await connection.fetch(_ITEM_COUNTS, tenant.cohort, batch_id, tenant.name)
    items = await connection.fetch(
        _ITEMS, tenant.cohort, batch_id, tenant.name, first_item, items_count_max
    )
    state: dict[str, object] = {
        "batch_id": str(batch_id),
        "state": "decided",
        "accepted_at": batch["accepted_at"].isoformat(),
        "items_count": batch["items_count"],
        "posted_count": sum(row["count"] for row in counts if row["state"] == "posted"),
        "rejected_count": sum(row["count"] for row in counts if row["state"] == "rejected"),
        "items": [{**dict(row), "transaction_id": str(row["transaction_id"])} for row in items],
    }
    return state, batch["fingerprint"]


def _balance(row: Any) -> dict[str, object] | None:
    if row["account_id"] is None:
        return None
    return {name: row[name] for name in _BALANCE_FIELDS}


def _told(transaction_id: uuid.UUID, row: Any) -> dict[str, object]:
    state: dict[str, object] = {
        "transaction_id": str(transaction_id),
        "kind": row["kind"],
        "state": row["state"],
        "reason": row["reason"],
        "debit_account": row["debit_account"],
        "credit_account": row["credit_account"],
        "amount_minor": row["amount_minor"],
        "currency": row["currency"],
        "accepted_at": row["accepted_at"].isoformat(),
        "posted_at": row["posted_at"].isoformat(),
    }
    if row["target_id"] is not None:
        state["target_id"] = str(row["target_id"])
    if row["hold_state"] is not None:
        resolved_by = row["resolved_by"]
        state["hold"] = {
            "state": row["hold_state"],
            "expires_at": row["expires_at"].isoformat(),
            "resolved_by": str(resolved_by) if resolved_by is not None else None,
        }
    if row["disbursement_state"] is not None:
        state["disbursement"] = {
            "state": row["disbursement_state"],
            "return_code": row["return_code"],
            "unbooked_reason": row["unbooked_reason"],
            "payee": {"account": row["payee_account"], "name": row["payee_name"]},
        }
    return state


def _described(asked: Request | Batch, *, state: str, reason: str | None) -> dict[str, object]:
    if isinstance(asked, Batch):
        return {
            "batch_id": str(asked.batch_id),
            "state": state,
            "reason": reason,
            "items_count": len(asked.items),
            "items": [],
        }
    described: dict[str, object] = {
        "transaction_id": str(asked.transaction_id),
        "kind": asked.kind.value,
        "state": state,
        "reason": reason,
    }
    if isinstance(asked, Step):
        return {**described, "target_id": str(asked.target_id)}
    return {
        **described,
        "debit_account": asked.debit_account,
        "credit_account": asked.credit_account,
        "amount_minor": asked.amount_minor,
        "currency": asked.currency,
    }
