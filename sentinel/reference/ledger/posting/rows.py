"""The poster's statements: what a batch reads under lock, and what it writes, all within one cohort.

Joined to unnest with ordinality, not `in (select ...)`: locks are then taken in the order of the
arrays, and with hash and merge joins off, as the poster's connections have them, by index. Every
statement names the cohort, without which each of them would look into every partition.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sentinel.reference.ledger.domain import (
    Account,
    Batch,
    Decision,
    Hold,
    HoldState,
    Movement,
    Outcome,
    Posted,
    Step,
    Transfer,
)
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import Connection

# For the poster's connections: over arrays and partitions the planner would else read whole tables, and plan each statement
# anew for every batch.
BY_INDEX: Final = {
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # Checks of foreign keys keep the plan of their first moments: of a table that was small then they would read all of it for
    # each row, a batch of 200 half a second long, until the next analyze.
    "enable_seqscan": "off",
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# One by one, which the limit sees to: of a table that looks small an array's rows would be picked from all there are.
_DECIDED: Final = """
select t.transaction_id, t.fingerprint from unnest($2::uuid[]) as k (transaction_id)
cross join lateral (
    select d.transaction_id, d.fingerprint from ledger.transactions d
    where d.cohort = $1 and d.transaction_id = k.transaction_id limit 1
) as t
"""
_KNOWN_BATCHES: Final = """
select b.batch_id, b.fingerprint from unnest($2::uuid[]) as k (batch_id)
cross join lateral (
    select d.batch_id, d.fingerprint from ledger.batches d where d.cohort = $1 and d.batch_id = k.batch_id limit 1
) as b
"""
_HOLDS: Final = """
select h.pending_id, h.tenant, h.debit_account, h.credit_account, h.amount_minor, h.currency,
       h.expires_at, h.state, h.resolved_by,
       exists (select from ledger.disbursements d where d.cohort = $1 and d.pending_id = h.pending_id) as of_disbursement
from unnest($2::uuid[]) with ordinality as k (pending_id, place)
join ledger.holds h on h.cohort = $1 and h.pending_id = k.pending_id
order by k.place
for update of h
"""
_POSTED: Final = """
select t.transaction_id, t.tenant, t.debit_account, t.credit_account, t.amount_minor, t.currency,
       (select r.transaction_id from ledger.transactions r
        where r.cohort = $1 and r.target_id = t.transaction_id and r.kind = 'reversal' and r.state = 'posted') as reversed_by,
       (select d.pending_id from ledger.disbursements d where d.cohort = $1 and d.pending_id = t.target_id) as disbursement_id
from ledger.transactions t
where t.cohort = $1 and t.transaction_id = any($2::uuid[]) and t.kind in ('transfer', 'post') and t.state = 'posted'
"""
_LOCK: Final = """
select a.tenant, a.account_id, a.currency, a.balance_minor, a.debits_pending_minor,
       a.credits_pending_minor, a.allow_negative, a.version
from unnest($2::text[], $3::text[]) with ordinality as k (tenant, account_id, place)
join ledger.accounts a on a.cohort = $1 and a.tenant = k.tenant and a.account_id = k.account_id
order by k.place
for update of a
"""
_OPEN: Final = """
insert into ledger.accounts (cohort, tenant, account_id, currency, balance_minor, allow_negative, version)
select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::bigint[])
on conflict do nothing
"""
_TRANSACTIONS: Final = """
insert into ledger.transactions
    (cohort, posted_at, transaction_id, tenant, idempotency_key, item, batch_id, fingerprint, kind, state, reason,
     target_id, debit_account, credit_account, amount_minor, currency, expires_at, accepted_at)
select $1, $2, * from unnest(
    $3::uuid[], $4::text[], $5::text[], $6::int[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[],
    $12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::timestamptz[], $18::timestamptz[])
"""
_BATCHES: Final = """
insert into ledger.batches (cohort, batch_id, tenant, idempotency_key, fingerprint, items_count, accepted_at)
select $1, * from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[], $7::timestamptz[])
on conflict do nothing
"""
_ENTRIES: Final = """
insert into ledger.entries
    (cohort, transaction_id, leg, tenant, account_id, amount_minor, balance_after_minor, account_version)
select $1, * from unnest(
    $2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
"""
_BALANCES: Final = """
update ledger.accounts a set balance_minor = u.balance_minor, debits_pending_minor = u.debits_pending_minor,
       credits_pending_minor = u.credits_pending_minor, version = u.version
from unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    as u (tenant, account_id, balance_minor, debits_pending_minor, credits_pending_minor, version)
where a.cohort = $1 and a.tenant = u.tenant and a.account_id = u.account_id
"""
_NEW_HOLDS: Final = """
insert into ledger.holds
    (cohort, pending_id, tenant, debit_account, credit_account, amount_minor, currency, expires_at, state, resolved_by)
select $1, * from unnest(
    $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[], $10::uuid[])
"""
_DISBURSEMENTS: Final = """
insert into ledger.disbursements
    (cohort, pending_id, tenant, payee_account, payee_name, amount_minor, currency, state, next_at)
select $1, u.*, 'requested', now() from unnest(
    $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[]) as u
"""
_END_HOLDS: Final = """
update ledger.holds h set state = u.state, resolved_by = u.resolved_by
from unnest($2::uuid[], $3::text[], $4::uuid[]) as u (pending_id, state, resolved_by)
where h.cohort = $1 and h.pending_id = u.pending_id
"""

AccountKey = tuple[str, str]


async def decided(
    connection: Connection, cohort: int, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Return the fingerprints of those that were decided before."""
    rows = await connection.fetch(_DECIDED, cohort, list(ids))
    return {_id(row["transaction_id"]): row["fingerprint"] for row in rows}


async def known_batches(
    connection: Connection, cohort: int, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Return the fingerprints of those batches whose key was used before."""
    rows = await connection.fetch(_KNOWN_BATCHES, cohort, list(ids))
    return {_id(row["batch_id"]): row["fingerprint"] for row in rows}


async def lock_holds(
    connection: Connection, cohort: int, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, Hold]:
    """Lock and return the pending transfers of these ids, of those that are any."""
    rows = await connection.fetch(_HOLDS, cohort, sorted(ids))
    holds = (
        Hold(
            pending_id=_id(row["pending_id"]),
            movement=_movement(row),
            expires_ns=_ns(row["expires_at"]),
            state=HoldState(row["state"]),
            resolved_by=_id(row["resolved_by"]) if row["resolved_by"] is not None else None,
            of_disbursement=row["of_disbursement"],
        )
        for row in rows
    )
    return {hold.pending_id: hold for hold in holds}


async def posted(
    connection: Connection, cohort: int, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, Posted]:
    """Return the posted movements of these ids, of those that are any.

    They are not locked: of two reversals at once the unique index lets one through, and the other
    is tried again and finds the first.
    """
    rows = await connection.fetch(_POSTED, cohort, list(ids))
    found = (
        Posted(
            transaction_id=_id(row["transaction_id"]),
            movement=_movement(row),
            reversed_by=_id(row["reversed_by"]) if row["reversed_by"] is not None else None,
            disbursement_id=_id(row["disbursement_id"])
            if row["disbursement_id"] is not None
            else None,
        )
        for row in rows
    )
    return {one.transaction_id: one for one in found}


async def lock_accounts(
    connection: Connection, cohort: int, keys: Sequence[AccountKey]
) -> dict[AccountKey, Account]:
    """Lock accounts in the order of `keys` and return those that are there."""
    if not keys:
        return {}
    tenants, names = [key[0] for key in keys], [key[1] for key in keys]
    rows = await connection.fetch(_LOCK, cohort, tenants, names)
    accounts = (Account(**dict(row)) for row in rows)
    return {account.key: account for account in accounts}


async def open_accounts(connection: Connection, cohort: int, accounts: Sequence[Account]) -> None:
    """Insert accounts, leaving alone those that somebody else has opened meanwhile."""
    await connection.execute(
        _OPEN,
        cohort,
        [account.tenant for account in accounts],
        [account.account_id for account in accounts],
        [account.currency for account in accounts],
        [account.balance_minor for account in accounts],
        [account.allow_negative for account in accounts],
        [account.version for account in accounts],
    )


async def insert_batches(
    connection: Connection, cohort: int, envelopes: Sequence[Envelope]
) -> None:
    """Insert a row for each batch, unless it is there: the first use of a key stands."""
    given = [(one, one.asked) for one in envelopes if isinstance(one.asked, Batch)]
    if not given:
        return
    await connection.execute(
        _BATCHES,
        cohort,
        [batch.batch_id for _, batch in given],
        [batch.tenant for _, batch in given],
        [batch.idempotency_key for _, batch in given],
        [batch.fingerprint for _, batch in given],
        [len(batch.items) for _, batch in given],
        [moment(envelope.accepted_ns) for envelope, _ in given],
    )


async def insert_transactions(
    connection: Connection,
    cohort: int,
    decisions: Sequence[Decision],
    *,
    accepted_ns: dict[uuid.UUID, int],
    holds: dict[uuid.UUID, Hold],
    now_ns: int,
) -> None:
    """Insert a row for each decision, posted or rejected."""
    requests = [decision.request for decision in decisions]
    items = [None if isinstance(one, Step) else one.batch for one in requests]
    movements = [decision.movement for decision in decisions]
    expiries = [
        holds[one.transaction_id].expires_ns if one.transaction_id in holds else None
        for one in requests
    ]
    await connection.execute(
        _TRANSACTIONS,
        cohort,
        moment(now_ns),
        [one.transaction_id for one in requests],
        [one.tenant for one in requests],
        [one.idempotency_key for one in requests],
        [item.place if item else None for item in items],
        [item.batch_id if item else None for item in items],
        [one.fingerprint for one in requests],
        [one.kind.value for one in requests],
        [decision.outcome.value for decision in decisions],
        [decision.reason.value if decision.reason else None for decision in decisions],
        [one.target_id if isinstance(one, Step) else None for one in requests],
        [movement.debit_account if movement else None for movement in movements],
        [movement.credit_account if movement else None for movement in movements],
        [movement.amount_minor if movement else None for movement in movements],
        [movement.currency if movement else None for movement in movements],
        [moment(expires_ns) if expires_ns is not None else None for expires_ns in expiries],
        [moment(accepted_ns[one.transaction_id]) for one in requests],
    )


async def insert_entries(
    connection: Connection, cohort: int, decisions: Sequence[Decision]
) -> None:
    """Insert the decisions' entries, if they have any."""
    entries = [entry for decision in decisions for entry in decision.entries]
    if not entries:
        return
    await connection.execute(
        _ENTRIES,
        cohort,
        [entry.transaction_id for entry in entries],
        [entry.leg for entry in entries],
        [entry.tenant for entry in entries],
        [entry.account_id for entry in entries],
        [entry.amount_minor for entry in entries],
        [entry.balance_after_minor for entry in entries],
        [entry.account_version for entry in entries],
    )


async def update_accounts(
    connection: Connection, cohort: int, accounts: Sequence[Account]
) -> None:
    """Write each account's balance and what is reserved of it, once."""
    await connection.execute(
        _BALANCES,
        cohort,
        [account.tenant for account in accounts],
        [account.account_id for account in accounts],
        [account.balance_minor for account in accounts],
        [account.debits_pending_minor for account in accounts],
        [account.credits_pending_minor for account in accounts],
        [account.version for account in accounts],
    )


async def insert_holds(connection: Connection, cohort: int, holds: Sequence[Hold]) -> None:
    """Insert pending transfers, some of which may have ended in the batch that began them."""
    await connection.execute(
        _NEW_HOLDS,
        cohort,
        [hold.pending_id for hold in holds],
        [hold.movement.tenant for hold in holds],
        [hold.movement.debit_account for hold in holds],
        [hold.movement.credit_account for hold in holds],
        [hold.movement.amount_minor for hold in holds],
        [hold.movement.currency for hold in holds],
        [moment(hold.expires_ns) for hold in holds],
        [hold.state.value for hold in holds],
        [hold.resolved_by for hold in holds],
    )


async def insert_disbursements(
    connection: Connection, cohort: int, decisions: Sequence[Decision]
) -> None:
    """Insert a row for each pending transfer that was granted to somebody who is paid over a rail."""
    paid = [
        (one.request, one.request.payee)
        for one in decisions
        if isinstance(one.request, Transfer)
        and one.request.payee is not None
        and one.outcome is Outcome.POSTED
    ]
    if not paid:
        return
    await connection.execute(
        _DISBURSEMENTS,
        cohort,
        [request.transaction_id for request, _ in paid],
        [request.tenant for request, _ in paid],
        [payee.account for _, payee in paid],
        [payee.name for _, payee in paid],
        [request.amount_minor for request, _ in paid],
        [request.currency for request, _ in paid],
    )


async def end_holds(connection: Connection, cohort: int, holds: Sequence[Hold]) -> None:
    """Write how pending transfers of earlier batches ended."""
    await connection.execute(
        _END_HOLDS,
        cohort,
        [hold.pending_id for hold in holds],
        [hold.state.value for hold in holds],
        [hold.resolved_by for hold in holds],
    )


def _movement(row: Any) -> Movement:
    return Movement(
        tenant=row["tenant"],
        debit_account=row["debit_account"],
        credit_account=row["credit_account"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
    )


def _id(value: Any) -> uuid.UUID:
    # asyncpg has a class of its own, which is equal but prints and pickles otherwise.
    return uuid.UUID(int=value.int)


def moment(unix_ns: int) -> datetime:
    """Return the time as the database keeps it."""
    # By whole microseconds, which is what the database keeps; a float would round them.
    return _EPOCH + timedelta(microseconds=unix_ns // 1000)


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
