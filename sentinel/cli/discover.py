"""`sentinel discover`: looks at what stands there, and prints a configuration that watches it.

The configuration goes to standard output, what was found and what not to standard error. Nothing is written anywhere
without `--write`, and nothing that is there is overwritten.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.cli.instants import span_s
from sentinel.cli.options import add_output, terminal_columns, unreadable
from sentinel.cli.wrapping import next_step, tell
from sentinel.runtime.http.client import checked_url
from sentinel.runtime.loop import run_to_end
from sentinel.runtime.printable import printable

if TYPE_CHECKING:
    from sentinel.app.discover import Finding, Login

_FINE, _WRONG, _USAGE, _UNKNOWN = 0, 1, 2, 3
_PASSWORD_BYTES_MAX = 4096
_COLUMNS_UNBOUND = 160
_COLUMNS_MIN = 60
_TIMEOUT_MAX_S = 60.0
_INTERVALS_S = (5, 10, 15, 20, 30, 60)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Looks at the places that are named, or without any at what usually stands on this machine, and prints a"
        " commented configuration that works as it stands. Exit codes: 0 done, 1 a named place is something else,"
        " 2 usage, 3 a named place was not reached."
    )
    parser.add_argument(
        "--prometheus",
        type=_url,
        action="append",
        default=[],
        metavar="URL",
        help="a Prometheus, such as http://127.0.0.1:9090: queries for the metrics that are recognised; its other targets are tried from here",
    )
    parser.add_argument(
        "--metrics",
        type=_url,
        action="append",
        default=[],
        metavar="URL",
        help="a page of metrics, such as http://127.0.0.1:9100/metrics",
    )
    parser.add_argument(
        "--kong",
        type=_url,
        action="append",
        default=[],
        metavar="URL",
        help="Kong's Status API, such as http://127.0.0.1:8007, or its Admin API",
    )
    parser.add_argument(
        "--nats",
        type=_url,
        action="append",
        default=[],
        metavar="URL",
        help="the monitoring port of a NATS server, such as http://127.0.0.1:8222",
    )
    parser.add_argument(
        "--postgres",
        action="append",
        default=[],
        metavar="DSN",
        help="a PostgreSQL, such as postgresql://sentinel@127.0.0.1:5432/app, without a password",
    )
    parser.add_argument(
        "--postgres-password-file",
        type=Path,
        metavar="FILE",
        help="file with its password; without it PGPASSWORD is used",
    )
    parser.add_argument(
        "--logs",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder of log files",
    )
    parser.add_argument(
        "--interval",
        type=_interval_s,
        metavar="DURATION",
        help="how often queries of a Prometheus are asked, which is how wide windows are: 5s, 10s, 15s, 20s, 30s or 1m (default: 1m, and"
        " wider where it scrapes less often)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=3.0,
        metavar="SECONDS",
        help="longest wait for one answer (default: 3)",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write the configuration there instead of printing it; a file that is there is not overwritten",
    )
    add_output(parser, "yaml", "json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look round and print."""
    # Imported here: `sentinel --help` needs nothing of it.
    from sentinel.app.discover import USUAL, Places, look_round, of_interest

    if args.write is not None and args.write.exists():
        return _refused(_there(args.write), _WRONG)
    try:
        logins = _logins(args)
    except ValueError as error:
        return _refused(str(error), _USAGE)
    except OSError as error:
        return _refused(unreadable(args.postgres_password_file, error), _UNKNOWN)
    named = Places(
        prometheus=tuple(args.prometheus),
        metrics=tuple(args.metrics),
        kong=tuple(args.kong),
        nats=tuple(args.nats),
        postgres=logins,
        logs=tuple(folder.absolute() for folder in args.logs),
    )
    is_named = named.are_named
    looking = look_round(
        named if is_named else USUAL,
        timeout_s=args.timeout,
        asked=is_named,
        interval_s=args.interval,
    )
    findings = of_interest(run_to_end(looking))
    _tell(findings)
    text = _text(findings, args.output)
    if args.write is None:
        print(text, end="")
        if args.output == "yaml" and not _is_empty_handed(findings):
            tell("Next: the same with --write sentinel.yaml.", file=sys.stderr)
    elif _is_empty_handed(findings):
        # A file of nothing would stand in the way of the corrected command.
        tell("Nothing that was named was found: nothing is written.", file=sys.stderr)
    else:
        try:
            with args.write.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return _refused(_there(args.write), _WRONG)
        except OSError as error:
            return _refused(f"{args.write} cannot be written: {error.strerror}", _UNKNOWN)
        tell(f"Written to {printable(str(args.write))}.", file=sys.stderr)
        next_step(f"sentinel check config {shlex.quote(str(args.write))}", file=sys.stderr)
    return _code(findings)


def _there(path: Path) -> str:
    return f"{path} is there already and is not overwritten: remove it, or give another name"


def _is_empty_handed(findings: list[Finding]) -> bool:
    """Whether places were named and none of them was found."""
    from sentinel.app.discover import Outcome

    asked = [finding for finding in findings if finding.asked]
    return bool(asked) and all(finding.outcome is Outcome.ABSENT for finding in asked)


def _tell(findings: list[Finding]) -> None:
    from sentinel.app.discover import finding_lines

    width = max(terminal_columns() or _COLUMNS_UNBOUND, _COLUMNS_MIN)
    for finding in findings:
        for number, line in enumerate(finding_lines(finding)):
            indent = " " * (23 if number == 0 else 12)
            for part in textwrap.wrap(
                line, width, subsequent_indent=indent, break_on_hyphens=False
            ):
                print(part, file=sys.stderr)
    if not findings:
        tell(
            "Nothing that usually stands on this machine was found: name what to look at (sentinel discover --help).",
            file=sys.stderr,
        )


def _text(findings: list[Finding], form: str) -> str:
    from sentinel.app.discover import as_config, as_yaml

    if form == "yaml":
        return as_yaml(findings)
    document = {
        "config": as_config(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, indent=2) + "\n"


def _code(findings: list[Finding]) -> int:
    from sentinel.app.discover import Outcome

    outcomes = {finding.outcome for finding in findings if finding.asked}
    if Outcome.OTHER in outcomes:
        return _WRONG
    return _UNKNOWN if Outcome.ABSENT in outcomes else _FINE


def _logins(args: argparse.Namespace) -> tuple[Login, ...]:
    """What `--postgres` names, with the password of the file or of the environment.

    Raises:
        ValueError: a DSN is none, or carries a password.
        OSError: the file cannot be read.
    """
    from sentinel.app.discover import login_of

    password, file = os.environ.get("PGPASSWORD", ""), ""
    if args.postgres_password_file is not None:
        with args.postgres_password_file.open("rb") as opened:
            data = opened.read(_PASSWORD_BYTES_MAX + 1)
        if len(data) > _PASSWORD_BYTES_MAX:
            msg = f"{args.postgres_password_file} is too long for a password"
            raise ValueError(msg)
        password = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        file = str(args.postgres_password_file.absolute())
    return tuple(login_of(dsn, password=password, password_file=file) for dsn in args.postgres)


def _refused(sentence: str, code: int) -> int:
    tell(f"sentinel discover: {printable(sentence)}", file=sys.stderr)
    return code


def _url(text: str) -> str:
    try:
        return checked_url(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interval_s(text: str) -> float:
    found = span_s(text, units="sm", example="10s, 30s or 1m")
    if found not in _INTERVALS_S:
        msg = f"{printable(text)} is none of 5s, 10s, 15s, 20s, 30s and 1m"
        raise argparse.ArgumentTypeError(msg)
    return float(found)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= _TIMEOUT_MAX_S:
        msg = f"{printable(text)} is not a number of seconds above 0 and up to {_TIMEOUT_MAX_S:g}"
        raise argparse.ArgumentTypeError(msg)
    return seconds
