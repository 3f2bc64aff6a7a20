"""`sentinel baseline show`: what a store holds, also while a sidecar uses it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sentinel.cli.baseline.report import instant_told, print_report
from sentinel.cli.options import terminal_columns
from sentinel.cli.preview.table import named_beside
from sentinel.cli.wrapping import tell
from sentinel.core.model import name_matches
from sentinel.ports import SeriesRow
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import StoreReader

_DONE, _WRONG, _USAGE = 0, 1, 2
_LIMIT = 100
_LIMIT_MAX = 100_000
_HEAD = "last seen (UTC) "


def add_show(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the action and what is its own."""
    parser = actions.add_parser(
        "show",
        help="what a store holds: series, history, fits",
        description=(
            "Reads the store beside a running sidecar and changes nothing. Exit codes: 0 done, 1 no series has such a name,"
            " 2 usage, 3 the store cannot be used."
        ),
    )
    parser.add_argument(
        "--series",
        nargs="?",
        const="*",
        metavar="GLOB",
        help="also list the series by name, or those with such a name, `service stage route signal`",
    )
    parser.add_argument(
        "--limit",
        type=_limit,
        metavar="COUNT",
        help=f"how many of them, at most {_LIMIT_MAX} (default: {_LIMIT})",
    )
    parser.set_defaults(run=run_show)
    return parser


def run_show(args: argparse.Namespace) -> int:
    """Look into a store and print."""
    if args.limit is not None and args.series is None:
        _say("--limit: only with --series")
        return _USAGE
    with StoreReader(args.store) as reader:
        rows = reader.series()
        report: dict[str, Any] = {"series": len(rows)}
        report["windows"] = [
            {
                "step_s": step_ns / 1e9,
                "start": instant_told(start_ns),
                "end": instant_told(end_ns),
            }
            for step_ns, start_ns, end_ns in reader.history_span()
        ]
        report["fits"] = [
            {
                "effective": instant_told(fit.at_ns),
                "version": fit.version,
                "bytes": len(fit.payload),
            }
            for fit in reader.fits()
        ]
    if args.series is None:
        print_report(args.output, report)
        return _DONE
    named = sorted(
        (row for row in rows if name_matches(str(row.key), args.series)), key=lambda row: row.key
    )
    listed = named[: args.limit or _LIMIT]
    left_out_count = len(named) - len(listed)
    if args.output == "json":
        report["names"] = [_document(row) for row in listed]
        report["names_left_out"] = left_out_count
    print_report(args.output, report)
    if args.output == "table" and listed:
        print("\n".join(["", *_table(listed, left_out_count, columns=terminal_columns())]))
    if rows and not named:
        _say(f"no series is called {printable(args.series)}")
        return _WRONG
    return _DONE


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _LIMIT_MAX):
        msg = f"must be a number between 1 and {_LIMIT_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _document(row: SeriesRow) -> dict[str, Any]:
    return {
        **row.key._asdict(),
        "kind": row.kind.name.lower(),
        "first_seen": instant_told(row.first_seen_ns),
        "last_seen": instant_told(row.last_seen_ns),
    }


def _table(rows: Sequence[SeriesRow], left_out_count: int, *, columns: int | None) -> list[str]:
    """A line for each series, no wider than the terminal."""
    names = [printable(str(row.key)) for row in rows]
    lines = [
        named_beside(_minute(row.last_seen_ns), name, columns)
        for row, name in zip(rows, names, strict=True)
    ]
    is_cut = any(not line.endswith(name) for line, name in zip(lines, names, strict=True))
    lines = [f"{_HEAD}  series", *lines]
    if left_out_count:
        lines.append(f"and {left_out_count} more series; --limit COUNT lists more of them")
    if is_cut:
        lines.append("names are cut to the width; -o json has them whole")
    return lines


def _minute(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9, tz=UTC):%Y-%m-%d %H:%M}"


def _say(sentence: str) -> None:
    tell(f"sentinel baseline show: {sentence}", file=sys.stderr)
