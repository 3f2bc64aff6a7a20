"""`sentinel baseline`: past data into a store, and what a store has learned from."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from sentinel.cli.asking import add_address, add_token, ask
from sentinel.cli.baseline.audit import add_audit
from sentinel.cli.baseline.backfill import add_backfill
from sentinel.cli.baseline.export import add_export
from sentinel.cli.baseline.show import add_show
from sentinel.cli.incidents import LIMIT_MAX
from sentinel.cli.options import add_output
from sentinel.cli.wrapping import tell
from sentinel.core.model import BY_LENGTH_MAX
from sentinel.runtime.logging import escape
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import StoreConfig

_DONE = 0
_WRONG = 1
_WORDS = {
    "include": "say that what an incident shows is the new normal",
    "exclude": "take back that what an incident showed was normal",
}
_ABOUT_WORDS = {
    "include": (
        "An open incident ends with the next window, and its level is expected from then on. What was seen while it"
        " was open counts as history, also of one that is over."
    ),
    "exclude": "What was seen while the incident was open does not count as history any more.",
}
_WORD_CODES = "Exit codes: 0 stored, 1 no such incident or refused, 2 usage, 3 not reachable."
_AFTER_WORD = {
    "include": "Stored. What was seen in it counts as history from the next fit on.",
    "exclude": "Stored. What was seen in it does not count as history from the next fit on.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Exit codes: 0 done, 1 the data is wrong, 2 usage, 3 the store cannot be used."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    _add_common(add_backfill(actions), has_config=True)
    add_export(actions)

    for name, what in _WORDS.items():
        word = actions.add_parser(
            name, help=what, description=f"{_ABOUT_WORDS[name]} {_WORD_CODES}"
        )
        word.add_argument(
            "incident_id",
            metavar="INCIDENT",
            help="as sentinel incidents lists it; the first letters of its id are enough",
        )
        word.add_argument(
            "--by", type=_by, metavar="NAME", help="who says so (default: the user's name)"
        )
        add_address(word)
        add_token(word, "change things")
        # It is answered when the next window is stored.
        word.set_defaults(run=run_word, word=name, timeout=60.0)

    _add_common(add_show(actions))
    _add_common(add_audit(actions), has_config=True)


def run_word(args: argparse.Namespace) -> int:
    """Tell a running sidecar what is normal, and print what it made of it."""
    listed = ask(args, f"/api/v1/incidents?limit={LIMIT_MAX}")["incidents"]
    found = [one["id"] for one in listed if one["id"].startswith(args.incident_id)]
    if len(found) != 1:
        many = f"{len(found)} incidents begin with" if found else "there is no incident"
        _say(f"{many} {args.incident_id} among the newest {LIMIT_MAX}")
        return _WRONG
    said = {"id": found[0], "by": args.by or _user()}
    one = ask(args, f"/api/v1/incidents/{args.word}", said=said)["incident"]
    tell(escape(one["summary"]))
    tell(_AFTER_WORD[args.word])
    return _DONE


def _by(text: str) -> str:
    if not text.strip() or len(text) > BY_LENGTH_MAX or not text.isprintable():
        msg = f"must be 1 to {BY_LENGTH_MAX} printable characters"
        raise argparse.ArgumentTypeError(msg)
    return text.strip()


def _user() -> str:
    try:
        return getpass.getuser()[:BY_LENGTH_MAX]
    except (KeyError, OSError):  # a user id without a name, as containers have
        return f"user {os.getuid()}"


def _say(sentence: str) -> None:
    tell(f"sentinel baseline: {printable(sentence)}", file=sys.stderr)


def _add_common(parser: argparse.ArgumentParser, *, has_config: bool = False) -> None:
    usual = StoreConfig().directory
    parser.add_argument(
        "--store",
        type=Path,
        default=None if has_config else Path(usual),
        metavar="DIR",
        help=f"the store's folder (default: {'that of --config, or ' if has_config else ''}{usual})",
    )
    add_output(parser, "table", "json")
