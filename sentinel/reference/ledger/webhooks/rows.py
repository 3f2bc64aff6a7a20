"""Deliveries in the database: put on their way, taken for an attempt, noted, forgotten.

An attempt takes its delivery by moving `next_at` to the moment at which the attempt counts as lost. A process that is killed
between the request and its note leaves just that behind: somebody takes the delivery again, with the same id. The number of
the attempt goes with the note, so that a note that comes too late does not speak for a later attempt.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.webhooks.delivery import DeliveryState, Reason
from sentinel.reference.ledger.domain.webhooks.message import WebhookEvent
from sentinel.reference.ledger.webhooks.endpoints import Endpoint, Key
from sentinel.reference.ledger.wire.postgres import Connection

_NAMESPACE: Final = uuid.UUID("6b1d1c5e-7d0b-5d0c-9a53-2f4a3c1f8e90")

_ADD: Final = """
insert into ledger.webhook_deliveries
    (cohort, delivery_id, endpoint_id, tenant, event_id, type, body, trace_parent)
select n.* from unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::bytea[], $8::text[])
    as n (cohort, delivery_id, endpoint_id, tenant, event_id, type, body, trace_parent)
-- One that was deleted since the last look is owed nothing.
join ledger.webhook_endpoints e on e.cohort = n.cohort and e.endpoint_id = n.endpoint_id
on conflict do nothing
"""
_TAKE: Final = """
update ledger.webhook_deliveries d
set attempts_count = d.attempts_count + 1, next_at = now() + make_interval(secs => $4), last_at = now()
from unnest($1::smallint[], $2::uuid[], $3::int[]) as free (cohort, endpoint_id, count)
cross join lateral (
    select cohort, delivery_id from ledger.webhook_deliveries x
    where x.cohort = free.cohort and x.endpoint_id = free.endpoint_id and x.state = 'pending' and x.next_at <= now()
    order by x.next_at limit free.count for update skip locked
) as due
where d.cohort = due.cohort and d.delivery_id = due.delivery_id
returning d.cohort, d.delivery_id, d.endpoint_id, d.event_id, d.type, d.body, d.trace_parent, d.attempts_count, d.created_at
"""
_NOTE: Final = """
update ledger.webhook_deliveries
set state = $4, next_at = now() + make_interval(secs => $5), last_status = $6, last_reason = $7,
    ended_at = case when $4 = 'pending' then null else now() end
where cohort = $1 and delivery_id = $2 and attempts_count = $3 and state = 'pending'
"""
_GIVE_BACK: Final = """
update ledger.webhook_deliveries set attempts_count = attempts_count - 1, next_at = now()
where cohort = $1 and delivery_id = $2 and attempts_count = $3 and state = 'pending'
"""
_WAITING: Final = """
select e.cohort, e.endpoint_id, w.count, w.oldest
from unnest($1::smallint[], $2::uuid[]) as e (cohort, endpoint_id)
cross join lateral (
    select count(*)::int as count, min(created_at) as oldest from (
        select created_at from ledger.webhook_deliveries d
        where d.cohort = e.cohort and d.endpoint_id = e.endpoint_id and d.state = 'pending' limit $3
    ) as waiting
) as w
"""
_DROPPED: Final = """
update ledger.webhook_endpoints e set dropped_count = e.dropped_count + n.count
from unnest($1::smallint[], $2::uuid[], $3::int[]) as n (cohort, endpoint_id, count)
where e.cohort = n.cohort and e.endpoint_id = n.endpoint_id
"""
_EXPIRE: Final = """
update ledger.webhook_deliveries d set state = 'failed', ended_at = now()
from (
    select cohort, delivery_id from ledger.webhook_deliveries
    where state = 'pending' and created_at < now() - make_interval(secs => $1) and next_at <= now() limit $2
    for update skip locked
) as old
where d.cohort = old.cohort and d.delivery_id = old.delivery_id
"""
_FORGET: Final = """
delete from ledger.webhook_deliveries d using (
    select cohort, delivery_id from ledger.webhook_deliveries
    where state = $1 and ended_at < now() - make_interval(secs => $2) limit $3 for update skip locked
) as old
where d.cohort = old.cohort and d.delivery_id = old.delivery_id
"""
_FORGET_SURPLUS: Final = """
delete from ledger.webhook_deliveries d using (
    select cohort, delivery_id from ledger.webhook_deliveries
    where cohort = $1 and endpoint_id = $2 and state <> 'pending' order by created_at desc offset $3 limit $4
) as old
where d.cohort = old.cohort and d.delivery_id = old.delivery_id
"""
_FORGET_SECRETS: Final = """
update ledger.webhook_endpoints set previous_secret = null, previous_until = null where previous_until <= now()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that was taken for an attempt, the `attempt`-th; times in Unix nanoseconds."""

    key: Key
    delivery_id: uuid.UUID
    event_id: uuid.UUID
    type: str
    body: bytes
    trace_parent: str | None
    attempt: int
    created_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSend:
    """An event for one endpoint, with the trace that it belongs to."""

    endpoint: Endpoint
    event: WebhookEvent
    trace_parent: str | None = None


async def add_deliveries(connection: Connection, many: Sequence[ToSend]) -> int:
    """Put events on their way; those that are on it already stay as they are. The number of new ones."""
    tag = await connection.execute(
        _ADD,
        [one.endpoint.cohort for one in many],
        [delivery_id(one.endpoint.endpoint_id, one.event.event_id) for one in many],
        [one.endpoint.endpoint_id for one in many],
        [one.endpoint.tenant for one in many],
        [one.event.event_id for one in many],
        [one.event.type.value for one in many],
        [one.event.body for one in many],
        [one.trace_parent for one in many],
    )
    return int(tag.rpartition(" ")[2])


async def take_due(
    connection: Connection, free: Mapping[Key, int], *, lost_after_s: float
) -> list[Due]:
    """Take what is due, of each endpoint at most as many as it has room for.

    Args:
        connection: a session of its own or a transaction.
        free: the number of attempts that may begin, by endpoint.
        lost_after_s: when an attempt of which nothing was noted counts as lost.
    """
    rows = await connection.fetch(
        _TAKE,
        [cohort for cohort, _ in free],
        [endpoint_id for _, endpoint_id in free],
        list(free.values()),
        lost_after_s,
    )
    return [
        Due(
            key=(row["cohort"], row["endpoint_id"]),
            delivery_id=row["delivery_id"],
            event_id=row["event_id"],
            type=row["type"],
            body=row["body"],
            trace_parent=row["trace_parent"],
            attempt=row["attempts_count"],
            created_ns=int(row["created_at"].timestamp() * 1e9),
        )
        for row in rows
    ]


async def note_attempt(
    connection: Connection,
    due: Due,
    *,
    state: DeliveryState,
    wait_s: float,
    status: int | None,
    reason: Reason,
) -> bool:
    """Note what became of an attempt; False when the delivery is gone or somebody has taken it since."""
    tag = await connection.execute(
        _NOTE, due.key[0], due.delivery_id, due.attempt, state.value, wait_s, status, reason.value
    )
    return tag == "UPDATE 1"


async def give_back(connection: Connection, due: Due) -> None:
    """Undo that a delivery was taken, for an attempt that was not made."""
    await connection.execute(_GIVE_BACK, due.key[0], due.delivery_id, due.attempt)


async def count_dropped(connection: Connection, dropped: Mapping[Key, int]) -> None:
    """Add to what an endpoint was not told of, for its owner to see."""
    await connection.execute(
        _DROPPED,
        [cohort for cohort, _ in dropped],
        [endpoint_id for _, endpoint_id in dropped],
        list(dropped.values()),
    )


async def expire(connection: Connection, *, keep_pending_s: float, count_max: int) -> int:
    """Give up what has waited too long, such as for an endpoint that stays disabled. Their number."""
    tag = await connection.execute(_EXPIRE, keep_pending_s, count_max)
    return int(tag.rpartition(" ")[2])


async def forget(
    connection: Connection, state: DeliveryState, *, keep_s: float, count_max: int
) -> int:
    """Delete what ended so long ago. The number of deliveries."""
    tag = await connection.execute(_FORGET, state.value, keep_s, count_max)
    return int(tag.rpartition(" ")[2])


async def forget_surplus(
    connection: Connection, key: Key, *, keep_count: int, count_max: int
) -> int:
    """Delete the oldest of an endpoint's ended deliveries beyond `keep_count`. Their number."""
    tag = await connection.execute(_FORGET_SURPLUS, *key, keep_count, count_max)
    return int(tag.rpartition(" ")[2])


async def count_waiting(
    connection: Connection, keys: Sequence[Key], *, count_max: int
) -> dict[Key, tuple[int, int | None]]:
    """Return how many deliveries wait for each endpoint, counted up to `count_max`, and since when the oldest does."""
    rows = await connection.fetch(
        _WAITING,
        [cohort for cohort, _ in keys],
        [endpoint_id for _, endpoint_id in keys],
        count_max,
    )
    return {
        (row["cohort"], row["endpoint_id"]): (
            row["count"],
            None if row["oldest"] is None else int(row["oldest"].timestamp() * 1e9),
        )
        for row in rows
    }


async def forget_secrets(connection: Connection) -> None:
    """Delete the secrets whose time to sign beside the new one is over."""
    await connection.execute(_FORGET_SECRETS)


def delivery_id(endpoint_id: uuid.UUID, event_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the delivery of an event to an endpoint, the same whoever reckons it."""
    return uuid.uuid5(_NAMESPACE, f"{endpoint_id}:{event_id}")
