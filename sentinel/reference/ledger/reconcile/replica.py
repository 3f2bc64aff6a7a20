"""A replica against its primary, without stopping either.

The primary is read first, and then the place in its write-ahead log; the replica is read once it has replayed that place. What
never changes must be on it; an account may have moved on since, but never back, and at one version it has one balance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sentinel.reference.ledger.reconcile.books import Stretch
from sentinel.reference.ledger.reconcile.report import FINDINGS_COUNT_MAX, Check, Result
from sentinel.reference.ledger.wire.postgres import Connection

_PAUSE_S: Final = 0.1

_ACCOUNTS: Final = """
select tenant, account_id, version, balance_minor from ledger.accounts
where cohort = $1 and (tenant, account_id) > ($2, $3) and ($4::text is null or (tenant, account_id) <= ($4, $5::text))
order by tenant, account_id limit $6
"""
_BATCHES: Final = """
select t.posted_at, count(distinct t.transaction_id) as transactions, coalesce(sum(abs(e.amount_minor)), 0) as moved,
       coalesce(sum(e.balance_after_minor::numeric * e.account_version), 0) as balances
from ledger.transactions t left join ledger.entries e on e.cohort = $1 and e.transaction_id = t.transaction_id
where t.cohort = $1 and t.posted_at >= $2 and t.posted_at < $3 group by t.posted_at
"""
_COUNT: Final = """
select count(*) from (
    select from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3 limit $4) as found
"""
_PLACE: Final = "select pg_current_wal_lsn()::text"
_REPLAYED: Final = """
select pg_is_in_recovery() as standby, pg_last_wal_replay_lsn() >= $1::text::pg_lsn as there,
       pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn())::bigint as behind_bytes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is compared: a stretch of accounts, and the transactions of a time; either may be left out."""

    accounts: Stretch | None = None
    times: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one server says: (version, balance) by account, and the sums of each database transaction by its moment."""

    accounts: Mapping[tuple[str, str], tuple[int, int]]
    batches: Mapping[datetime, tuple[int, int, int]]


async def count_up_to(
    connection: Connection, cohort: int, times: tuple[datetime, datetime], count_max: int
) -> int:
    """Return how many transactions a time has, counting no further than one beyond `count_max`."""
    return int(await connection.fetchval(_COUNT, cohort, *times, count_max + 1))


async def read_side(
    connection: Connection, cohort: int, scope: Scope, *, accounts_count_max: int
) -> Side:
    """Return what this server says of what is compared; of accounts the first `accounts_count_max`."""
    accounts, batches = [], []
    if scope.accounts is not None:
        accounts = [
            *await connection.fetch(_ACCOUNTS, cohort, *scope.accounts.args, accounts_count_max)
        ]
    if scope.times is not None:
        batches = [*await connection.fetch(_BATCHES, cohort, *scope.times)]
    return Side(
        accounts={
            (row["tenant"], row["account_id"]): (row["version"], row["balance_minor"])
            for row in accounts
        },
        batches={
            row["posted_at"]: (row["transactions"], int(row["moved"]), int(row["balances"]))
            for row in batches
        },
    )


async def place(primary: Connection) -> str:
    """Return where the primary's write-ahead log has come to."""
    return str(await primary.fetchval(_PLACE))


async def replayed(replica: Connection, lsn: str, *, wait_s: float) -> str:
    """Wait until the replica has replayed `lsn`; returns why it has not, or nothing."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        row = await replica.fetchrow(_REPLAYED, lsn)
        if not row["standby"]:
            return "what was given as replica is no standby"
        if row["there"]:
            return ""
        if loop.time() >= deadline:
            return f"the replica is {row['behind_bytes']} bytes behind"
        await asyncio.sleep(_PAUSE_S)


def compare(cohort: int, primary: Side, replica: Side) -> Result:
    """Return what the replica, which is past the primary's moment, does not have or has otherwise."""
    findings: list[dict[str, Any]] = []
    value_minor = 0
    for key, (version, balance) in primary.accounts.items():
        other = replica.accounts.get(key)
        if other is not None and (other[0] > version or other == (version, balance)):
            continue
        difference = abs(balance - (other[1] if other else 0))
        value_minor += difference
        findings.append(
            {
                "cohort": cohort,
                "tenant": key[0],
                "account_id": key[1],
                "primary": {"version": version, "balance_minor": balance},
                "replica": {"version": other[0], "balance_minor": other[1]} if other else None,
                "drift_value_minor": difference,
            }
        )
    for moment, sums in primary.batches.items():
        others = replica.batches.get(moment)
        if others == sums:
            continue
        difference = abs(sums[1] - (others[1] if others else 0))
        value_minor += difference
        findings.append(
            {
                "cohort": cohort,
                "decided_at": moment.isoformat(),
                "primary": {"transactions": sums[0], "moved_minor": sums[1]},
                "replica": {"transactions": others[0], "moved_minor": others[1]}
                if others
                else None,
                "drift_value_minor": difference,
            }
        )
    return Result(
        check=Check.REPLICA,
        drift_count=len(findings),
        drift_value_minor=value_minor,
        examined_count=len(primary.accounts) + len(primary.batches),
        findings=tuple(findings[:FINDINGS_COUNT_MAX]),
    )
