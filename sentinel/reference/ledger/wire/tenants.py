"""The register of tenants: opened by whoever runs the ledger, read by the edge.

The edge asks for each tenant once and remembers: while the database is away, whoever was known goes on
being served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.tenant import Tenant, Tier, new_cohort
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database, session

_OPEN: Final = """
insert into ledger.tenants (tenant, cohort, tier)
select * from unnest($1::text[], $2::smallint[], $3::text[]) on conflict (tenant) do update set tier = excluded.tier
"""
_FIND: Final = "select tenant, cohort, tier from ledger.tenants where tenant = $1"
_KNOWN_COUNT_MAX: Final = 10_000
_KNOWN_S: Final = 30.0
_UNKNOWN_S: Final = 2.0


async def open_tenants(config: PostgresConfig, tenants: Sequence[tuple[str, Tier]]) -> None:
    """Register tenants; one that is there keeps its cohort.

    Args:
        config: a database, with a user who may write to its register.
        tenants: names and tiers.

    Raises:
        UnavailableError: the database does not answer in time.
        PermanentError: the user may not.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        await connection.execute(
            _OPEN,
            [name for name, _ in tenants],
            [new_cohort(name) for name, _ in tenants],
            [tier.value for _, tier in tenants],
        )


class Tenants:
    """What is known of tenants, at most half a minute old while the database answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By name: what was found and when, in monotonic seconds; None for a name that is not there.
        self._known: dict[str, tuple[Tenant | None, float]] = {}
        self._asking: dict[str, asyncio.Task[Tenant | None]] = {}

    async def find(self, name: str) -> Tenant | None:
        """Return the tenant, or None when there is none of that name.

        Raises:
            UnavailableError: the database did not answer, and the tenant was not known before.
        """
        known = self._known.get(name)
        if known is not None:
            tenant, found_s = known
            if time.monotonic() - found_s < (_KNOWN_S if tenant is not None else _UNKNOWN_S):
                return tenant
        asking = self._asking.get(name)
        if asking is None:
            # One question for all who wait for it: a tenant's first hundred requests come at once.
            asking = asyncio.create_task(self._ask(name), name="tenants-ask")
            self._asking[name] = asking
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(asking)

    async def _ask(self, name: str) -> Tenant | None:
        known = self._known.get(name)
        try:
            async with self._database.acquire() as connection:
                row = await connection.fetchrow(_FIND, name)
        except UnavailableError:
            if known is None or known[0] is None:
                raise
            # Kept as long again: an outage is not made worse by asking at each request.
            tenant: Tenant | None = known[0]
        else:
            tenant = _tenant(row)
        if name not in self._known and len(self._known) >= _KNOWN_COUNT_MAX:
            # The one that has been there longest: names that are not there are tried in any number.
            del self._known[next(iter(self._known))]
        self._known[name] = (tenant, time.monotonic())
        return tenant


def _tenant(row: Any) -> Tenant | None:
    if row is None:
        return None
    return Tenant(name=row["tenant"], cohort=row["cohort"], tier=Tier(row["tier"]))
