"""`sentinel-ledger reconcile`: its arguments."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.operate.cli.arguments import seconds
from sentinel.reference.ledger.operate.cli.servers import Commands, add_servers, required_servers
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig, check_url, read_url

_DRIFTED: Final = 1
_AWAY: Final = 3


def add_reconcile(commands: Commands) -> None:
    """Add the command to the grammar."""
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
        "--every", type=seconds, metavar="S", help="pass after pass, so many seconds apart"
    )
    parser.add_argument("--state", type=Path, help="state file of `up`, in place of the servers")
    parser.add_argument("--replica-url-file", type=Path, help="file with the URL of a replica")
    parser.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of the report"
    )
    add_servers(parser)
    parser.set_defaults(command=_reconcile)


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
        nats, postgres = required_servers(options)
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
    report = asyncio.run(
        reconcile_once(config, nats, postgres, replica=replica, form=options.form)
    )
    if report.drift:
        return _DRIFTED
    return _AWAY if report.away else 0
