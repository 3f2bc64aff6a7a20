"""What was told of the transactions, and counted by analytics.

Analytics is behind the books by nature. A transaction that it does not have is lost to it only once it is known to be past it: when it
has read every event that the stream had at a moment when the transaction had left the outbox.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from sentinel.reference.ledger.reconcile.place import NEVER, Place
from sentinel.reference.ledger.reconcile.report import FINDINGS_COUNT_MAX, Check, Result
from sentinel.reference.ledger.reconcile.statements import compared
from sentinel.reference.ledger.wire.postgres import Connection
from sentinel.reference.ledger.wire.streams import ReadUpTo

SUSPECTS_COUNT_MAX: Final = 10_000

# Not waiting in the outbox, and not counted. Ids are remembered for eight days; what is as old is left alone.
_UNCOUNTED: Final = """
select t.transaction_id, t.amount_minor, t.tenant, t.posted_at
from ledger.transactions t
where t.cohort = $1 and t.posted_at >= greatest($2, $3, now() - interval '7 days')
  and not exists (select from ledger.analytics_seen s
                  where s.occurred_on = (t.posted_at at time zone 'UTC')::date and s.event_id = t.transaction_id)
  and not exists (select from ledger.outbox o where o.cohort = $1 and o.event_id = t.transaction_id)
order by t.posted_at limit $4
"""
_TOLD_FROM: Final = "select applied_at from ledger.schema_version where version = 3"
# Days of which every id is remembered: what was counted against the transactions that were, which one snapshot sees alike.
_SUMS: Final = """
with counted as (
    select tenant, day, currency, kind, state, transactions_count, amount_minor
    from ledger.analytics_daily where cohort = $1 and day > current_date - 7
), found as (
    select tenant, (posted_at at time zone 'UTC')::date as day, coalesce(currency, '') as currency, kind, state,
           count(*) as transactions_count, coalesce(sum(amount_minor), 0) as amount_minor
    from ledger.transactions t
    where cohort = $1 and posted_at >= (current_date - 6)::timestamp at time zone 'UTC'
      and exists (select from ledger.analytics_seen s
                  where s.occurred_on = (t.posted_at at time zone 'UTC')::date and s.event_id = t.transaction_id)
    group by 1, 2, 3, 4, 5
)
select greatest(1, abs(coalesce(c.transactions_count, 0) - coalesce(f.transactions_count, 0)))::bigint as number,
       abs(coalesce(c.amount_minor, 0) - coalesce(f.amount_minor, 0)) as value,
       jsonb_build_object('tenant', coalesce(c.tenant, f.tenant), 'day', coalesce(c.day, f.day), 'currency', coalesce(c.currency, f.currency),
           'kind', coalesce(c.kind, f.kind), 'state', coalesce(c.state, f.state),
           'counted', jsonb_build_object('transactions', c.transactions_count, 'amount_minor', c.amount_minor),
           'transactions', jsonb_build_object('transactions', f.transactions_count, 'amount_minor', f.amount_minor)) as detail
from counted c full join found f using (tenant, day, currency, kind, state)
where coalesce(c.transactions_count, 0) <> coalesce(f.transactions_count, 0) or coalesce(c.amount_minor, 0) <> coalesce(f.amount_minor, 0)
"""


@dataclass(slots=True)
class Suspects:
    """Transactions of a cohort that analytics had not counted, and up to which number it must have read to be past them.

    Attributes:
        place: what was committed before it is counted, was told of, or is in `ids`.
        up_to: None until it is known.
    """

    place: Place | None = None
    up_to: int | None = None
    ids: Mapping[uuid.UUID, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def oldest(self) -> datetime:
        """The moment of the oldest of `ids`."""
        told = (datetime.fromisoformat(one["posted_at"]) for one in self.ids.values())
        return min(told, default=NEVER)


async def uncounted(
    connection: Connection, cohort: int, since: datetime
) -> dict[uuid.UUID, Mapping[str, Any]]:
    """Return transactions that have left the outbox and that analytics has not counted (yet), the oldest first."""
    told_from = await connection.fetchval(_TOLD_FROM)
    rows = await connection.fetch(_UNCOUNTED, cohort, since, told_from, SUSPECTS_COUNT_MAX)
    return {
        uuid.UUID(int=row["transaction_id"].int): {
            "cohort": cohort,
            "tenant": row["tenant"],
            "transaction_id": str(row["transaction_id"]),
            "amount_minor": row["amount_minor"],
            "posted_at": row["posted_at"].isoformat(),
            "counted": False,
        }
        for row in rows
    }


def judge(
    suspects: Suspects, found: Mapping[uuid.UUID, Mapping[str, Any]], read: ReadUpTo | None
) -> Result:
    """Return which suspects of an earlier look are uncounted still, now that every event of then has been read.

    Args:
        suspects: of an earlier look, with the stream's highest number after it.
        found: what is uncounted now.
        read: how far analytics had read before this look; None when nobody runs it.
    """
    if read is None:
        return Result(
            check=Check.EVENTS, absent=True, reason="nobody has run analytics on this stream"
        )
    if not suspects.ids:
        return Result(check=Check.EVENTS)
    if suspects.up_to is None:
        return Result(check=Check.EVENTS, reason="how far the stream of events was is not known")
    if read.acknowledged < suspects.up_to:
        behind = suspects.up_to - read.acknowledged
        return Result(check=Check.EVENTS, reason=f"analytics is {behind} events behind")
    missing = [found[one] for one in suspects.ids if one in found]
    return Result(
        check=Check.EVENTS,
        examined_count=len(suspects.ids),
        drift_count=len(missing),
        drift_value_minor=sum(one["amount_minor"] or 0 for one in missing),
        findings=tuple(missing[:FINDINGS_COUNT_MAX]),
    )


async def compare_sums(connection: Connection, cohort: int) -> Result:
    """Return which of the last days' sums differ from the transactions that they count."""
    rows = await connection.fetch(compared(_SUMS), cohort)
    return _result(Check.EVENTS, cohort, rows, examined_count=0)


def _result(check: Check, cohort: int, rows: Any, *, examined_count: int) -> Result:
    return Result(
        check=check,
        drift_count=int(rows[0]["all_number"]) if rows else 0,
        drift_value_minor=int(rows[0]["all_value"] or 0) if rows else 0,
        examined_count=examined_count,
        findings=tuple(
            {
                "cohort": cohort,
                **orjson.loads(row["detail"]),
                "drift_value_minor": int(row["value"] or 0),
            }
            for row in rows
        ),
    )
