"""`sentinel baseline`: past data into a store, and what a store has learned from."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.cli.asking import add_address, add_token, ask
from sentinel.cli.baseline_audit import add_audit
from sentinel.cli.baseline_report import instant_told, print_report
from sentinel.cli.baseline_show import add_show
from sentinel.cli.incidents import LIMIT_MAX
from sentinel.cli.options import add_output, unreadable
from sentinel.core.model import BY_LENGTH_MAX
from sentinel.errors import InputError, MalformedInputError, StoreLockedError
from sentinel.history import OpenMetricsFile, SeriesNumbers, read_long
from sentinel.pipeline.backfill import STEP_NS, Backfill, BackfillSummary
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.logging import escape
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import SqliteStore, StoreConfig

_DONE = 0
_WRONG = 1
_CANNOT_TELL = 3
_HEAD_BYTES = 4096
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
_AFTER_BACKFILL = "Stored. Start the sidecar; it fits at once."
_AFTER_DRY_RUN = "Dry run: all of it can be stored, and nothing was."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Exit codes: 0 done, 1 the data is wrong, 2 usage, 3 the store cannot be used."
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
    print_report(args.output, _told(summary, dry_run=args.dry_run))
    if args.output == "table":
        print(_AFTER_DRY_RUN if args.dry_run else _AFTER_BACKFILL)
    return _DONE


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
    print(escape(one["summary"]))
    print(_AFTER_WORD[args.word])
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
    print(f"sentinel baseline: {printable(sentence)}", file=sys.stderr)


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
        "start": instant_told(start_ns) if end_ns else None,
        "end": instant_told(end_ns) if end_ns else None,
    }
