"""The register of tenants as whoever runs the ledger writes it: tenants, contracts, addresses, elevations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.domain.tenant import Network, Opening, Tier, new_cohort
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Connection, session

NETWORKS_COUNT_MAX: Final = 64

_OPEN: Final = """
insert into ledger.tenants (tenant, cohort) select * from unnest($1::text[], $2::smallint[]) on conflict do nothing
"""
# A tier that is not said stays what it is; a contract ends with the tier that has one.
_TERMS: Final = """
update ledger.tenants t set
    tier = coalesce(o.tier, t.tier),
    contract_rps = case when o.rps is null and o.tier = 'standard' then null else coalesce(o.rps, t.contract_rps) end,
    contract_burst = case when o.rps is null and o.tier = 'standard' then null else coalesce(o.burst, t.contract_burst) end
from unnest($1::text[], $2::text[], $3::int[], $4::int[]) as o (tenant, tier, rps, burst)
where o.tenant = t.tenant and (o.tier is not null or o.rps is not null)
"""
_LIST: Final = """
select t.tenant, t.cohort, t.tier, coalesce(t.contract_rps, d.rps) as rps,
       coalesce(t.contract_burst, d.burst) as burst, t.contract_rps is not null as has_contract,
       t.allow_cidrs, t.created_at, t.suspended_at
from ledger.tenants t join ledger.tiers d using (tier) order by t.tenant limit $1
"""
_ELEVATIONS: Final = """
select elevation_id, tenant, starts_at, ends_at, rps, burst, reason, created_by
from ledger.elevations where ends_at > now() order by tenant, starts_at limit $1
"""
_MAY: Final = """
select coalesce(t.contract_rps, d.rps) as rps, coalesce(t.contract_burst, d.burst) as burst
from ledger.tenants t join ledger.tiers d using (tier) where t.tenant = $1
"""
_ELEVATE: Final = """
insert into ledger.elevations (tenant, starts_at, ends_at, rps, burst, reason)
values ($1, $2, $3, $4, $5, $6) returning elevation_id
"""
# One that has not begun is as if it had never been: its end may not come before its start.
_END: Final = """
with gone as (delete from ledger.elevations where tenant = $1 and elevation_id = $2 and starts_at >= now() returning 1),
     over as (update ledger.elevations set ends_at = now()
              where tenant = $1 and elevation_id = $2 and starts_at < now() and ends_at > now() returning 1)
select (select count(*) from gone) + (select count(*) from over)
"""
_LISTED_COUNT_MAX: Final = 10_000


async def open_tenants(config: PostgresConfig, openings: Sequence[Opening]) -> None:
    """Register tenants; one that is there keeps its cohort, and its tier unless another is given.

    Args:
        config: a database, with a user who may write to its register.
        openings: the tenants.

    Raises:
        UnavailableError: the database does not answer in time.
        PermanentError: the user may not.
    """
    names = [one.name for one in openings]
    async with (
        session(config, application_name="ledger-tenants") as connection,
        connection.transaction(),
    ):
        await connection.execute(_OPEN, names, [new_cohort(name) for name in names])
        await connection.execute(
            _TERMS,
            names,
            [one.tier.value if one.tier is not None else None for one in openings],
            [one.limit.rps if one.limit is not None else None for one in openings],
            [one.limit.burst if one.limit is not None else None for one in openings],
        )


async def add_tenant(
    config: PostgresConfig, opening: Opening, *, networks: Sequence[Network]
) -> None:
    """Register a tenant that is new.

    Raises:
        UsageError: it is there already, or what is given cannot be meant.
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        added = await connection.fetchval(
            "insert into ledger.tenants (tenant, cohort, tier, contract_rps, contract_burst, allow_cidrs) "
            "values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning cohort",
            opening.name,
            new_cohort(opening.name),
            (opening.tier or Tier.STANDARD).value,
            opening.limit.rps if opening.limit is not None else None,
            opening.limit.burst if opening.limit is not None else None,
            list(networks),
        )
    if added is None:
        message = f"the tenant {opening.name} is there already; `tenant limit` changes it"
        raise UsageError(message)


async def set_terms(
    config: PostgresConfig,
    opening: Opening,
    *,
    without_contract: bool,
    networks: Sequence[Network] | None,
) -> None:
    """Change what a tenant may ask and from where; what is not given stays.

    Raises:
        UsageError: there is no such tenant, or a contract is given to one of the standard tier.
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with (
        session(config, application_name="ledger-tenants") as connection,
        connection.transaction(),
    ):
        row = await _locked(connection, opening.name)
        tier = opening.tier or Tier(row["tier"])
        rps, burst = row["contract_rps"], row["contract_burst"]
        if opening.limit is not None:
            rps, burst = opening.limit.rps, opening.limit.burst
            if tier is Tier.STANDARD:
                message = f"{opening.name} is of the standard tier, which has no contracts; give --tier enterprise"
                raise UsageError(message)
        elif without_contract or tier is Tier.STANDARD:
            rps = burst = None
        await connection.execute(
            "update ledger.tenants set tier = $2, contract_rps = $3, contract_burst = $4, "
            "allow_cidrs = coalesce($5, allow_cidrs) where tenant = $1",
            opening.name,
            tier.value,
            rps,
            burst,
            list(networks) if networks is not None else None,
        )


async def suspend(config: PostgresConfig, name: str) -> None:
    """Have the edges answer none of a tenant's requests; one that is suspended stays so since when it was.

    Raises:
        UsageError: there is no such tenant.
        UnavailableError, PermanentError: as `open_tenants`.
    """
    await _set_suspended(config, name, "coalesce(suspended_at, now())")


async def resume(config: PostgresConfig, name: str) -> None:
    """Have the edges answer a tenant's requests again.

    Raises:
        UsageError, UnavailableError, PermanentError: as `suspend`.
    """
    await _set_suspended(config, name, "null")


async def _set_suspended(config: PostgresConfig, name: str, since: str) -> None:
    async with (
        session(config, application_name="ledger-tenants") as connection,
        connection.transaction(),
    ):
        await _locked(connection, name)
        await connection.execute(
            f"update ledger.tenants set suspended_at = {since} where tenant = $1",  # noqa: S608 - of two constants
            name,
        )


async def elevate(
    config: PostgresConfig,
    name: str,
    limit: Limit,
    *,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
) -> int:
    """Give a tenant a higher limit for a time, and return the elevation's number.

    Raises:
        UsageError: there is no such tenant, or it may as much by now.
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with (
        session(config, application_name="ledger-tenants") as connection,
        connection.transaction(),
    ):
        await _locked(connection, name)
        row = await connection.fetchrow(_MAY, name)
        own = Limit(rps=row["rps"], burst=row["burst"])
        if own.raised_to(limit) == own:
            message = f"{name} may {own.rps}/s and a burst of {own.burst} in any case: this elevation would raise nothing"
            raise UsageError(message)
        return int(
            await connection.fetchval(
                _ELEVATE, name, starts_at, ends_at, limit.rps, limit.burst, reason
            )
        )


async def end_elevation(config: PostgresConfig, name: str, elevation_id: int) -> None:
    """End an elevation now; one that has not begun will not.

    Raises:
        UsageError: the tenant has no such elevation, or it is over.
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        if not await connection.fetchval(_END, name, elevation_id):
            message = f"{name} has no elevation {elevation_id} that is not over"
            raise UsageError(message)


async def tier_limits(config: PostgresConfig) -> dict[Tier, Limit]:
    """Return what each tier may.

    Raises:
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        rows = await connection.fetch("select tier, rps, burst from ledger.tiers order by tier")
    return {Tier(row["tier"]): Limit(rps=row["rps"], burst=row["burst"]) for row in rows}


async def set_tier(config: PostgresConfig, tier: Tier, limit: Limit) -> None:
    """Change what every tenant of a tier may that has no contract.

    Raises:
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        await connection.execute(
            "update ledger.tiers set rps = $2, burst = $3 where tier = $1",
            tier.value,
            limit.rps,
            limit.burst,
        )


async def listed(config: PostgresConfig) -> list[dict[str, Any]]:
    """Return tenants by name, each with what it may ask, from where, and its elevations to come.

    Raises:
        UnavailableError, PermanentError: as `open_tenants`.
    """
    async with session(config, application_name="ledger-tenants") as connection:
        rows = await connection.fetch(_LIST, _LISTED_COUNT_MAX)
        elevations = await connection.fetch(_ELEVATIONS, _LISTED_COUNT_MAX)
    coming: dict[str, list[dict[str, Any]]] = {}
    for row in elevations:
        told = {name: value for name, value in dict(row).items() if name != "tenant"}
        coming.setdefault(row["tenant"], []).append(
            {
                **told,
                "starts_at": row["starts_at"].isoformat(),
                "ends_at": row["ends_at"].isoformat(),
            }
        )
    return [
        {
            **dict(row),
            "created_at": row["created_at"].isoformat(),
            "suspended_at": row["suspended_at"].isoformat() if row["suspended_at"] else None,
            "allow_cidrs": [str(network) for network in row["allow_cidrs"]],
            "elevations": coming.get(row["tenant"], []),
        }
        for row in rows
    ]


async def _locked(connection: Connection, name: str) -> Any:
    row = await connection.fetchrow(
        "select tier, contract_rps, contract_burst from ledger.tenants where tenant = $1 for update",
        name,
    )
    if row is None:
        message = f"there is no tenant {name}; `tenant list` tells who is there"
        raise UsageError(message)
    return row
