"""One batch in one database transaction.

Order inside the transaction: what was decided before, then the accounts' row locks in key order
(two posters can not deadlock on rows that both take in the same order), then the decisions in
memory, then one insert of transactions, one of entries, and one update an account. A hot account
is thus written once a batch, however many transfers name it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from sentinel.reference.ledger.domain import (
    Account,
    Book,
    Decision,
    Outcome,
    Transfer,
    decide,
    open_account,
)
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import Connection

_DECIDED: Final = """
select transaction_id, fingerprint from ledger.transactions where transaction_id = any($1::uuid[])
"""
# Joined to unnest with ordinality, not `in (select ...)`: the locks are then taken in the order
# of the arrays, and small batches use the index.
_LOCK: Final = """
select a.tenant, a.account_id, a.currency, a.balance_minor, a.allow_negative, a.version
from unnest($1::text[], $2::text[]) with ordinality as k (tenant, account_id, place)
join ledger.accounts a on a.tenant = k.tenant and a.account_id = k.account_id
order by k.place
for update of a
"""
_OPEN: Final = """
insert into ledger.accounts (tenant, account_id, currency, balance_minor, allow_negative, version)
select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::bigint[])
on conflict do nothing
"""
_TRANSACTIONS: Final = """
insert into ledger.transactions
    (transaction_id, tenant, idempotency_key, fingerprint, state, reason, debit_account,
     credit_account, amount_minor, currency, accepted_at, posted_at)
select *, clock_timestamp() from unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::bigint[], $10::text[], $11::timestamptz[])
"""
_ENTRIES: Final = """
insert into ledger.entries
    (transaction_id, leg, tenant, account_id, amount_minor, balance_after_minor, account_version)
select * from unnest(
    $1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
"""
_BALANCES: Final = """
update ledger.accounts a set balance_minor = u.balance_minor, version = u.version
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
    as u (tenant, account_id, balance_minor, version)
where a.tenant = u.tenant and a.account_id = u.account_id
"""


async def apply_batch(connection: Connection, envelopes: Sequence[Envelope]) -> list[Decision]:
    """Apply the transfers and commit; returns a decision for each, in order.

    Raises whatever the connection raises; then nothing was applied, unless the answer to the
    commit itself was lost, in which case a retry finds the transactions decided.
    """
    transfers = [envelope.transfer for envelope in envelopes]
    accepted_at = {
        envelope.transfer.transaction_id: datetime.fromtimestamp(envelope.accepted_ns / 1e9, UTC)
        for envelope in envelopes
    }
    async with connection.transaction():
        decided = await _decided(connection, transfers)
        fresh = [item for item in transfers if item.transaction_id not in decided]
        accounts = await _lock_accounts(connection, fresh)
        book = Book(accounts=accounts, decided=decided)
        decisions = decide(transfers, book, now_ns=time.time_ns())
        written = [
            decision
            for decision in decisions
            if decision.outcome in (Outcome.POSTED, Outcome.REJECTED)
        ]
        if written:
            await _insert(connection, written, accepted_at)
        if book.changed_accounts:
            ordered = [book.accounts[key] for key in sorted(book.changed_accounts)]
            await connection.execute(
                _BALANCES,
                [account.tenant for account in ordered],
                [account.account_id for account in ordered],
                [account.balance_minor for account in ordered],
                [account.version for account in ordered],
            )
    return decisions


async def _decided(connection: Connection, transfers: Iterable[Transfer]) -> dict[uuid.UUID, str]:
    ids = [transfer.transaction_id for transfer in transfers]
    rows = await connection.fetch(_DECIDED, ids)
    return {uuid.UUID(int=row["transaction_id"].int): row["fingerprint"] for row in rows}


async def _lock_accounts(
    connection: Connection, transfers: Sequence[Transfer]
) -> dict[tuple[str, str], Account]:
    """Lock the accounts that the transfers name, opening those that no transfer named before."""
    opening: dict[tuple[str, str], Account] = {}
    for transfer in transfers:
        for account_id in (transfer.debit_account, transfer.credit_account):
            account = open_account(
                tenant=transfer.tenant, account_id=account_id, currency=transfer.currency
            )
            opening.setdefault(account.key, account)
    locked = await _lock(connection, sorted(opening))
    missing = [opening[key] for key in sorted(opening.keys() - locked.keys())]
    if missing:
        await connection.execute(
            _OPEN,
            [account.tenant for account in missing],
            [account.account_id for account in missing],
            [account.currency for account in missing],
            [account.balance_minor for account in missing],
            [account.allow_negative for account in missing],
            [account.version for account in missing],
        )
        # Another poster may have opened one first: its row is the truth, so read again.
        locked.update(await _lock(connection, [account.key for account in missing]))
    return locked


async def _lock(
    connection: Connection, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Account]:
    if not keys:
        return {}
    rows = await connection.fetch(_LOCK, [key[0] for key in keys], [key[1] for key in keys])
    accounts = (Account(**dict(row)) for row in rows)
    return {account.key: account for account in accounts}


async def _insert(
    connection: Connection,
    decisions: Sequence[Decision],
    accepted_at: dict[uuid.UUID, datetime],
) -> None:
    transfers = [decision.transfer for decision in decisions]
    await connection.execute(
        _TRANSACTIONS,
        [transfer.transaction_id for transfer in transfers],
        [transfer.tenant for transfer in transfers],
        [transfer.idempotency_key for transfer in transfers],
        [decision.fingerprint for decision in decisions],
        [decision.outcome.value for decision in decisions],
        [decision.reason.value if decision.reason else None for decision in decisions],
        [transfer.debit_account for transfer in transfers],
        [transfer.credit_account for transfer in transfers],
        [transfer.amount_minor for transfer in transfers],
        [transfer.currency for transfer in transfers],
        [accepted_at[transfer.transaction_id] for transfer in transfers],
    )
    entries = [entry for decision in decisions for entry in decision.entries]
    if not entries:
        return
    await connection.execute(
        _ENTRIES,
        [entry.transaction_id for entry in entries],
        [entry.leg for entry in entries],
        [entry.tenant for entry in entries],
        [entry.account_id for entry in entries],
        [entry.amount_minor for entry in entries],
        [entry.balance_after_minor for entry in entries],
        [entry.account_version for entry in entries],
    )
