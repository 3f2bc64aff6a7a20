"""The options of `sentinel baseline export`, and what of them does not go together."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from sentinel.cli.instants import SECOND_NS, instant_ns, span_s
from sentinel.cli.options import add_output
from sentinel.history.writing import BLOCK_NS, checked_label
from sentinel.runtime.http.client import checked_url
from sentinel.storage.sqlite import StoreConfig

_SPLIT_MAX_S = 31 * 86_400
_TENANT_LENGTH_MAX = 150
_WAIT_MAX_S = 86_400.0
_ATTEMPT_MAX_S = 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the action takes to its grammar."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--openmetrics",
        metavar="DIR",
        type=Path,
        help="write files there, made where it is missing; one of the same name is replaced",
    )
    target.add_argument(
        "--remote-write",
        metavar="URL",
        type=_url,
        help="send to this receiver; without a path /api/v1/write. Needs the extra `remote-write`",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help=f"the store's folder (default: that of --config, or {StoreConfig().directory})",
    )
    parser.add_argument(
        "--from", dest="begin", metavar="TIME", type=instant_ns, help="such as 2026-11-01T08:00Z"
    )
    parser.add_argument("--to", dest="end", metavar="TIME", type=instant_ns, help="until then")
    parser.add_argument("--last", metavar="SPAN", type=span_s, help="the last 12h, 7d or 4w of it")
    parser.add_argument(
        "--windows",
        choices=("auto", "decided", "1m", "5m"),
        default="auto",
        help="which windows: those that a sidecar decided, as it did; those of a minute or of five, as one would have; auto takes what"
        " was decided where that can be decided again, and windows of five minutes before (default: %(default)s)",
    )
    parser.add_argument(
        "--series",
        metavar="GLOB",
        action="append",
        default=[],
        help="series with such a name alone, `service stage route signal`; may be given again",
    )
    parser.add_argument(
        "--label",
        metavar="NAME=VALUE",
        action="append",
        type=_label,
        default=[],
        help="a label that every sample gets, as your scrape of /metrics/series adds job and instance; may be given again",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="replay and count everything, write nothing"
    )
    judged = parser.add_argument_group("windows that no sidecar decided are judged by")
    judged.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="calendar, zone, sensitivity, scoring, incidents and baseline of this configuration; its store is the default",
    )
    judged.add_argument("--zone", help="day and week follow the wall clock of this IANA zone")
    judged.add_argument(
        "--country", help="public holidays of this country, or of a part of it: DE, DE-BY"
    )
    judged.add_argument(
        "--closing-dates",
        metavar="FILE",
        type=Path,
        help="days of rest besides, one a line: 2026-12-31, or 12-31 for every year",
    )
    _add_openmetrics(parser)
    _add_remote_write(parser)
    add_output(parser, "table", "json")


def _add_openmetrics(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files of OpenMetrics")
    files.add_argument(
        "--split",
        metavar="SPAN",
        type=_split_s,
        help="longest span of a file, a multiple of 2h; large ones are split sooner (default: 1d)",
    )
    files.add_argument(
        "--with-head",
        action="store_true",
        help="write the last three hours too, which Prometheus still holds in memory",
    )


def _add_remote_write(parser: argparse.ArgumentParser) -> None:
    remote = parser.add_argument_group("remote write")
    remote.add_argument(
        "--protocol",
        choices=("auto", "1.0", "2.0"),
        help="version; auto tries 2.0, and goes down where that is not spoken (default: auto)",
    )
    remote.add_argument("--tenant", metavar="ID", type=_tenant, help="sent as X-Scope-OrgID")
    remote.add_argument(
        "--bearer-token-file", metavar="FILE", type=Path, help="file with a bearer token"
    )
    remote.add_argument("--basic-username", metavar="NAME", help="user of basic authentication")
    remote.add_argument(
        "--basic-password-file", metavar="FILE", type=Path, help="file with its password"
    )
    remote.add_argument(
        "--ca-file", metavar="FILE", type=Path, help="authority to trust instead of the system's"
    )
    remote.add_argument(
        "--cert-file", metavar="FILE", type=Path, help="own certificate, for mutual TLS"
    )
    remote.add_argument("--key-file", metavar="FILE", type=Path, help="its key")
    remote.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_attempt_s,
        help="longest time of one attempt (default: 30)",
    )
    remote.add_argument(
        "--give-up-after",
        metavar="SECONDS",
        type=_wait_s,
        help="how long one request is tried again while the receiver is away or busy (default: 300)",
    )


_OF_FILES = ("split", "with_head")
_OF_REMOTE_WRITE = (
    "protocol",
    "tenant",
    "bearer_token_file",
    "basic_username",
    "basic_password_file",
    "ca_file",
    "cert_file",
    "key_file",
    "timeout",
    "give_up_after",
)


def problem_of(args: argparse.Namespace) -> str | None:
    """A sentence on options that do not go together, or None."""
    is_of_files = args.openmetrics is not None
    others: tuple[str, ...] = _OF_REMOTE_WRITE if is_of_files else _OF_FILES
    where = "--remote-write" if is_of_files else "--openmetrics"
    given = [f"--{name.replace('_', '-')}" for name in others if getattr(args, name)]
    if given:
        return f"{', '.join(given)}: only for {where}"
    if args.last is not None and args.begin is not None:
        return "--last and --from are two beginnings"
    if args.begin is not None and args.end is not None and args.begin >= args.end:
        return "--from is not before --to"
    names = [name for name, _ in args.label]
    if len(set(names)) < len(names):
        return "a label is given twice"
    return None


def _url(text: str) -> str:
    try:
        checked = checked_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    parts = urlsplit(checked)
    return checked if parts.path.strip("/") else parts._replace(path="/api/v1/write").geturl()


def _label(text: str) -> tuple[str, str]:
    try:
        return checked_label(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _split_s(text: str) -> int:
    seconds = span_s(text)
    if seconds * SECOND_NS % BLOCK_NS or seconds > _SPLIT_MAX_S:
        msg = f"{text} is no multiple of 2h up to 31d"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def _tenant(text: str) -> str:
    if not text or len(text) > _TENANT_LENGTH_MAX or not (text.isascii() and text.isprintable()):
        msg = f"must be 1 to {_TENANT_LENGTH_MAX} printable ASCII characters"
        raise argparse.ArgumentTypeError(msg)
    return text


def _attempt_s(text: str) -> float:
    return _seconds(text, _ATTEMPT_MAX_S)


def _wait_s(text: str) -> float:
    return _seconds(text, _WAIT_MAX_S)


def _seconds(text: str, most_s: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= most_s:
        msg = f"{text!r} is not a number of seconds above 0 and up to {most_s:g}"
        raise argparse.ArgumentTypeError(msg)
    return seconds
