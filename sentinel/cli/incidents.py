"""`sentinel incidents`: what is open, what was, and all that is known of one."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from sentinel.cli.asking import add_address, add_token, ask
from sentinel.cli.options import add_output
from sentinel.runtime.logging import escape

_FOUND, _NOT_FOUND = 0, 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the grammar."""
    parser = subparsers.add_parser(
        "incidents",
        help="list incidents of a running sidecar, or show one whole",
        description="Exit codes: 0 shown, 1 no such incident, 2 usage, 3 not reachable.",
    )
    parser.add_argument(
        "incident_id",
        nargs="?",
        metavar="INCIDENT",
        help="show this one, with its evidence; the first letters of its id are enough",
    )
    parser.add_argument("--open", action="store_true", help="only those that are open")
    parser.add_argument(
        "--limit",
        type=int,
        default=20,
        metavar="COUNT",
        help="how many, newest first (default: 20)",
    )
    add_output(parser, "table", "json", "ndjson")
    add_address(parser)
    add_token(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar and print."""
    limit = 1000 if args.incident_id else args.limit
    state = "open" if args.open else "all"
    found = ask(args, f"/api/v1/incidents?limit={limit}&state={state}")["incidents"]
    if args.incident_id:
        found = [one for one in found if one["id"].startswith(args.incident_id)]
        if not found:
            print(f"There is no incident {escape(args.incident_id)}.", file=sys.stderr)
            return _NOT_FOUND
    if args.output == "json":
        print(json.dumps(found, indent=2))
    elif args.output == "ndjson":
        for one in found:
            print(json.dumps(one))
    elif args.incident_id:
        for one in found:
            print("\n".join(_whole(one)))
    else:
        print("\n".join(_table(found)))
    return _FOUND


def _table(incidents: list[dict[str, Any]]) -> list[str]:
    if not incidents:
        return ["No incidents."]
    lines = [f"{'ID':<14} {'SINCE (UTC)':<20} {'STATE':<9} {'SEVERITY':<9} SERVICE, STRANGEST"]
    for one in incidents:
        strangest = one["members"][0] if one["members"] else None
        what = (
            f" {strangest['stage']} {strangest['route']} {strangest['signal']}"
            if strangest
            else ""
        )
        lines.append(
            escape(
                f"{one['id'][:12]:<14} {one['opened'][:19]:<20} {one['state']:<9}"
                f" {one['severity']:<9} {one['group']}{what}"
            )
        )
    return lines


def _whole(one: dict[str, Any]) -> list[str]:
    lines = [
        f"Incident {one['id']}: {one['kind']} of {one['group']}, {one['severity']}, {one['state']}",
        f"  since {one['opened']}, paged {one['paged']}, resolved {one['resolved'] or 'not yet'}",
    ]
    if mover := one["first_mover"]:
        lines.append(
            f"  moved first: {mover['service']} {mover['stage']} {mover['route']} {mover['signal']},"
            f" {mover['lead_s']:g} s before the next"
        )
    else:
        lines.append("  no clear first mover")
    for member in one["members"]:
        expected = "" if member["expected"] is None else f", expected {member['expected']:.4g}"
        value = "no value" if member["value"] is None else f"{member['value']:.4g}"
        why = f" ({member['why']})" if member["why"] else ""
        lines.append(
            f"  {member['stage']} {member['route']} {member['signal']}: {value}{expected},"
            f" score {member['peak_score'] or 0:.1f}{why}"
        )
    lines += [f"  trace {trace}" for trace in one["traces"]]
    lines += [f"  log {line['service']}: {line['body']}" for line in one["log_lines"]]
    return [escape(line) for line in lines]
