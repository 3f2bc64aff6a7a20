"""`sentinel baseline backfill`: past data into a store, from files or from a server of the past."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.cli.baseline.backfill_files import run_files
from sentinel.cli.baseline.backfill_first import run_before_start
from sentinel.cli.baseline.backfill_servers import WEEKS, run_servers
from sentinel.cli.baseline.backfill_told import USAGE, say
from sentinel.cli.instants import SECOND_NS, instant_ns, span_s
from sentinel.pipeline.backfill import STEP_NS
from sentinel.storage.sqlite import StoreConfig

if TYPE_CHECKING:
    from sentinel.app.config import SentinelConfig

_WEEKS_MAX = 260
_PARALLEL_MAX = 16


def add_backfill(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the action and what is its own."""
    parser = actions.add_parser(
        "backfill",
        help="store past data as windows of five minutes",
        description=(
            "Reads CSV (timestamp,service,stage,route,signal,value,weight; sorted by time; .gz too), Parquet with these columns, or"
            " OpenMetrics with timestamps, or asks servers with Prometheus' query API what `scrapers.prometheus_queries` of a configuration asks"
            " while the sidecar runs; and stores windows of five minutes. Nothing is stored when a file has a fault. Ended in the"
            " middle, the same command goes on; the same data again leaves the same store. Never pages."
            " Exit codes: 0 stored, 1 the data, a query or the configuration is wrong, 2 usage, 3 a file, the server or the store cannot be used."
        ),
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="files of past data, each sorted by time",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "csv", "openmetrics", "parquet"),
        default="auto",
        help="what the files hold; auto goes by the name, then by the first line (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read and check everything, store nothing"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration: its queries where no file is given, and its store",
    )
    server = parser.add_argument_group("from a server with Prometheus' query API")
    server.add_argument(
        "--prometheus",
        metavar="URL",
        help="ask this server the configuration's queries; a name picks one of its servers (default: each of them)",
    )
    server.add_argument(
        "--weeks",
        type=_weeks,
        metavar="N",
        help=f"how far back, from --end (default: {WEEKS})",
    )
    server.add_argument(
        "--start", type=instant_ns, metavar="TIME", help="from when on, such as 2026-11-01T08:00Z"
    )
    server.add_argument("--end", type=instant_ns, metavar="TIME", help="until when (default: now)")
    server.add_argument(
        "--step",
        type=_step_s,
        metavar="TIME",
        help="between two values, such as 15s or 5m; divides five minutes (default: the server's interval, as while the sidecar runs)",
    )
    server.add_argument(
        "--parallel",
        type=_parallel,
        metavar="N",
        help=f"most requests at once, at most {_PARALLEL_MAX} (default: as configured, 4)",
    )
    server.add_argument(
        "--within",
        type=_within_s,
        metavar="TIME",
        help="read for no longer than this, such as 15m; what is stored stays, and the same command goes on (default: until all is read)",
    )
    server.add_argument(
        "--before-run",
        action="store_true",
        help=(
            "as a container in front of the sidecar: reads what the store does not have yet, once, goes on where it was ended, and ends with 0"
            " whatever happens, with the reason said, so that the sidecar starts"
        ),
    )
    parser.set_defaults(run=run_backfill)
    return parser


def run_backfill(args: argparse.Namespace) -> int:
    """Read what was named, and store it."""
    if not args.before_run:
        return _run(args)
    if args.files or args.dry_run or args.config is None:
        say("--before-run: with --config, without files and --dry-run")
        return USAGE
    return run_before_start(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    over_servers = {
        "--prometheus": args.prometheus,
        "--weeks": args.weeks,
        "--start": args.start,
        "--end": args.end,
        "--step": args.step,
        "--parallel": args.parallel,
        "--within": args.within,
    }
    if args.files:
        given = [name for name, value in over_servers.items() if value is not None]
        if given:
            say(f"{', '.join(given)}: only without files")
            return USAGE
    elif args.config is None:
        say("give files of past data, or --config with the queries to ask a server")
        return USAGE
    if args.weeks is not None and args.start is not None:
        say("give --weeks or --start, not both")
        return USAGE
    config: SentinelConfig | None = None
    if args.config is not None:
        from sentinel.app.config import load_config

        config = load_config(args.config, environment=os.environ).config
    store = StoreConfig() if config is None else config.store
    if args.store is not None:
        store = replace(store, directory=str(args.store))
    if config is not None and not args.files:
        return run_servers(args, config, store)
    return run_files(args, store)


def _weeks(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= _WEEKS_MAX):
        msg = f"must be a number between 1 and {_WEEKS_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _step_s(text: str) -> int:
    found = span_s(text, units="sm", example="15s, 1m or 5m")
    if (STEP_NS // SECOND_NS) % found:
        msg = "must divide five minutes, such as 15s, 30s, 1m or 5m"
        raise argparse.ArgumentTypeError(msg)
    return found


def _within_s(text: str) -> int:
    return span_s(text, units="smh", example="30s, 15m or 2h")


def _parallel(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:3]) <= _PARALLEL_MAX):
        msg = f"must be a number between 1 and {_PARALLEL_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
