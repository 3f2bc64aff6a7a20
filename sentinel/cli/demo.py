"""`sentinel demo`: see a real pipeline run, break and page, in some 80 seconds."""

from __future__ import annotations

import argparse
import asyncio
import signal

from sentinel.app.demo import DemoOptions, DemoResult, run_demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Starts the reference ledger with load and a sidecar beside it, backfills six weeks of simulated"
        " history, locks a table in PostgreSQL, prints the page and its resolve, and stops everything."
    )
    parser.add_argument(
        "--keep", action="store_true", help="stay up after the resolve, and print the addresses"
    )
    parser.add_argument(
        "--install-seconds",
        type=float,
        metavar="SECONDS",
        help="how long the installation took, to be told with the rest",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when page and resolve were seen, 1 when not, 130 after Ctrl-C."""
    options = DemoOptions(keep=args.keep, install_s=args.install_seconds)
    try:
        result = asyncio.run(_until_signalled(options))
    except asyncio.CancelledError:
        return 130
    return 0 if result.complete else 1


async def _until_signalled(options: DemoOptions) -> DemoResult:
    """Ctrl-C and SIGTERM cancel the story, which then stops what it started; once: stopping is not broken off."""
    telling = asyncio.ensure_future(run_demo(options, write=_write))  # noqa: TID251  # awaited on the next lines
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def cancel() -> None:
        for number in numbers:
            loop.add_signal_handler(number, _write, "Still stopping ...")
        telling.cancel()

    for number in numbers:
        loop.add_signal_handler(number, cancel)
    return await telling


def _write(line: str) -> None:
    print(line, flush=True)
