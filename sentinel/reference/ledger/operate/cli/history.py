"""`sentinel-ledger history`: a simulated past, plain by weeks or eventful by months."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.operate.cli.arguments import add_day, duration_s, zone
from sentinel.reference.ledger.operate.cli.servers import Commands


def add_history(commands: Commands) -> None:
    """Add the command to the grammar."""
    parser = commands.add_parser("history", help="write simulated history")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--weeks", type=float, default=6.0, help="a plain past (default: 6)")
    how_long.add_argument(
        "--months",
        type=int,
        help="a past with calendar, growth, tenants, jobs, deploys and outages instead",
    )
    parser.add_argument("--step", type=duration_s, default=300, help="window, as 10s, 5m or 1h")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=float, help="Unix seconds of the end (default: now)")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second at the end")
    parser.add_argument("--levels", type=Path, help="JSON list of levels at the end")
    parser.add_argument("--zone", default="UTC", help="IANA time zone of the shape")
    add_day(parser)
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
        zone=zone(options.zone),
        levels_file=options.levels,
        day_s=options.day_seconds,
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

    if options.day_seconds is not None:
        message = "--day-seconds does not go with --months, which has a calendar"
        raise UsageError(message)
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
        zone=zone(options.zone),
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
