"""`sentinel-ledger load`: its arguments."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Final, cast

from sentinel.reference.ledger.operate.cli.arguments import add_day, zone
from sentinel.reference.ledger.operate.cli.servers import Commands

_UNREACHABLE: Final = 3


def add_load(commands: Commands) -> None:
    """Add the command to the grammar."""
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
    add_day(parser)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tenant", default="demo")
    parser.add_argument("--accounts", type=int, default=50, help="number of accounts")
    parser.set_defaults(command=_load)


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
        zone=zone(options.zone),
        seed=options.seed,
        tenant=options.tenant,
        accounts_count=options.accounts,
        day_s=options.day_seconds,
    )

    async def offer() -> dict[str, object]:
        tokens = tokens_of(state, config.tenant) if state is not None else None
        return await Load(config, tokens).run(stop_on_signals())

    summary = asyncio.run(offer())
    say(summary)
    answered = any(status.isdigit() for status in cast("dict[str, int]", summary["status_counts"]))
    return 0 if answered or not summary["sent_count"] else _UNREACHABLE
