"""`sentinel incidents`: what is open, what was, and all that is known of one."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from typing import Any

from sentinel.cli.asking import add_address, add_token, ask
from sentinel.cli.options import add_output
from sentinel.cli.wrapping import tell
from sentinel.core.incidents.text import quantity, score_told
from sentinel.core.model import SeriesKey
from sentinel.runtime.logging import escape

_FOUND, _NOT_FOUND = 0, 1
LIMIT_MAX = 1000
SHADOW_NOTE = "The mode is shadow: incidents are decided and recorded, and nobody is paged."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = "Exit codes: 0 shown, 1 no such incident, 2 usage, 3 not reachable."
    parser.add_argument(
        "incident_id",
        nargs="?",
        metavar="INCIDENT",
        help="show this one, with its evidence; the first letters of its id are enough",
    )
    parser.add_argument("--open", action="store_true", help="only those that are open")
    parser.add_argument(
        "--limit",
        type=_limit,
        default=20,
        metavar="COUNT",
        help=f"how many, newest first, at most {LIMIT_MAX} (default: 20)",
    )
    add_output(parser, "table", "json", "ndjson")
    add_address(parser)
    add_token(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar and print."""
    limit = LIMIT_MAX if args.incident_id else args.limit
    state = "open" if args.open else "all"
    reply = ask(args, f"/api/v1/incidents?limit={limit}&state={state}")
    found, mode = reply["incidents"], reply.get("mode", "")
    if args.incident_id:
        found = [one for one in found if one["id"].startswith(args.incident_id)]
        if not found:
            tell(
                f"There is no {'open ' if args.open else ''}incident {escape(args.incident_id)}"
                f" among the newest {LIMIT_MAX}.",
                file=sys.stderr,
            )
            return _NOT_FOUND
    if args.output == "json":
        print(json.dumps(found, indent=2))
    elif args.output == "ndjson":
        for one in found:
            print(json.dumps(one))
    elif args.incident_id:
        print("\n\n".join("\n".join(_whole(one, mode=mode)) for one in found))
    else:
        print("\n".join(_table(found, mode=mode, open_only=args.open)))
    return _FOUND


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LIMIT_MAX):
        msg = f"must be a number between 1 and {LIMIT_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _table(incidents: list[dict[str, Any]], *, mode: str, open_only: bool) -> list[str]:
    note = [SHADOW_NOTE] if mode == "shadow" else []
    if not incidents:
        return [*note, "No open incidents." if open_only else "No incidents."]
    lines = [
        f"{'ID':<12} {'SINCE (UTC)':<16} {'STATE':<8} {'SEVERITY':<8} SERVICE: FIRST ON ITS PAGE"
    ]
    # Cut for eyes only: what reads a pipe gets the whole line.
    width = max(60, shutil.get_terminal_size().columns) if sys.stdout.isatty() else sys.maxsize
    for one in incidents:
        first = one["primary"]
        what = f": {first['stage']} {first['route']} {first['signal']}" if first else ""
        line = escape(
            f"{one['id'][:12]:<12} {one['opened'][:16].replace('T', ' '):<16} {one['state']:<8}"
            f" {one['severity']:<8} {one['group']}{what}"
        )
        lines.append(line if len(line) <= width else line[: width - 1] + "…")
    return [*note, *lines]


def _whole(one: dict[str, Any], *, mode: str) -> list[str]:
    """All that is known of one, in the words of its page, within the width of the terminal."""
    lines = _wrapped(one["summary"])
    lines += [
        "",
        f"Incident {one['id']} ({one['kind']}, {one['severity']})",
        f"State    {_state(one)}",
        f"Opened   {_time(one['opened'])}",
        # The end of the window that decided; late data is waited for before anything goes out.
        f"Decided  {_time(one['paged'])}{'' if mode == 'shadow' else '; the page follows some seconds later'}",
    ]
    if mode == "shadow":
        lines += [SHADOW_NOTE]
    lines += ["", *(part for line in one["description"].split("\n") for part in _wrapped(line))]
    if one["members"]:
        lines += ["", f"Series ({len(one['members'])}), strangest first"]
    for member in one["members"]:
        lines += _wrapped(
            f"{member['stage']} {member['route']} {member['signal']}: {_measured(member)}",
            indent="  ",
        )
    lines += _listed("Traces", one["traces"])
    lines += _listed("Log", [f"{line['service']}: {line['body']}" for line in one["log_lines"]])
    return lines


def _measured(member: dict[str, Any]) -> str:
    key = SeriesKey(member["service"], member["stage"], member["route"], member["signal"])
    value = "no value" if member["value"] is None else quantity(member["value"], key)
    expected = (
        "" if member["expected"] is None else f", expected {quantity(member['expected'], key)}"
    )
    why = f" ({member['why']})" if member["why"] else ""
    return f"{value}{expected}, score {score_told(member['peak_score'] or 0.0)}{why}"


def _listed(title: str, texts: list[str]) -> list[str]:
    if not texts:
        return []
    return ["", title, *(part for text in texts for part in _wrapped(text, indent="  "))]


def _state(one: dict[str, Any]) -> str:
    if one["resolved"]:
        return f"resolved at {_time(one['resolved'])}"
    return str(one["state"])


def _time(text: str) -> str:
    """A time of the API as pages show it."""
    return f"{text[:10]} {text[11:19]} UTC"


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    """Lines no wider than the terminal; what comes back is safe to print."""
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.wrap(
        escape(text),
        width=width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )
