"""The register of tenants as the edge reads it: who is there, and what each may ask.

The edge asks for each tenant once and remembers: while the database is away, whoever was known goes on
being served. What it knows it asks for again while it serves, so that nobody waits for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.domain.limits import Allowance, Elevation, Limit
from sentinel.reference.ledger.domain.tenant import Tenant, Tier
from sentinel.reference.ledger.wire.postgres import Database

_FIND: Final = """
select t.tenant, t.cohort, t.tier, t.allow_cidrs, t.suspended_at is not null as is_suspended,
       coalesce(t.contract_rps, d.rps) as rps, coalesce(t.contract_burst, d.burst) as burst,
       e.starts_ns, e.ends_ns, e.elevated_rps, e.elevated_burst
from ledger.tenants t join ledger.tiers d using (tier)
left join lateral (
    select array_agg((extract(epoch from starts_at) * 1000000000)::bigint) as starts_ns,
           array_agg((extract(epoch from ends_at) * 1000000000)::bigint) as ends_ns,
           array_agg(rps) as elevated_rps, array_agg(burst) as elevated_burst
    from (select starts_at, ends_at, rps, burst from ledger.elevations
          where tenant = t.tenant and ends_at > now() and starts_at < now() + interval '1 hour'
          order by starts_at limit $2) as coming
) e on true
where t.tenant = $1
"""
_KNOWN_COUNT_MAX: Final = 10_000
_ELEVATIONS_COUNT_MAX: Final = 32
# Fresh, it is answered from memory; up to the second age as well, while the database is asked again.
_KNOWN_S: Final = 10.0
_STALE_S: Final = 20.0
_UNKNOWN_S: Final = 2.0


class Tenants:
    """What is known of tenants, at most 20 seconds old while the database answers."""

    def __init__(
        self, database: Database, *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._steady_s = steady_s
        # By name: what was found and when, in steady seconds; None for a name that is not there.
        self._known: dict[str, tuple[Tenant | None, float]] = {}
        self._asking: dict[str, asyncio.Task[Tenant | None]] = {}

    async def find(self, name: str) -> Tenant | None:
        """Return the tenant, or None when there is none of that name.

        Raises:
            UnavailableError: the database did not answer, and the tenant was not known before.
            PermanentError: likewise, it refused.
        """
        known = self._known.get(name)
        if known is not None:
            tenant, found_s = known
            age_s = self._steady_s() - found_s
            if age_s < (_KNOWN_S if tenant is not None else _UNKNOWN_S):
                return tenant
            if tenant is not None and age_s < _STALE_S:
                self._ask_once(name)
                return tenant
        return await asyncio.shield(self._ask_once(name))

    def _ask_once(self, name: str) -> asyncio.Task[Tenant | None]:
        """Return the question that is under way: a tenant's first hundred requests come at once."""
        asking = self._asking.get(name)
        if asking is None:
            asking = asyncio.create_task(self._ask(name), name="tenants-ask")
            self._asking[name] = asking
            asking.add_done_callback(lambda done: self._asked(name, done))
        return asking

    def _asked(self, name: str, done: asyncio.Task[Tenant | None]) -> None:
        self._asking.pop(name, None)
        if not done.cancelled():
            done.exception()  # looked at: perhaps nobody waits for this answer

    async def _ask(self, name: str) -> Tenant | None:
        known = self._known.get(name)
        try:
            async with self._database.acquire() as connection:
                row = await connection.fetchrow(_FIND, name, _ELEVATIONS_COUNT_MAX)
        except (UnavailableError, PermanentError):
            if known is None or known[0] is None:
                raise
            # Kept as long again: an outage is not made worse by asking at each request.
            tenant: Tenant | None = known[0]
        else:
            tenant = _tenant(row)
        if name not in self._known and len(self._known) >= _KNOWN_COUNT_MAX:
            # The one that has been there longest: names that are not there are tried in any number.
            del self._known[next(iter(self._known))]
        self._known[name] = (tenant, self._steady_s())
        return tenant


def _tenant(row: Any) -> Tenant | None:
    if row is None:
        return None
    coming = zip(
        row["starts_ns"] or (),
        row["ends_ns"] or (),
        row["elevated_rps"] or (),
        row["elevated_burst"] or (),
        strict=True,
    )
    return Tenant(
        name=row["tenant"],
        cohort=row["cohort"],
        tier=Tier(row["tier"]),
        allowance=Allowance(
            limit=Limit(rps=row["rps"], burst=row["burst"]),
            elevations=tuple(
                Elevation(starts_ns=starts, ends_ns=ends, limit=Limit(rps=rps, burst=burst))
                for starts, ends, rps, burst in coming
            ),
        ),
        networks=tuple(row["allow_cidrs"]),
        is_suspended=row["is_suspended"],
    )
