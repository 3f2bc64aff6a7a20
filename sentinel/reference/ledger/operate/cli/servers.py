"""Options that many commands share: where NATS, PostgreSQL and its replica are, and which tenants there are."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TypeAlias

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.operate.cli.arguments import opening, replicas_count
from sentinel.reference.ledger.wire.config import (
    DURABILITY_VARIABLE,
    NATS_URL_VARIABLE,
    POSTGRES_URL_VARIABLE,
    REPLICA_URL_VARIABLE,
    STREAM_REPLICAS_VARIABLE,
    NatsConfig,
    PostgresConfig,
    resolve_url,
)

# What a command adds itself to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # argparse has no public name for it


def add_servers(parser: argparse.ArgumentParser) -> None:
    """Add the options that name NATS and PostgreSQL."""
    add_nats(parser)
    parser.add_argument(
        "--stream-replicas",
        type=replicas_count,
        metavar="N",
        help=f"servers of NATS that keep each stream, at least (1, 3 or 5; default: 1); or set {STREAM_REPLICAS_VARIABLE}",
    )
    add_postgres(parser)


def add_nats(parser: argparse.ArgumentParser) -> None:
    """Add the options that name NATS."""
    parser.add_argument(
        "--nats-url", help="address without password; of a cluster several, with commas"
    )
    parser.add_argument(
        "--nats-url-file", type=Path, help=f"file with it; or set {NATS_URL_VARIABLE}"
    )


def add_durability(parser: argparse.ArgumentParser) -> None:
    """Add what an answer of 202 has to survive."""
    parser.add_argument(
        "--durability",
        choices=[str(one) for one in Durability],
        help="what an answer of 202 survives: the death of processes (default), or the machine's loss of power;"
        f" or set {DURABILITY_VARIABLE}",
    )


def add_postgres(parser: argparse.ArgumentParser) -> None:
    """Add the options that name PostgreSQL."""
    parser.add_argument("--postgres-url", help="address without password")
    parser.add_argument(
        "--postgres-url-file", type=Path, help=f"file with it; or set {POSTGRES_URL_VARIABLE}"
    )


def add_replica(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a replica of it."""
    parser.add_argument(
        "--replica-url", help="address of a replica to read from, without password"
    )
    parser.add_argument(
        "--replica-url-file", type=Path, help=f"file with it; or set {REPLICA_URL_VARIABLE}"
    )


def add_tenants(parser: argparse.ArgumentParser) -> None:
    """Add the option that opens tenants."""
    parser.add_argument(
        "--tenant",
        action="append",
        type=opening,
        metavar="NAME[=TIER[:RPS[:BURST]]]",
        help="open this tenant (standard, or enterprise with its contract); may be given again",
    )


def required_servers(options: argparse.Namespace) -> tuple[NatsConfig, PostgresConfig]:
    """Return where both servers are.

    Raises:
        UsageError: one is not named, or not well.
    """
    nats, postgres = nats_url(options), postgres_url(options)
    if nats is None or postgres is None:
        message = "give the addresses of NATS and PostgreSQL; see --help"
        raise UsageError(message)
    return (
        NatsConfig(url=nats, stream_replicas_count=stream_replicas(options)),
        PostgresConfig(url=postgres),
    )


def stream_replicas(options: argparse.Namespace, default: int = 1) -> int:
    """Return on how many servers streams are to be kept.

    Raises:
        UsageError: what the environment says is no such number.
    """
    if options.stream_replicas is not None:
        return int(options.stream_replicas)
    try:
        return replicas_count(os.environ.get(STREAM_REPLICAS_VARIABLE) or str(default))
    except argparse.ArgumentTypeError as error:
        message = f"{STREAM_REPLICAS_VARIABLE}: {error}"
        raise UsageError(message) from error


def durability(options: argparse.Namespace) -> Durability:
    """Return the mode that was asked for.

    Raises:
        UsageError: the environment names none.
    """
    text = options.durability or os.environ.get(DURABILITY_VARIABLE) or Durability.PROCESS
    try:
        return Durability(text)
    except ValueError as error:
        message = f"{DURABILITY_VARIABLE} is {text!r}; it is {' or '.join(Durability)}"
        raise UsageError(message) from error


def nats_url(options: argparse.Namespace) -> str | None:
    """Return the address of NATS that was given in one of the three ways, or None."""
    return resolve_url(
        argument=options.nats_url,
        file=options.nats_url_file,
        variable=NATS_URL_VARIABLE,
        what="the address of NATS",
        schemes=("nats", "tls", "ws", "wss"),
        environ=os.environ,
    )


def postgres_url(options: argparse.Namespace) -> str | None:
    """Return the address of PostgreSQL that was given in one of the three ways, or None."""
    return _database_url(
        options.postgres_url,
        options.postgres_url_file,
        POSTGRES_URL_VARIABLE,
        "the address of PostgreSQL",
    )


def replica_url(options: argparse.Namespace) -> str | None:
    """Return the address of the replica that was given in one of the three ways, or None."""
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
