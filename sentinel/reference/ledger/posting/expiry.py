"""Pending transfers whose time is over are expired by a request of the ledger's own.

It goes through the queue like any other, so it is decided in its order and once, however many posters
notice the same one. The time is the database's; should whoever decides find it too early by its own
clock, the next attempt comes a minute later. A disbursement's does not end by its time: its money may be with the bank.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from sentinel.reference.ledger.domain import Step, expire_step
from sentinel.reference.ledger.wire.envelope import Envelope, encode_envelope, transfer_subject
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database

EXPIRED_COUNT_MAX: Final = 500
_EXPIRED: Final = """
select tenant, pending_id, (extract(epoch from now() - expires_at) / 60)::int as attempt
from ledger.holds h where cohort = $1 and state = 'open' and expires_at <= now()
  and not exists (select from ledger.disbursements d where d.cohort = $1 and d.pending_id = h.pending_id)
order by expires_at limit $2
"""


async def expired(database: Database, cohort: int) -> list[Step]:
    """Return steps for the cohort's overdue pending transfers, the oldest first, at most 500.

    Raises:
        UnavailableError: the database did not answer in time.
    """
    async with database.acquire() as connection:
        rows = await connection.fetch(_EXPIRED, cohort, EXPIRED_COUNT_MAX)
    return [
        expire_step(tenant=row["tenant"], pending_id=row["pending_id"], attempt=row["attempt"])
        for row in rows
    ]


async def publish(queue: Queue, cohort: int, steps: Sequence[Step]) -> int:
    """Put the steps on the cohort's stream and return how many it had not taken before.

    Raises:
        UnavailableError: the queue is away or full; the same steps are found again.
    """
    taken_count = 0
    for step in steps:
        envelope = Envelope(asked=step, cohort=cohort, accepted_ns=time.time_ns())
        result = await queue.publish(
            subject=transfer_subject(cohort=cohort, asked_id=step.transaction_id),
            payload=encode_envelope(envelope),
            message_id=f"{step.tenant}:{step.idempotency_key}",
            headers={},
        )
        taken_count += not result.duplicate
    return taken_count
