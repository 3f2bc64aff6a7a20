"""`sentinel-ledger tenant`: who may use the ledger, how much, and from where.

What is changed here is in the database's register, and the edges follow within 20 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.domain.tenant import Network, Opening, Tier
from sentinel.reference.ledger.operate.cli.arguments import (
    count,
    limit_of,
    moment,
    network,
    span,
    tenant,
)
from sentinel.reference.ledger.operate.cli.servers import Commands, add_postgres, postgres_url
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url

_REASON_LENGTH_MAX: Final = 200
_TIERS: Final = tuple(tier.value for tier in Tier)


def add_tenant_commands(commands: Commands) -> None:
    """Add `tenant` and what it can do."""
    group = commands.add_parser("tenant", help="who may use the ledger, how much, from where")
    kinds = group.add_subparsers(required=True, metavar="what")

    add = kinds.add_parser("add", help="open a tenant that is new")
    add.add_argument("name", metavar="NAME", type=tenant)
    _add_terms(add)

    listing = kinds.add_parser("list", help="who is there, and what each may")
    listing.add_argument("-o", dest="form", choices=("text", "json"), default="text")

    limit = kinds.add_parser("limit", help="change what a tenant may; what is not given stays")
    limit.add_argument("name", metavar="NAME", type=tenant)
    _add_terms(limit)
    limit.add_argument("--no-contract", action="store_true", help="what its tier may, and no more")
    limit.add_argument("--allow-any", action="store_true", help="from any address")

    tier = kinds.add_parser("tier", help="what each tier may; with --rps, change one")
    tier.add_argument("tier", metavar="TIER", nargs="?", choices=_TIERS)
    tier.add_argument("--rps", type=count, help="requests a second")
    tier.add_argument("--burst", type=count, help="requests at once (default: of two seconds)")

    elevate = kinds.add_parser("elevate", help="give a tenant a higher limit for a time")
    elevate.add_argument("name", metavar="NAME", type=tenant)
    elevate.add_argument("--rps", type=count, help="requests a second")
    elevate.add_argument("--burst", type=count, help="requests at once (default: of two seconds)")
    elevate.add_argument(
        "--from", dest="starts", type=moment, help="its start, with zone (default: now)"
    )
    until = elevate.add_mutually_exclusive_group()
    until.add_argument("--until", dest="ends", type=moment, help="its end, with zone")
    until.add_argument("--for", dest="lasts", type=span, help="its length, as 90m, 2h or 1d")
    elevate.add_argument("--reason", default="", help="what it is for")
    elevate.add_argument("--end", type=count, metavar="ID", help="end this elevation now instead")

    suspend = kinds.add_parser(
        "suspend", help="answer none of a tenant's requests until it is resumed"
    )
    suspend.add_argument("name", metavar="NAME", type=tenant)

    resume = kinds.add_parser("resume", help="answer a suspended tenant's requests again")
    resume.add_argument("name", metavar="NAME", type=tenant)

    for parser, run in (
        (add, _add),
        (listing, _list),
        (limit, _limit),
        (tier, _tier),
        (elevate, _elevate),
        (suspend, _suspend),
        (resume, _resume),
    ):
        parser.add_argument(
            "--state", type=Path, help="state file of `up`, in place of an address"
        )
        add_postgres(parser)
        parser.set_defaults(command=_command(run))


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tier", choices=_TIERS, help="standard or enterprise")
    parser.add_argument("--rps", type=count, help="requests a second, by an enterprise's contract")
    parser.add_argument("--burst", type=count, help="requests at once (default: of two seconds)")
    parser.add_argument(
        "--allow",
        action="append",
        type=network,
        metavar="CIDR",
        help="only from this network; may be given again, and takes the place of those that were",
    )


def _command(
    run: Callable[[argparse.Namespace, PostgresConfig], Coroutine[Any, Any, None]],
) -> Callable[[argparse.Namespace], int]:
    def command(options: argparse.Namespace) -> int:
        from sentinel.reference.ledger.operate.state import read_state

        url = postgres_url(options)
        if url is None and options.state is not None:
            url = read_url(Path(read_state(options.state).postgres_url_file))
        if url is None:
            message = "give the address of PostgreSQL or --state; see --help"
            raise UsageError(message)
        asyncio.run(run(options, PostgresConfig(url=url)))
        return 0

    return command


async def _add(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import add_tenant

    limit = _limit_given(options)
    if limit is not None and options.tier != Tier.ENTERPRISE:
        message = "a contract (--rps) needs --tier enterprise"
        raise UsageError(message)
    opening = Opening(
        name=options.name, tier=Tier(options.tier) if options.tier else None, limit=limit
    )
    await add_tenant(config, opening, networks=_networks(options) or ())


async def _limit(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import set_terms

    limit = _limit_given(options)
    networks = [] if options.allow_any else _networks(options)
    if options.no_contract and limit is not None:
        message = "--no-contract and --rps exclude each other"
        raise UsageError(message)
    if options.allow_any and options.allow:
        message = "--allow-any and --allow exclude each other"
        raise UsageError(message)
    if limit is None and networks is None and not (options.tier or options.no_contract):
        message = "nothing to change: give --tier, --rps, --no-contract, --allow or --allow-any"
        raise UsageError(message)
    await set_terms(
        config,
        Opening(name=options.name, tier=Tier(options.tier) if options.tier else None, limit=limit),
        without_contract=options.no_contract,
        networks=networks,
    )


async def _tier(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import set_tier, tier_limits

    limit = _limit_given(options)
    if limit is not None:
        if options.tier is None:
            message = "which tier? " + " or ".join(_TIERS)
            raise UsageError(message)
        await set_tier(config, Tier(options.tier), limit)
        return
    for tier, may in (await tier_limits(config)).items():
        if options.tier in (None, tier.value):
            sys.stdout.write(f"{tier.value:<12}{may.rps}/s, burst {may.burst}\n")


async def _elevate(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import elevate, end_elevation

    if options.end is not None:
        if options.rps is not None or options.ends is not None or options.lasts is not None:
            message = "--end ends an elevation that is there: it takes no other limits"
            raise UsageError(message)
        await end_elevation(config, options.name, options.end)
        return
    limit = _limit_given(options)
    starts_at = options.starts or datetime.now(UTC)
    ends_at = options.ends or (starts_at + options.lasts if options.lasts else None)
    if limit is None or ends_at is None:
        message = "an elevation needs --rps, and --until or --for"
        raise UsageError(message)
    if ends_at <= starts_at or ends_at <= datetime.now(UTC):
        message = "an elevation ends after it has begun, and not in the past"
        raise UsageError(message)
    if len(options.reason) > _REASON_LENGTH_MAX or not options.reason.isprintable():
        message = f"--reason is at most {_REASON_LENGTH_MAX} printable characters"
        raise UsageError(message)
    number = await elevate(
        config,
        options.name,
        limit,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=options.reason,
    )
    sys.stdout.write(json.dumps({"elevation_id": number}) + "\n")


async def _suspend(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import suspend

    await suspend(config, options.name)


async def _resume(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import resume

    await resume(config, options.name)


async def _list(options: argparse.Namespace, config: PostgresConfig) -> None:
    from sentinel.reference.ledger.wire.register import listed

    tenants = await listed(config)
    if options.form == "json":
        sys.stdout.write(json.dumps(tenants) + "\n")
        return
    for one in tenants:
        kind = "contract" if one["has_contract"] else "tier"
        addresses = ", ".join(one["allow_cidrs"]) or "any address"
        standing = f", suspended since {one['suspended_at']}" if one["suspended_at"] else ""
        sys.stdout.write(
            f"{one['tenant']:<24}{one['tier']:<12}{one['rps']}/s, burst {one['burst']} ({kind}), {addresses}{standing}\n"
        )
        for elevation in one["elevations"]:
            reason = f", {elevation['reason']}" if elevation["reason"] else ""
            sys.stdout.write(
                f"  elevation {elevation['elevation_id']}: {elevation['rps']}/s, burst {elevation['burst']}, "
                f"{elevation['starts_at']} to {elevation['ends_at']}{reason}\n"
            )


def _limit_given(options: argparse.Namespace) -> Limit | None:
    if options.rps is None:
        if options.burst is not None:
            message = "--burst needs --rps"
            raise UsageError(message)
        return None
    try:
        return limit_of(options.rps, options.burst)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error


def _networks(options: argparse.Namespace) -> list[Network] | None:
    from sentinel.reference.ledger.wire.register import NETWORKS_COUNT_MAX

    networks: list[Network] | None = options.allow
    if networks is not None and len(networks) > NETWORKS_COUNT_MAX:
        message = f"at most {NETWORKS_COUNT_MAX} networks can be allowed"
        raise UsageError(message)
    return networks
