"""The outbox: a row for each transaction that others are to be told of, written with it and deleted once the stream has it.

Positions grow in the order of commits: from before the first number until its commit, whoever writes holds the cohort's lock. A
cohort has one poster as a rule, which then waits for nobody; two of them commit one after the other, not out of order.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from sentinel.reference.ledger.wire.events import LedgerEvent, event_type
from sentinel.reference.ledger.wire.postgres import Connection

_WRITERS: Final = 0x6F757462  # "outb"
_READERS: Final = 0x72656C61  # "rela"

_INSERT: Final = """
with alone as materialized (select pg_advisory_xact_lock($1::int, $2::smallint::int))
insert into ledger.outbox (cohort, created_at, event_id, trace_parent, content)
select $2::smallint, $3, given.event_id, given.trace_parent, given.content
from alone, unnest($4::uuid[], $5::text[], $6::jsonb[]) with ordinality as given (event_id, trace_parent, content, place)
order by given.place
"""
_ALONE: Final = "select pg_try_advisory_xact_lock($1::int, $2::int)"
_NEXT: Final = """
select o.position, o.trace_parent, o.event_id, o.created_at, o.content, t.transaction_id, t.tenant, t.kind, t.state, t.reason, t.target_id, t.batch_id, t.item, t.debit_account,
       t.credit_account, t.amount_minor, t.currency, t.posted_at
from (select cohort, position, event_id, created_at, trace_parent, content from ledger.outbox where cohort = $1 and position > $2 order by position limit $3) as o
left join ledger.transactions t on t.cohort = $1 and t.transaction_id = o.event_id
order by o.position
"""
# A row that has a content goes only with whoever says so: a relay of before the column would delete it untold (migration 0016).
_DELETE: Final = """
with reads as materialized (select set_config('ledger.outbox_content', 'read', true))
delete from ledger.outbox using reads where cohort = $1 and position = any($2::bigint[])
"""
_WAITING: Final = """
select count(*) as waiting_count, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_s
from ledger.outbox where cohort = any($1::smallint[])
"""
_TRIM: Final = """
with reads as materialized (select set_config('ledger.outbox_content', 'read', true))
delete from ledger.outbox using reads where cohort = $1 and position in (
    select position from ledger.outbox where cohort = $1 order by position
    limit least($3, greatest(0, (select count(*) from ledger.outbox where cohort = $1) - $2)))
"""
_FIELDS: Final = (
    "kind", "state", "reason", "item", "debit_account", "credit_account", "amount_minor", "currency",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What others are to be told of.

    Attributes:
        event_id: the transaction's, from which the event is read when it is told; else the event's own.
        trace_parent: its place in the trace of what was asked.
        content: type, tenant and data of an event that no transaction has.
    """

    event_id: uuid.UUID
    trace_parent: str | None = None
    content: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that waits: its event, None for a transaction that is not there (any more), and the trace it belongs to."""

    position: int
    event: LedgerEvent | None
    trace_parent: str | None = None


async def insert(
    connection: Connection,
    cohort: int,
    told: Sequence[Told],
    *,
    created_at: datetime,
) -> None:
    """Write what others are to be told of; the last statement of its transaction, for it holds a lock until the commit.

    Args:
        connection: the transaction's.
        cohort: whose outbox.
        told: the events, in their order.
        created_at: when it was decided.
    """
    await connection.execute(
        _INSERT,
        _WRITERS,
        cohort,
        created_at,
        [one.event_id for one in told],
        [one.trace_parent for one in told],
        [None if one.content is None else orjson.dumps(one.content).decode() for one in told],
    )


async def try_alone(connection: Connection, cohort: int) -> bool:
    """Return whether this transaction is the only one that reads the cohort's outbox."""
    return bool(await connection.fetchval(_ALONE, _READERS, cohort))


async def read(connection: Connection, cohort: int, *, after: int, count_max: int) -> list[Row]:
    """Return the next rows after the position `after`."""
    rows = await connection.fetch(_NEXT, cohort, after, count_max)
    return [
        Row(
            position=row["position"],
            event=_event(cohort, row),
            trace_parent=row["trace_parent"],
        )
        for row in rows
    ]


async def delete(connection: Connection, cohort: int, positions: Sequence[int]) -> None:
    """Delete what the stream has."""
    await connection.execute(_DELETE, cohort, positions)


async def waiting(connection: Connection, cohorts: Sequence[int]) -> tuple[int, float]:
    """Return how many rows wait and the age of the oldest in seconds."""
    row = await connection.fetchrow(_WAITING, cohorts)
    return int(row["waiting_count"]), max(float(row["oldest_s"]), 0.0)


async def trim(connection: Connection, cohort: int, *, rows_max: int, count_max: int) -> int:
    """Delete the oldest of the rows above `rows_max`, at most `count_max` of them; returns how many."""
    tag = await connection.execute(_TRIM, cohort, rows_max, count_max)
    return int(tag.rpartition(" ")[2])


def _event(cohort: int, row: Any) -> LedgerEvent | None:
    if row["content"] is not None:
        content = orjson.loads(row["content"])
        return LedgerEvent(
            event_id=uuid.UUID(int=row["event_id"].int),
            type=content["type"],
            tenant=content["tenant"],
            cohort=cohort,
            position=row["position"],
            occurred_at=row["created_at"],
            data=content["data"],
        )
    if row["transaction_id"] is None:
        return None
    ids = ("transaction_id", "target_id", "batch_id")
    return LedgerEvent(
        event_id=uuid.UUID(int=row["transaction_id"].int),
        type=event_type(row["state"]),
        tenant=row["tenant"],
        cohort=cohort,
        position=row["position"],
        occurred_at=row["posted_at"],
        data={
            **{name: str(row[name]) if row[name] is not None else None for name in ids},
            **{name: row[name] for name in _FIELDS},
        },
    )
