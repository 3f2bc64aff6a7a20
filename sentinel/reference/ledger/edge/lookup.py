"""A question that one row answers, as one statement: who asks, what is asked, and the position of the answer.

Row-level security lets a session see what belongs to whom it has named, for the transaction; a statement of its own is
one. Said and asked in one, a read is one round trip in place of four.

The order is the statement's own: what is asked takes the tenant from `who`, and the limit keeps it from being planned as anything
but a loop over that one row, which is read first. Were the order ever another, nobody would have been named yet, and nothing would be
found. The position is reckoned within the statement, after its snapshot was taken: what is read is no newer than it says.

Planned anew each time, such a statement takes the server several times what its execution does, over partitions and policies:
the edge's connections plan it once (`PLANNED_ONCE`). The partition is chosen when it is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.wire.postgres import Connection

_T_co = TypeVar("_T_co", covariant=True)

PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan"}
PRIMARY_LSN: Final = "(pg_current_wal_insert_lsn() - '0/0')::bigint"
REPLICA_LSN: Final = "(pg_last_wal_replay_lsn() - '0/0')::bigint"
_STATEMENT: Final = """
with who as materialized (
    select set_config('ledger.cohort', $1, true) as cohort, set_config('ledger.tenant', $2, true) as tenant, {lsn} as lsn
)
select who.lsn, found.* from who left join lateral (
{asked}
    limit 1
) as found on true
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked, composed once for the primary and once for the replica.

    Parameters are the tenant's cohort as $3 and then the question's own; the tenant's name is `who.tenant`.
    """

    primary: str
    replica: str

    @classmethod
    def of(cls, asked: str) -> Statement:
        """Compose it; `asked` selects at most one row, of which it takes the tenant from `who`."""
        if "who.tenant" not in asked:
            message = "a lookup must take the tenant from who.tenant"
            raise ValueError(message)
        return cls(
            primary=_STATEMENT.format(lsn=PRIMARY_LSN, asked=asked),
            replica=_STATEMENT.format(lsn=REPLICA_LSN, asked=asked),
        )


@dataclass(frozen=True, slots=True)
class Lookup(Generic[_T_co]):
    """A statement, its parameters from $4 on, and what its row tells; None when it found nothing."""

    statement: Statement
    arguments: Sequence[object]
    told: Callable[[Any], _T_co | None]

    async def ask(
        self, connection: Connection, tenant: Tenant, *, is_replica: bool
    ) -> tuple[int, _T_co | None]:
        """Return position and answer."""
        row = await connection.fetchrow(
            self.statement.replica if is_replica else self.statement.primary,
            str(tenant.cohort),
            tenant.name,
            tenant.cohort,
            *self.arguments,
        )
        return row["lsn"], self.told(row)
