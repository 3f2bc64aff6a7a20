"""Command line of the ledger: arguments in, exit code out.

Exit codes: 0 done, 1 the thing run went wrong, 2 usage, 3 could not be reached or read, 130
interrupted before it had begun.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sentinel.reference.ledger.domain import (
    LedgerError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from sentinel.reference.ledger.operate.arguments import edges_count, network, opening, port
from sentinel.reference.ledger.operate.audit_cli import add_audit
from sentinel.reference.ledger.operate.completion import SHELLS, completion_script
from sentinel.reference.ledger.operate.gateway_cli import add_gateway
from sentinel.reference.ledger.operate.storage_cli import add_storage_commands
from sentinel.reference.ledger.operate.tenant_cli import add_tenant_commands
from sentinel.reference.ledger.operate.token_cli import add_token_commands
from sentinel.reference.ledger.wire.config import (
    NATS_URL_VARIABLE,
    POSTGRES_URL_VARIABLE,
    REPLICA_URL_VARIABLE,
    NatsConfig,
    PostgresConfig,
    check_url,
    read_url,
    resolve_url,
)

if TYPE_CHECKING:
    from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
    from sentinel.reference.ledger.edge.auth import AuthConfig
    from sentinel.reference.ledger.operate.single import OpenEndpoints

EXIT_WRONG: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_INTERRUPTED: Final = 130
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600}


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UsageError as error:
        _complain(error)
        return EXIT_USAGE
    except (UnavailableError, UnreadableError) as error:
        _complain(error)
        return EXIT_UNREACHABLE
    except LedgerError as error:
        _complain(error)
        return EXIT_WRONG
    except ModuleNotFoundError as error:
        if (error.name or "sentinel").split(".")[0] == "sentinel":
            raise
        # The sidecar needs none of it, so that a plain install of both has it not.
        _complain(
            f"needs the package {error.name}, which is not installed: pip install 'sentinel-sidecar[ledger]' brings it"
        )
        return EXIT_WRONG
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return EXIT_UNREACHABLE
    return code


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = argparse.ArgumentParser(
        prog="sentinel-ledger",
        description="A small real payments ledger, for Sentinel to watch.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_up(commands)
    _add_edge(commands)
    _add_poster(commands)
    _add_disburse(commands)
    _add_analytics(commands)
    _add_reconcile(commands)
    _add_webhooks(commands)
    _add_webhook_keys(commands)
    _add_receiver(commands)
    _add_migrate(commands)
    add_gateway(commands, add_postgres=_add_postgres, postgres_url=_postgres_url)
    add_tenant_commands(commands, add_postgres=_add_postgres, postgres_url=_postgres_url)
    _add_load(commands)
    add_token_commands(commands)
    _add_history(commands)
    _add_fault(commands)
    add_audit(commands, add_postgres=_add_postgres, postgres_url=_postgres_url)
    add_storage_commands(commands, add_postgres=_add_postgres, postgres_url=_postgres_url)
    _add_completion(commands)
    return parser


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("up", help="run servers, edge and poster until told to stop")
    parser.add_argument(
        "--dir", type=Path, help="keep the servers' data here, not in a temporary folder"
    )
    parser.add_argument("--state", type=Path, help="write addresses and process ids to this file")
    parser.add_argument(
        "--port", type=port, default=0, help="the edge's port (default: a free one)"
    )
    parser.add_argument(
        "--tokens-only", action="store_true", help="the edge does not believe X-Tenant"
    )
    parser.add_argument("--nats-monitor-url", help="monitoring address of the NATS server given")
    parser.add_argument(
        "--no-replica", action="store_true", help="read from the primary, and start no replica"
    )
    _add_replica(parser)
    parser.add_argument(
        "--receiver",
        action="store_true",
        help="start a receiver of webhooks too, for the first tenant; allows http to loopback",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="archive the log where this JSON file says (`sentinel-ledger archive setup` made it ready)",
    )
    _add_tenants(parser)
    _add_servers(parser)
    parser.set_defaults(command=_up)


def _add_edge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("edge", help="run the HTTP edge only")
    parser.add_argument("--port", type=port, default=0, help="port (default: a free one)")
    parser.add_argument("--burst-file", type=Path, help="control file of the error burst")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond loopback with TLS only"
    )
    _add_ways_in(parser)
    _add_replica(parser)
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        type=network,
        default=[],
        metavar="CIDR",
        help="believe the X-Forwarded-For of proxies in this network; may be given again",
    )
    parser.add_argument(
        "--edges",
        type=edges_count,
        default=1,
        metavar="N",
        help="edges that share the tenants' limits, each of which gives its part (default: 1)",
    )
    parser.add_argument(
        "--webhooks-key-file",
        type=Path,
        help="public key that endpoints' secrets are sealed with; without it there are no webhooks",
    )
    parser.add_argument(
        "--webhooks-postgres-url-file",
        type=Path,
        help="file with the database's URL of the role ledger_endpoints",
    )
    _add_webhook_policy(parser)
    _add_servers(parser)
    parser.set_defaults(command=_edge)


def _add_ways_in(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_argument_group("who may come in")
    ways.add_argument("--issuer", metavar="URL", help="OIDC issuer whose bearer tokens count")
    ways.add_argument("--issuer-ca", type=Path, help="authorities of the issuer's own certificate")
    ways.add_argument("--audience", default="ledger", help="who tokens must be meant for")
    ways.add_argument("--tenant-claim", default="tenant", help="the claim that names the tenant")
    ways.add_argument("--tls-cert", type=Path, help="the edge's certificate chain")
    ways.add_argument("--tls-key", type=Path, help="its private key")
    ways.add_argument(
        "--client-ca", type=Path, help="authorities of clients' certificates (mutual TLS)"
    )
    ways.add_argument(
        "--insecure-tenant-header",
        action="store_true",
        help="believe X-Tenant; on loopback only, to try things by hand",
    )


def _add_poster(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("poster", help="run the poster only; it migrates the database")
    _add_tenants(parser)
    _add_servers(parser)
    parser.set_defaults(command=_poster)


def _add_analytics(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "analytics", help="count what the ledger tells, by tenant, day, currency, kind and state"
    )
    _add_servers(parser)
    parser.set_defaults(command=_analytics)


def _add_reconcile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "reconcile",
        help="hold stream, books, analytics, audit trail and replica against each other",
    )
    how_often = parser.add_mutually_exclusive_group()
    how_often.add_argument(
        "--once",
        action="store_true",
        help="one full pass; exit code 1 when anything drifts (default)",
    )
    how_often.add_argument(
        "--every", type=_seconds, metavar="S", help="pass after pass, so many seconds apart"
    )
    parser.add_argument("--state", type=Path, help="state file of `up`, in place of the servers")
    parser.add_argument("--replica-url-file", type=Path, help="file with the URL of a replica")
    parser.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of the report"
    )
    _add_servers(parser)
    parser.set_defaults(command=_reconcile)


def _add_webhooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("webhooks", help="send webhooks to tenants until told to stop")
    parser.add_argument(
        "--key-file", type=Path, required=True, help="private keys that open endpoints' secrets"
    )
    _add_webhook_policy(parser)
    _add_servers(parser)
    parser.set_defaults(command=_webhooks)


def _add_webhook_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--webhooks-port",
        action="append",
        type=port,
        default=[],
        metavar="PORT",
        help="allow webhooks to this port beside 443; may be given again",
    )
    parser.add_argument(
        "--webhooks-loopback-http",
        action="store_true",
        help="allow webhooks over http to this machine, for demonstrations",
    )


def _add_webhook_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "webhook-keys", help="make the keys that endpoints' secrets are sealed with"
    )
    parser.add_argument(
        "--private", type=Path, required=True, help="file for `webhooks`; kept when it is there"
    )
    parser.add_argument("--public", type=Path, required=True, help="file for `edge`")
    parser.set_defaults(command=_webhook_keys)


def _add_receiver(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "receiver", help="receive a tenant's webhooks on loopback, for demonstrations"
    )
    parser.add_argument("--url", required=True, help="the edge's address")
    parser.add_argument("--tenant", default="demo")
    parser.add_argument(
        "--port", type=port, default=0, help="where to listen (default: a free one)"
    )
    parser.add_argument("--control-file", type=Path, help="file that tells it to fail")
    parser.add_argument("--issuer", metavar="URL", help="issuer of the token to register with")
    parser.add_argument("--accounts-file", type=Path, help="that issuer's accounts")
    parser.set_defaults(command=_receiver)


def _add_load(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("load", help="offer open-loop load to an edge")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="the edge's address")
    where.add_argument("--state", type=Path, help="state file of `up`, which holds it")
    parser.add_argument("--rate", type=float, required=True, help="requests a second at the start")
    how_long = parser.add_mutually_exclusive_group(required=True)
    how_long.add_argument("--seconds", type=float)
    how_long.add_argument("--forever", action="store_true", help="until SIGTERM or SIGINT")
    parser.add_argument(
        "--shape",
        choices=("flat", "day"),
        default="flat",
        help="day: follow the day, the week and the month's end from now on",
    )
    parser.add_argument("--zone", default="UTC", help="IANA time zone of the shape")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tenant", default="demo")
    parser.add_argument("--accounts", type=int, default=50, help="number of accounts")
    parser.set_defaults(command=_load)


def _add_history(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("history", help="write simulated history")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--weeks", type=float, default=6.0, help="a plain past (default: 6)")
    how_long.add_argument(
        "--months",
        type=int,
        help="a past with calendar, growth, tenants, jobs, deploys and outages instead",
    )
    parser.add_argument("--step", type=_duration_s, default=300, help="window, as 10s, 5m or 1h")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=float, help="Unix seconds of the end (default: now)")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second at the end")
    parser.add_argument("--levels", type=Path, help="JSON list of levels at the end")
    parser.add_argument("--zone", default="UTC", help="IANA time zone of the shape")
    months = parser.add_argument_group("with --months only")
    months.add_argument("--country", help="whose public holidays, such as DE (default: none)")
    months.add_argument("--holidays", type=Path, help="file of more days off, a date a line")
    months.add_argument("--growth", type=float, help="ratio of growth a year (default: 0.3)")
    months.add_argument("--outages", type=float, help="outages a month (default: 6)")
    months.add_argument("--truth", type=Path, help="write what happened to this NDJSON file")
    parser.add_argument(
        "--format",
        choices=("csv", "openmetrics", "series"),
        default="csv",
        help="series: a folder of labelled CSV files, with --months only",
    )
    parser.add_argument(
        "-o", "--output", "--out", type=Path, help="file, or folder of series (default: stdout)"
    )
    parser.set_defaults(command=_history)


def _add_fault(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("fault", help="break a running ledger, and record when and how")
    parser.add_argument("fault", metavar="FAULT", help="a fault's name, or `list`")
    parser.add_argument("--state", type=Path, help="state file of `up`")
    parser.add_argument("--seconds", type=float, help="how long it is held")
    parser.add_argument("--record", type=Path, help="append the truth to this NDJSON file")
    parser.add_argument("--ratio", type=float, default=0.5, help="errors: share of the writes")
    parser.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of the list"
    )
    parser.set_defaults(command=_fault)


def _add_completion(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "completion", help="print a completion script for bash, zsh or fish"
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")
    parser.set_defaults(command=_completion)


def _add_disburse(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("disburse", help="hand payments out to a bank's rail")
    rail = parser.add_mutually_exclusive_group(required=True)
    rail.add_argument("--rail-url", help="the rail's address")
    rail.add_argument(
        "--simulated-rail",
        action="store_true",
        help="simulate one in this process: the ending of a payee's account says what happens",
    )
    _add_servers(parser)
    parser.set_defaults(command=_disburse)


def _add_migrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "migrate", help="bring a database's tables, roles and tenants up to date, and end"
    )
    _add_tenants(parser)
    parser.add_argument(
        "--role-url-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="file with the URL of a process; its role gets that URL's password; may be given again",
    )
    _add_postgres(parser)
    parser.set_defaults(command=_migrate)


def _add_tenants(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tenant",
        action="append",
        type=opening,
        metavar="NAME[=TIER[:RPS[:BURST]]]",
        help="open this tenant (standard, or enterprise with its contract); may be given again",
    )


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nats-url", help="address without password")
    parser.add_argument(
        "--nats-url-file", type=Path, help=f"file with it; or set {NATS_URL_VARIABLE}"
    )
    _add_postgres(parser)


def _add_replica(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--replica-url", help="address of a replica to read from, without password"
    )
    parser.add_argument(
        "--replica-url-file", type=Path, help=f"file with it; or set {REPLICA_URL_VARIABLE}"
    )


def _add_postgres(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--postgres-url", help="address without password")
    parser.add_argument(
        "--postgres-url-file", type=Path, help=f"file with it; or set {POSTGRES_URL_VARIABLE}"
    )


def _up(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.up import DEMO_TENANTS, UpConfig, run_up

    if options.archive is not None and _postgres_url(options) is not None:
        message = (
            "--archive is of the PostgreSQL that `up` starts; one that is given archives by itself"
        )
        raise UsageError(message)
    if options.no_replica and _replica_url(options) is not None:
        message = "--no-replica makes no sense beside a replica that is given"
        raise UsageError(message)
    config = UpConfig(
        folder=options.dir,
        state_file=options.state,
        nats_url=_nats_url(options),
        nats_monitor_url=options.nats_monitor_url,
        postgres_url=_postgres_url(options),
        replica_url=_replica_url(options),
        replica=not options.no_replica,
        archive_file=options.archive,
        tenants=tuple(options.tenant or DEMO_TENANTS),
        port=options.port,
        tokens_only=options.tokens_only,
        receiver=options.receiver,
    )
    return asyncio.run(run_up(config))


def _edge(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.edge import EdgeConfig
    from sentinel.reference.ledger.operate.loops import run
    from sentinel.reference.ledger.operate.single import run_edge

    config = EdgeConfig(
        host=options.host,
        port=options.port,
        burst_file=options.burst_file,
        trusted_proxies=tuple(options.trusted_proxy),
        edges_count=options.edges,
    )
    url = _replica_url(options)
    replica = PostgresConfig.of_replica(url) if url is not None else None
    servers = _required_servers(options)
    run(
        run_edge(
            config,
            *servers,
            auth=_ways_in(options),
            replica=replica,
            open_endpoints=_register(options),
        )
    )
    return 0


def _ways_in(options: argparse.Namespace) -> AuthConfig:
    from sentinel.reference.ledger.edge.auth import AuthConfig, IssuerConfig, TlsConfig

    if (options.tls_cert is None) != (options.tls_key is None):
        message = "--tls-cert and --tls-key go together"
        raise UsageError(message)
    if options.client_ca is not None and options.tls_cert is None:
        message = "--client-ca needs --tls-cert and --tls-key"
        raise UsageError(message)
    issuer = tls = None
    if options.issuer is not None:
        issuer = IssuerConfig(
            url=options.issuer,
            audience=options.audience,
            tenant_claim=options.tenant_claim,
            ca_file=options.issuer_ca,
        )
    if options.tls_cert is not None:
        tls = TlsConfig(
            cert_file=options.tls_cert,
            key_file=options.tls_key,
            client_ca_file=options.client_ca,
        )
    return AuthConfig(
        issuer=issuer, tls=tls, insecure_tenant_header=options.insecure_tenant_header
    )


def _register(options: argparse.Namespace) -> OpenEndpoints | None:
    from sentinel.reference.ledger.edge.endpoints import EndpointsConfig
    from sentinel.reference.ledger.operate.webhooks import REGISTER_POOL_SIZE_MAX, endpoints_opener

    if options.webhooks_key_file is None:
        return None
    if options.webhooks_postgres_url_file is None:
        message = "--webhooks-key-file needs --webhooks-postgres-url-file"
        raise UsageError(message)
    url = read_url(options.webhooks_postgres_url_file)
    return endpoints_opener(
        EndpointsConfig(policy=_webhook_policy(options)),
        PostgresConfig(url=url, pool_size_max=REGISTER_POOL_SIZE_MAX),
        public_key_file=options.webhooks_key_file,
    )


def _webhooks(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.webhooks import SENDER_POOL_SIZE_MAX, run_webhooks
    from sentinel.reference.ledger.webhooks import WebhooksConfig

    nats, postgres = _required_servers(options)
    postgres = replace(postgres, pool_size_max=SENDER_POOL_SIZE_MAX)
    config = WebhooksConfig(policy=_webhook_policy(options))
    asyncio.run(run_webhooks(config, nats, postgres, key_file=options.key_file))
    return 0


def _webhook_keys(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.wire.webhook_secrets import make_key_files

    make_key_files(private=options.private, public=options.public)
    return 0


def _receiver(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.receiver import ReceiverConfig, run_receiver

    config = ReceiverConfig(
        edge_url=options.url,
        tenant=options.tenant,
        port=options.port,
        control_file=options.control_file,
        issuer_url=options.issuer,
        accounts_file=options.accounts_file,
    )
    asyncio.run(run_receiver(config))
    return 0


def _webhook_policy(options: argparse.Namespace) -> AddressPolicy:
    from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy

    ports = AddressPolicy().ports | set(options.webhooks_port)
    return AddressPolicy(ports=ports, loopback_http=options.webhooks_loopback_http)


def _poster(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.loops import run
    from sentinel.reference.ledger.operate.single import run_poster
    from sentinel.reference.ledger.posting import PosterConfig

    nats, postgres = _required_servers(options)
    run(run_poster(PosterConfig(), nats, postgres, tenants=options.tenant or ()))
    return 0


def _disburse(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.disburse import DisburserConfig, SimulatedRailConfig
    from sentinel.reference.ledger.operate.disbursing import run_disburser

    if options.rail_url is not None:
        check_url(options.rail_url, what="--rail-url", schemes=("http", "https"))
    simulated = SimulatedRailConfig() if options.simulated_rail else None
    config = DisburserConfig(rail_url=options.rail_url or "")
    asyncio.run(run_disburser(config, *_required_servers(options), simulated=simulated))
    return 0


def _analytics(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.analytics import AnalyticsConfig
    from sentinel.reference.ledger.operate.single import run_analytics

    asyncio.run(run_analytics(AnalyticsConfig(), *_required_servers(options)))
    return 0


def _reconcile(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.reconciling import reconcile_every, reconcile_once
    from sentinel.reference.ledger.operate.state import read_state
    from sentinel.reference.ledger.reconcile import ReconcileConfig

    replica_file: Path | None = options.replica_url_file
    if options.state is not None:
        state = read_state(options.state)
        nats = NatsConfig(url=state.nats_url)
        postgres = PostgresConfig(url=read_url(Path(state.postgres_url_file)))
        if replica_file is None and state.replica_url_file:
            replica_file = Path(state.replica_url_file)
    else:
        nats, postgres = _required_servers(options)
    replica = None
    if replica_file is not None:
        url = read_url(replica_file)
        check_url(
            url, what="the replica's address", schemes=("postgresql", "postgres"), shown=False
        )
        replica = PostgresConfig(url=url)
    config = ReconcileConfig()
    if options.every is not None:
        asyncio.run(
            reconcile_every(config, nats, postgres, replica=replica, every_s=options.every)
        )
        return 0
    drifts = asyncio.run(
        reconcile_once(config, nats, postgres, replica=replica, form=options.form)
    )
    return EXIT_WRONG if drifts else 0


def _migrate(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.prepare import prepare

    url = _postgres_url(options)
    if url is None:
        message = "give the address of PostgreSQL; see --help"
        raise UsageError(message)
    role_urls = [read_url(file) for file in options.role_url_file]
    asyncio.run(prepare(PostgresConfig(url=url), options.tenant or (), role_urls=role_urls))
    return 0


def _load(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.load import Load, LoadConfig
    from sentinel.reference.ledger.operate.single import say, stop_on_signals
    from sentinel.reference.ledger.operate.state import read_state
    from sentinel.reference.ledger.operate.tokens import tokens_of

    state = read_state(options.state) if options.url is None else None
    config = LoadConfig(
        url=options.url if state is None else state.edge_url,
        rate=options.rate,
        seconds=options.seconds,
        shape=options.shape,
        zone=_zone(options.zone),
        seed=options.seed,
        tenant=options.tenant,
        accounts_count=options.accounts,
    )

    async def offer() -> dict[str, object]:
        tokens = tokens_of(state, config.tenant) if state is not None else None
        return await Load(config, tokens).run(stop_on_signals())

    summary = asyncio.run(offer())
    say(summary)
    answered = any(status.isdigit() for status in cast("dict[str, int]", summary["status_counts"]))
    return 0 if answered or not summary["sent_count"] else EXIT_UNREACHABLE


def _history(options: argparse.Namespace) -> int:
    if options.months is not None:
        return _months(options)
    for name in ("country", "holidays", "growth", "outages", "truth"):
        if getattr(options, name) is not None:
            message = f"--{name} needs --months"
            raise UsageError(message)
    if options.format == "series":
        message = "--format series needs --months: a plain past has no labels"
        raise UsageError(message)
    from sentinel.reference.ledger.operate.history import HistoryConfig, write_history

    config = HistoryConfig(
        end_s=time.time() if options.end is None else options.end,
        weeks=options.weeks,
        step_s=options.step,
        seed=options.seed,
        rate=options.rate,
        zone=_zone(options.zone),
        levels_file=options.levels,
    )
    if options.output is None:
        write_history(config, form=options.format, out=sys.stdout)
        return 0
    try:
        with options.output.open("w", encoding="utf-8", newline="") as file:
            write_history(config, form=options.format, out=file)
    except OSError as error:
        message = f"cannot write {options.output}: {error.strerror}"
        raise LedgerError(message) from error
    return 0


def _months(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.months import (
        Months,
        MonthsConfig,
        Progress,
        write_months,
        write_truth,
    )

    folder: Path | None = options.output if options.format == "series" else None
    truth: Path | None = options.truth
    if options.format == "series":
        if folder is None:
            message = "--format series needs a folder: --output DIR"
            raise UsageError(message)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            message = f"{folder} is there already and is no empty folder"
            raise UsageError(message)
    given = {
        name: value
        for name, value in (
            ("growth_ratio", options.growth),
            ("outages_a_month", options.outages),
        )
        if value is not None
    }
    config = MonthsConfig(
        end_s=time.time() if options.end is None else options.end,
        months=options.months,
        step_s=options.step,
        seed=options.seed,
        rate=options.rate,
        zone=_zone(options.zone),
        country=options.country,
        holidays_file=options.holidays,
        levels_file=options.levels,
        **given,
    )
    months = Months(config)
    progress = Progress(months.planned_count(options.format))
    if folder is not None:
        write_months(months, form="series", out=None, folder=folder, progress=progress)
        truth = truth or folder / "truth.ndjson"
    elif options.output is None:
        write_months(months, form=options.format, out=sys.stdout, folder=None, progress=progress)
    else:
        with options.output.open("w", encoding="utf-8", newline="") as file:
            write_months(months, form=options.format, out=file, folder=None, progress=progress)
    if truth is not None:
        write_truth(months, truth)
    progress.end()
    return 0


def _fault(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.faults import FAULTS, FaultConfig, listed, run_fault
    from sentinel.reference.ledger.operate.single import stop_on_signals

    if options.fault == "list":
        if options.form == "json":
            sys.stdout.write(json.dumps(listed()) + "\n")
        else:
            sys.stdout.writelines(f"{one['fault']:<18}{one['summary']}\n" for one in listed())
        return 0
    if options.fault not in FAULTS:
        message = f"no fault is called {options.fault!r}; there are: {', '.join(FAULTS)}"
        raise UsageError(message)
    if options.state is None or options.seconds is None:
        message = "a fault needs --state and --seconds"
        raise UsageError(message)
    config = FaultConfig(
        fault=options.fault,
        state_file=options.state,
        seconds=options.seconds,
        record_file=options.record,
        error_ratio=options.ratio,
    )

    async def hold() -> None:
        await run_fault(config, stop_on_signals())

    asyncio.run(hold())
    return 0


def _completion(options: argparse.Namespace) -> int:
    words: dict[str, tuple[str, ...]] = {}
    # Without the extra there is no fault to make, and none to name.
    with contextlib.suppress(ModuleNotFoundError):
        from sentinel.reference.ledger.operate.faults import FAULTS

        words["fault"] = ("list", *FAULTS)
    sys.stdout.write(completion_script(build_parser(), options.shell, words=words))
    return 0


def _duration_s(text: str) -> int:
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS_S else (text, "s")
    if not number.isdigit() or int(number) == 0:
        message = f"{text!r} is no duration such as 10s, 5m or 1h"
        raise argparse.ArgumentTypeError(message)
    return int(number) * _UNITS_S[unit]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        message = f"{text!r} is no number of seconds above 0 and at most 86400"
        raise argparse.ArgumentTypeError(message)
    return seconds


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"unknown time zone {name!r}"
        raise UsageError(message) from error
    return name


def _required_servers(options: argparse.Namespace) -> tuple[NatsConfig, PostgresConfig]:
    nats_url, postgres_url = _nats_url(options), _postgres_url(options)
    if nats_url is None or postgres_url is None:
        message = "give the addresses of NATS and PostgreSQL; see --help"
        raise UsageError(message)
    return NatsConfig(url=nats_url), PostgresConfig(url=postgres_url)


def _nats_url(options: argparse.Namespace) -> str | None:
    return resolve_url(
        argument=options.nats_url,
        file=options.nats_url_file,
        variable=NATS_URL_VARIABLE,
        what="the address of NATS",
        schemes=("nats", "tls", "ws", "wss"),
        environ=os.environ,
    )


def _postgres_url(options: argparse.Namespace) -> str | None:
    return _database_url(
        options.postgres_url,
        options.postgres_url_file,
        POSTGRES_URL_VARIABLE,
        "the address of PostgreSQL",
    )


def _replica_url(options: argparse.Namespace) -> str | None:
    return _database_url(
        options.replica_url,
        options.replica_url_file,
        REPLICA_URL_VARIABLE,
        "the address of the replica",
    )


def _database_url(argument: str | None, file: Path | None, variable: str, what: str) -> str | None:
    return resolve_url(
        argument=argument,
        file=file,
        variable=variable,
        what=what,
        schemes=("postgresql", "postgres"),
        environ=os.environ,
    )


def _complain(error: LedgerError | str) -> None:
    sys.stderr.write(f"sentinel-ledger: {error}\n")
