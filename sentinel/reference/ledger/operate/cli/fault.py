"""`sentinel-ledger fault`: its arguments, and the list of what can be broken."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.cli.servers import Commands


def add_fault(commands: Commands) -> None:
    """Add the command to the grammar."""
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
