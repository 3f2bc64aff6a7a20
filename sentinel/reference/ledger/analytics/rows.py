"""Analytics' statements: which events are new, what they add, and what is too old to be remembered."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from sentinel.reference.ledger.analytics.counting import Key, Sum, day_of
from sentinel.reference.ledger.wire.events import LedgerEvent
from sentinel.reference.ledger.wire.postgres import Connection

_SEE: Final = """
insert into ledger.analytics_seen (occurred_on, event_id)
select given.occurred_on, given.event_id from unnest($1::date[], $2::uuid[]) as given (occurred_on, event_id)
order by 1, 2
on conflict do nothing
returning event_id
"""
_ADD: Final = """
insert into ledger.analytics_daily as d
    (cohort, tenant, day, currency, kind, state, transactions_count, amount_minor)
select * from unnest($1::smallint[], $2::text[], $3::date[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::numeric[])
on conflict (cohort, tenant, day, currency, kind, state) do update
set transactions_count = d.transactions_count + excluded.transactions_count,
    amount_minor = d.amount_minor + excluded.amount_minor
"""
_FORGET: Final = """
delete from ledger.analytics_seen where (occurred_on, event_id) in (
    select occurred_on, event_id from ledger.analytics_seen where occurred_on < $1 order by occurred_on, event_id limit $2)
"""


async def unseen(connection: Connection, events: Sequence[LedgerEvent]) -> list[LedgerEvent]:
    """Remember the events and return, in order, those that had not been seen; an id that comes twice is returned once."""
    by_id = {event.event_id: event for event in events}
    rows = await connection.fetch(_SEE, [day_of(one) for one in by_id.values()], list(by_id))
    fresh = {uuid.UUID(int=row["event_id"].int) for row in rows}
    return [event for event_id, event in by_id.items() if event_id in fresh]


async def add(connection: Connection, found: Mapping[Key, Sum]) -> None:
    """Add the sums to the days."""
    cohorts, tenants, days, currencies, kinds, states = zip(*found, strict=True)
    await connection.execute(
        _ADD,
        cohorts,
        tenants,
        days,
        currencies,
        kinds,
        states,
        [one.transactions_count for one in found.values()],
        [one.amount_minor for one in found.values()],
    )


async def forget(connection: Connection, *, before: date, count_max: int) -> int:
    """Forget at most so many ids of days before `before`; returns how many."""
    tag = await connection.execute(_FORGET, before, count_max)
    return int(tag.rpartition(" ")[2])
