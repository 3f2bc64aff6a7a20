"""Command line of the ledger: arguments in, exit code out.

Exit codes: 0 done, 1 the thing run went wrong, 2 usage, 3 could not be reached or read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.wire.config import (
    NATS_URL_VARIABLE,
    POSTGRES_URL_VARIABLE,
    NatsConfig,
    PostgresConfig,
    resolve_url,
)

EXIT_WRONG: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except UnavailableError as error:
        _complain(error)
        return EXIT_UNREACHABLE
    except LedgerError as error:
        _complain(error)
        return EXIT_WRONG
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentinel-ledger",
        description="A small real payments ledger, for Sentinel to watch.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_up(commands)
    _add_edge(commands)
    _add_poster(commands)
    return parser


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("up", help="run servers, edge and poster until told to stop")
    parser.add_argument(
        "--dir", type=Path, help="keep the servers' data here, not in a temporary folder"
    )
    parser.add_argument("--state", type=Path, help="write addresses and process ids to this file")
    parser.add_argument(
        "--port", type=int, default=0, help="the edge's port (default: a free one)"
    )
    parser.add_argument("--nats-monitor-url", help="monitoring address of the NATS server given")
    _add_servers(parser)
    parser.set_defaults(command=_up)


def _add_edge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("edge", help="run the HTTP edge only")
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    parser.add_argument("--burst-file", type=Path, help="control file of the error burst")
    _add_servers(parser)
    parser.set_defaults(command=_edge)


def _add_poster(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("poster", help="run the poster only; it migrates the database")
    _add_servers(parser)
    parser.set_defaults(command=_poster)


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nats-url", help="address without password")
    parser.add_argument(
        "--nats-url-file", type=Path, help=f"file with it; or set {NATS_URL_VARIABLE}"
    )
    parser.add_argument("--postgres-url", help="address without password")
    parser.add_argument(
        "--postgres-url-file", type=Path, help=f"file with it; or set {POSTGRES_URL_VARIABLE}"
    )


def _up(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.up import UpConfig, run_up

    config = UpConfig(
        folder=options.dir,
        state_file=options.state,
        nats_url=_nats_url(options),
        nats_monitor_url=options.nats_monitor_url,
        postgres_url=_postgres_url(options),
        port=options.port,
    )
    return asyncio.run(run_up(config))


def _edge(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.edge import EdgeConfig
    from sentinel.reference.ledger.operate.single import run_edge

    config = EdgeConfig(port=options.port, burst_file=options.burst_file)
    asyncio.run(run_edge(config, *_required_servers(options)))
    return 0


def _poster(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import run_poster
    from sentinel.reference.ledger.posting import PosterConfig

    asyncio.run(run_poster(PosterConfig(), *_required_servers(options)))
    return 0


def _required_servers(options: argparse.Namespace) -> tuple[NatsConfig, PostgresConfig]:
    nats_url, postgres_url = _nats_url(options), _postgres_url(options)
    if nats_url is None or postgres_url is None:
        message = "give the addresses of NATS and PostgreSQL; see --help"
        raise LedgerError(message)
    return NatsConfig(url=nats_url), PostgresConfig(url=postgres_url)


def _nats_url(options: argparse.Namespace) -> str | None:
    return resolve_url(
        argument=options.nats_url,
        file=options.nats_url_file,
        variable=NATS_URL_VARIABLE,
        environ=os.environ,
    )


def _postgres_url(options: argparse.Namespace) -> str | None:
    return resolve_url(
        argument=options.postgres_url,
        file=options.postgres_url_file,
        variable=POSTGRES_URL_VARIABLE,
        environ=os.environ,
    )


def _complain(error: LedgerError) -> None:
    sys.stderr.write(f"sentinel-ledger: {error}\n")
