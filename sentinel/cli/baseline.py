"""`sentinel baseline`: past data into a store, and what a store has learned from."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.cli.options import add_output, unreadable
from sentinel.errors import InputError, MalformedInputError, StoreLockedError
from sentinel.history import OpenMetricsFile, SeriesNumbers, read_long
from sentinel.pipeline.backfill import STEP_NS, Backfill, BackfillSummary
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.config_text import printable
from sentinel.runtime.metrics import Metrics
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader

_DONE = 0
_WRONG = 1
_CANNOT_TELL = 3
_HEAD_BYTES = 4096
_AFTER_BACKFILL = "Stored. Start the sidecar; it fits at once."
_AFTER_DRY_RUN = "Dry run: all of it can be stored, and nothing was."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the grammar."""
    parser = subparsers.add_parser(
        "baseline",
        help="bring past data into a store, or show what it holds",
        description="Exit codes: 0 done, 1 the data is wrong, 2 usage, 3 the store cannot be used.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    backfill = actions.add_parser(
        "backfill",
        help="store past data as windows of five minutes",
        description=(
            "Reads CSV (timestamp,service,stage,route,signal,value,weight; sorted by time; .gz too) or"
            " OpenMetrics with timestamps, and stores windows of five minutes. Nothing is stored when"
            " a file has a fault. The same data again leaves the same store. Never pages."
        ),
    )
    backfill.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="files of past data, each sorted by time",
    )
    backfill.add_argument(
        "--format",
        choices=("auto", "csv", "openmetrics"),
        default="auto",
        help="what the files hold; auto goes by the name, then by the first line (default: %(default)s)",
    )
    backfill.add_argument(
        "--dry-run", action="store_true", help="read and check everything, store nothing"
    )
    _add_common(backfill)
    backfill.set_defaults(run=run_backfill)

    show = actions.add_parser("show", help="what a store holds: series, history, fits")
    _add_common(show)
    show.set_defaults(run=run_show)


def run_backfill(args: argparse.Namespace) -> int:
    """Read the files, then store what they hold."""
    config = StoreConfig(directory=str(args.store))
    clock = SystemClock()
    now_ns = clock.now_ns()
    numbers = SeriesNumbers()
    code = _DONE
    with Backfill(now_ns=now_ns, keep_ns=config.keep_ns(STEP_NS)) as backfill:
        for path in args.files:
            try:
                _read(path, args.format, numbers, backfill, now_ns=now_ns)
            except InputError as error:
                for line in str(error).splitlines():
                    _say(line)
                code = max(code, _WRONG)
            except OSError as error:
                if str(error.filename) != str(path):
                    raise  # not the file: the room for what was read of it
                _say(unreadable(path, error))
                code = _CANNOT_TELL
        if code != _DONE:
            _say("nothing is stored")
            return code
        if args.dry_run:
            summary = backfill.store(None, numbers.keys)
        else:
            logger = logging.getLogger("sentinel.baseline")
            surroundings = Surroundings(clock=clock, metrics=Metrics(CATALOGUE), logger=logger)
            store = SqliteStore(config, surroundings)
            try:
                store.open()
            except StoreLockedError as error:
                _say(f"{error}; stop the sidecar, backfill, and start it again")
                return _CANNOT_TELL
            try:
                summary = backfill.store(store, numbers.keys)
            finally:
                store.close()
    _print(args.output, _told(summary, dry_run=args.dry_run))
    if args.output == "table":
        print(_AFTER_DRY_RUN if args.dry_run else _AFTER_BACKFILL)
    return _DONE


def run_show(args: argparse.Namespace) -> int:
    """Look into a store, also while a sidecar uses it."""
    with StoreReader(args.store) as reader:
        rows = reader.series()
        report: dict[str, Any] = {"series": len(rows)}
        report["windows"] = [
            {
                "step_s": step_ns / 1e9,
                "start": _instant(start_ns),
                "end": _instant(end_ns),
            }
            for step_ns, start_ns, end_ns in reader.history_span()
        ]
        report["fits"] = [
            {"effective": _instant(fit.at_ns), "version": fit.version, "bytes": len(fit.payload)}
            for fit in reader.fits()
        ]
    _print(args.output, report)
    return _DONE


def _say(sentence: str) -> None:
    print(f"sentinel baseline: {printable(sentence)}", file=sys.stderr)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        type=Path,
        default=Path(StoreConfig().directory),
        metavar="DIR",
        help="the store's folder (default: %(default)s)",
    )
    add_output(parser, "table", "json")


def _read(
    path: Path, form: str, numbers: SeriesNumbers, backfill: Backfill, *, now_ns: int
) -> None:
    if form == "auto":
        form = _format_of(path)
    if form == "csv":
        backfill.add(read_long(path, numbers, not_after_ns=now_ns))
        return
    source = OpenMetricsFile(path)
    backfill.add(source.rows(numbers, not_after_ns=now_ns))
    backfill.skip("not a gauge of a series", source.skipped_count)


def _format_of(path: Path) -> str:
    """What a file holds, by its name and, where that says nothing, by its first bytes."""
    names = {".csv": "csv", ".om": "openmetrics", ".prom": "openmetrics", ".txt": "openmetrics"}
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in names:
        return names[suffix]
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"timestamp,"):
        return "csv"
    if head.startswith(b"#"):
        return "openmetrics"
    msg = f"{path}: neither CSV with its header nor OpenMetrics; say which with --format"
    raise MalformedInputError(msg)


def _told(summary: BackfillSummary, *, dry_run: bool) -> dict[str, Any]:
    told = asdict(summary)
    start_ns, end_ns = told.pop("start_ns"), told.pop("end_ns")
    return {
        "dry_run": dry_run,
        **told,
        "start": _instant(start_ns) if end_ns else None,
        "end": _instant(end_ns) if end_ns else None,
    }


def _instant(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="seconds")


def _print(output: str, report: dict[str, Any]) -> None:
    if output == "json":
        print(json.dumps(report))
        return
    for name, value in report.items():
        if name == "dry_run":
            continue  # said in a sentence at the end
        _print_field(name.replace("_", " "), value)


def _print_field(name: str, value: object) -> None:
    if isinstance(value, dict):
        for key, count in value.items():
            print(f"{name:<14} {count} {key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            print(f"{name:<14} " + "  ".join(f"{key} {field}" for key, field in one.items()))
    else:
        print(f"{name:<14} {'-' if value is None else value}")
