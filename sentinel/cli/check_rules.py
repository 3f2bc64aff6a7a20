"""`sentinel check rules`: files of Prometheus rules, by the names that Sentinel really exposes, their labels and runbooks."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sentinel.app.rules import Looked, RuleFileUnreadableError, look
from sentinel.cli.options import add_output
from sentinel.cli.wrapping import tell
from sentinel.runtime.printable import printable

_FINE, _WRONG, _UNKNOWN = 0, 1, 3


def add_rules_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `check rules` takes."""
    parser.add_argument("path", nargs="+", type=Path, help="file of rules, or a folder of them")
    parser.add_argument(
        "--runbooks",
        type=Path,
        metavar="FOLDER",
        help="folder that must hold a page of its name for each alert",
    )
    parser.add_argument(
        "--severity",
        action="append",
        metavar="NAME",
        help="a value that the label severity may have, in place of page, ticket and info; may be given again",
    )
    add_output(parser, "table", "json")
    parser.set_defaults(run=run_rules)


def run_rules(args: argparse.Namespace) -> int:
    """Look at the files, and say what is wrong with them."""
    chosen = {"severities": tuple(args.severity)} if args.severity else {}
    try:
        looked = look(args.path, runbooks=args.runbooks, **chosen)
    except RuleFileUnreadableError as error:
        tell(f"sentinel check rules: {printable(str(error))}", file=sys.stderr)
        return _UNKNOWN
    if args.output == "json":
        print(json.dumps(_plain(looked), indent=2))
    else:
        for finding in looked.findings:
            tell(printable(str(finding)))
        tell(_summary(looked))
    return _WRONG if looked.fault_count else _FINE


def _summary(looked: Looked) -> str:
    files, alerts, faults = len(looked.files), looked.alert_count, looked.fault_count
    told = (
        f"{files} file{'' if files == 1 else 's'}, {alerts} alert{'' if alerts == 1 else 's'},"
        f" {looked.record_count} recorded name{'' if looked.record_count == 1 else 's'}"
    )
    return f"{told}: {'no fault' if not faults else '1 fault' if faults == 1 else f'{faults} faults'}."


def _plain(looked: Looked) -> dict[str, object]:
    return {
        "ok": not looked.fault_count,
        "files": list(looked.files),
        "alert_count": looked.alert_count,
        "record_count": looked.record_count,
        "findings": [asdict(finding) for finding in looked.findings],
    }
