"""`sentinel-ledger migrate`, `poster`, `disburse` and `analytics`: the processes that write, and their tables."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.servers import (
    Commands,
    add_durability,
    add_postgres,
    add_servers,
    add_tenants,
    durability,
    postgres_url,
    required_servers,
)
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url


def add_poster(commands: Commands) -> None:
    """Add `poster` to the grammar."""
    parser = commands.add_parser("poster", help="run the poster only; it migrates the database")
    add_durability(parser)
    parser.add_argument("--release-file", type=Path, help="control file of a bad release")
    parser.add_argument("--leak-file", type=Path, help="control file of a leak")
    add_tenants(parser)
    add_servers(parser)
    parser.set_defaults(command=_poster)


def add_disburse(commands: Commands) -> None:
    """Add `disburse` to the grammar."""
    parser = commands.add_parser("disburse", help="hand payments out to a bank's rail")
    rail = parser.add_mutually_exclusive_group(required=True)
    rail.add_argument(
        "--rail-url", help="the rail's address; https, unless it is on this machine's loopback"
    )
    rail.add_argument(
        "--simulated-rail",
        action="store_true",
        help="simulate one in this process: the ending of a payee's account says what happens",
    )
    parser.add_argument(
        "--rail-token-file",
        type=Path,
        metavar="FILE",
        help="file with the bearer token that the rail knows the ledger by; read for each question",
    )
    parser.add_argument(
        "--rail-ca",
        type=Path,
        metavar="FILE",
        help="authorities of the rail's own certificate (default: the system's)",
    )
    add_servers(parser)
    parser.set_defaults(command=_disburse)


def add_analytics(commands: Commands) -> None:
    """Add `analytics` to the grammar."""
    parser = commands.add_parser(
        "analytics", help="count what the ledger tells, by tenant, day, currency, kind and state"
    )
    add_servers(parser)
    parser.set_defaults(command=_analytics)


def add_migrate(commands: Commands) -> None:
    """Add `migrate` to the grammar."""
    parser = commands.add_parser(
        "migrate", help="bring a database's tables, roles and tenants up to date, and end"
    )
    add_tenants(parser)
    parser.add_argument(
        "--role-url-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="file with the URL of a process; its role gets that URL's password; may be given again",
    )
    add_postgres(parser)
    parser.set_defaults(command=_migrate)


def _poster(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.loops import run
    from sentinel.reference.ledger.operate.single import run_poster
    from sentinel.reference.ledger.posting import PosterConfig

    nats, postgres = required_servers(options)
    run(
        run_poster(
            PosterConfig(),
            nats,
            postgres,
            tenants=options.tenant or (),
            durability=durability(options),
            release=options.release_file,
            leak=options.leak_file,
        )
    )
    return 0


def _disburse(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.disburse import RailConfig, SimulatedRailConfig
    from sentinel.reference.ledger.operate.disbursing import run_disburser

    rail: RailConfig | SimulatedRailConfig
    if options.simulated_rail:
        if options.rail_token_file is not None or options.rail_ca is not None:
            message = "--rail-token-file and --rail-ca are of a rail with --rail-url"
            raise UsageError(message)
        rail = SimulatedRailConfig()
    else:
        rail = RailConfig(
            url=options.rail_url, token_file=options.rail_token_file, ca_file=options.rail_ca
        )
    asyncio.run(run_disburser(rail, *required_servers(options)))
    return 0


def _analytics(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.analytics import AnalyticsConfig
    from sentinel.reference.ledger.operate.single import run_analytics

    asyncio.run(run_analytics(AnalyticsConfig(), *required_servers(options)))
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.prepare import prepare

    url = postgres_url(options)
    if url is None:
        message = "give the address of PostgreSQL; see --help"
        raise UsageError(message)
    role_urls = [read_url(file) for file in options.role_url_file]
    asyncio.run(prepare(PostgresConfig(url=url), options.tenant or (), role_urls=role_urls))
    return 0
