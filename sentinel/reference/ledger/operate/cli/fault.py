"""`sentinel-ledger fault`: its arguments, and what is said of what can be broken and what is."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.servers import Commands

if TYPE_CHECKING:
    from collections.abc import Collection


def add_fault(commands: Commands) -> None:
    """Add the command to the grammar."""
    group = commands.add_parser("fault", help="break a running ledger, and record when and how")
    kinds = group.add_subparsers(required=True, metavar="what")

    start = kinds.add_parser("start", help="hold a fault for its time, and undo it")
    start.add_argument("fault", metavar="FAULT", help="which; `fault list` names them")
    start.add_argument("--state", type=Path, required=True, help="state file of `up`")
    start.add_argument("--seconds", type=float, required=True, help="how long it is held")
    start.add_argument("--record", type=Path, help="append the truth to this NDJSON file")
    start.add_argument(
        "--ratio",
        type=float,
        default=0.5,
        help="errors: share of the writes, webhook-errors: of the webhooks (default: 0.5)",
    )
    start.add_argument(
        "--detach",
        action="store_true",
        help="return once it holds; a process of its own keeps and ends it",
    )
    start.set_defaults(command=_start)

    stop = kinds.add_parser("stop", help="end what is held, and wait until it is undone")
    stop.add_argument("fault", nargs="?", metavar="FAULT", help="which (default: all)")
    stop.add_argument("--state", type=Path, required=True, help="state file of `up`")
    stop.set_defaults(command=_stop)

    listing = kinds.add_parser("list", help="the faults that there are, and which are held")
    listing.add_argument("--state", type=Path, help="state file of `up`: tell what is held there")
    listing.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of the list"
    )
    listing.set_defaults(command=_list)


def _start(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.faults import (
        FAULTS,
        FaultConfig,
        hold_detached,
        run_fault,
    )
    from sentinel.reference.ledger.operate.single import stop_on_signals

    _check(options.fault, FAULTS)
    config = FaultConfig(
        fault=options.fault,
        state_file=options.state.absolute(),
        seconds=options.seconds,
        record_file=options.record,
        error_ratio=options.ratio,
    )
    if options.detach:
        return hold_detached(config, say=print)

    async def hold() -> None:
        await run_fault(config, stop_on_signals())

    asyncio.run(hold())
    return 0


def _stop(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.faults import FAULTS, stop_faults

    if options.fault is not None:
        _check(options.fault, FAULTS)
    names = FAULTS if options.fault is None else [options.fault]
    told = asyncio.run(stop_faults(options.state, names))
    for line in told:
        # Of all of them only what was held is of interest.
        if options.fault is not None or line["event"] == "fault_stopped":
            sys.stdout.write(json.dumps(line) + "\n")
    return 0


def _list(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.faults import listed
    from sentinel.reference.ledger.operate.state import read_state

    found = listed(None if options.state is None else read_state(options.state))
    if options.form == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.writelines(_line(one) for one in found)
    return 0


def _line(one: dict[str, object]) -> str:
    held = cast("dict[str, Any] | None", one.get("held"))
    since = ""
    if held is not None:
        at = datetime.fromtimestamp(held["start_ns"] / 1e9, UTC)
        since = f" ({held['state']}, since {at:%H:%M:%S} UTC)"
    return f"{one['fault']:<18}{one['weight']:<6}{one['summary']}{since}\n"


def _check(name: str, known: Collection[str]) -> None:
    if name not in known:
        message = f"no fault is called {name!r}; there are: {', '.join(known)}"
        raise UsageError(message)
