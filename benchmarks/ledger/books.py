"""The books after a load: is everything there that was accepted, once, and does all of it add up.

Asked of the database itself, by its owner's own statements and none of the ledger's code.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_POLL_S = 0.25
_ASKED_COUNT = 50_000
_ACCOUNTS = """
with sums as (
    select cohort, tenant, account_id, sum(amount_minor) as total, count(*) as count, max(account_version) as newest
    from ledger.entries group by 1, 2, 3
), lasts as (
    select e.cohort, e.tenant, e.account_id, e.balance_after_minor
    from ledger.entries e join sums s using (cohort, tenant, account_id) where e.account_version = s.newest
)
select count(*) as count, coalesce(sum(abs(a.balance_minor - coalesce(s.total, 0))), 0)::bigint as value
from ledger.accounts a left join sums s using (cohort, tenant, account_id) left join lasts l using (cohort, tenant, account_id)
where a.balance_minor <> coalesce(s.total, 0) or a.balance_minor <> coalesce(l.balance_after_minor, 0)
   or a.version <> coalesce(s.count, 0) or a.version <> coalesce(s.newest, 0)
"""
_LEGS = """
select count(*) from (
    select t.cohort, t.transaction_id from ledger.transactions t left join ledger.entries e using (cohort, transaction_id)
    where t.kind in ('transfer', 'post', 'reversal')
    group by t.cohort, t.transaction_id, t.state
    having count(e.leg) <> case when t.state = 'posted' then 2 else 0 end or coalesce(sum(e.amount_minor), 0) <> 0) as odd
"""
_FOUND = (
    "select transaction_id, state from ledger.transactions where transaction_id = any($1::uuid[])"
)
_UNFINISHED = """
select count(*) from ledger.disbursements d left join ledger.holds h using (cohort, pending_id)
where d.state in ('requested', 'submitted') or h.state = 'open'
   or (d.state = 'returned_late' and not exists (
        select from ledger.transactions r where r.cohort = d.cohort and r.target_id = h.resolved_by and r.kind = 'reversal'))
"""
# Payments out as the rail has ended them: what was paid was posted in full, what came back was freed or moved back. Those that
# have not ended are counted as unfinished; one that comes back late may do so between two of these questions.
PAYOUTS = """
with ended as (
    select d.state, d.amount_minor, d.changed_at, h.state as hold, p.amount_minor as posted, exists (
        select from ledger.transactions r where r.cohort = d.cohort and r.target_id = h.resolved_by and r.kind = 'reversal'
            and r.state = 'posted') as moved_back
    from ledger.disbursements d
    left join ledger.holds h using (cohort, pending_id)
    left join ledger.transactions p on p.cohort = d.cohort and p.transaction_id = h.resolved_by
    where d.state not in ('requested', 'submitted') and h.state is distinct from 'open'
)
select count(*) as count, coalesce(sum(amount_minor), 0)::bigint as value from ended
where not coalesce(case state
    when 'settled' then hold = 'posted' and posted = amount_minor and not moved_back
    when 'returned_late' then hold = 'posted' and posted = amount_minor and (moved_back or changed_at > now() - interval '1 minute')
    else hold = 'voided' end, false)
"""
_AGES = """
select percentile_cont(array[0.5, 0.95, 0.99, 1.0]) within group (
    order by extract(epoch from pg_xact_commit_timestamp(xmin) - accepted_at) * 1000) as ages, count(*) as count
from ledger.transactions where accepted_at >= to_timestamp($1) and accepted_at < to_timestamp($2)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the books say.

    Attributes:
        accepted: ids that were answered 202.
        lost: of them, those that were neither posted nor rejected when the wait was over.
        posted, rejected: what became of the others; one that is posted once and rejected once counts as both.
        twice: those that stand in the books more than once.
        unfinished: payments out that the rail has not yet spoken of for good, and money that is still reserved for them.
        drift_count, drift_minor: accounts whose balance, entries and version do not agree, and by how much; transactions
            without exactly two entries that sum to zero count too, and payments out that the books do not have as the rail has said.
        drained_s: how long after the load's end the last was decided.
    """

    accepted: int
    lost: int
    posted: int
    rejected: int
    drift_count: int
    drift_minor: int
    drained_s: float
    twice: int = 0
    unfinished: int = 0

    @property
    def sound(self) -> bool:
        """Nothing is lost, nothing is there twice, and nothing is off."""
        return not (self.lost or self.twice or self.drift_count or self.unfinished)


async def look(url: str, ids_file: Path, *, patience_s: float) -> Books:
    """Wait until all that was accepted is decided, then look at everything."""
    accepted = {uuid.UUID(line) for line in ids_file.read_text(encoding="ascii").split()}
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    states: Counter[str] = Counter()
    missing, twice = list(accepted), 0
    try:
        while True:
            for at in range(0, len(missing), _ASKED_COUNT):
                rows = await connection.fetch(_FOUND, missing[at : at + _ASKED_COUNT])
                accepted.difference_update(row["transaction_id"] for row in rows)
                states.update(row["state"] for row in rows)
                twice += len(rows) - len({row["transaction_id"] for row in rows})
            missing = list(accepted)
            unfinished = await connection.fetchval(_UNFINISHED)
            waited_s = time.monotonic() - began
            if (not missing and not unfinished) or waited_s > patience_s:
                break
            await asyncio.sleep(_POLL_S)
        accounts = await connection.fetchrow(_ACCOUNTS)
        odd = await connection.fetchval(_LEGS)
        payouts = await connection.fetchrow(PAYOUTS)
        sums = await connection.fetchval(
            "select coalesce(sum(amount_minor), 0) from ledger.entries"
        )
    finally:
        await connection.close()
    return Books(
        accepted=states.total() - twice + len(missing),
        lost=len(missing),
        posted=states["posted"],
        rejected=states["rejected"],
        twice=twice,
        unfinished=int(unfinished),
        drift_count=int(accounts["count"]) + int(odd) + int(payouts["count"]) + (sums != 0),
        drift_minor=int(accounts["value"]) + int(payouts["value"]) + abs(int(sums)),
        drained_s=waited_s,
    )


async def ages_ms(url: str, *, began_s: float, ended_s: float) -> dict[str, float]:
    """From the edge's acceptance to the commit, as the server has its time, of what was accepted in a time."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        row = await connection.fetchrow(_AGES, began_s, ended_s)
    finally:
        await connection.close()
    if not row["count"]:
        return {}
    names = ("p50", "p95", "p99", "max")
    return {name: round(one, 1) for name, one in zip(names, row["ages"], strict=True)}
