"""The grammar of `sentinel-ledger audit …`; what the commands do is in audit_commands.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sentinel.reference.ledger.operate.cli.arguments import port
from sentinel.reference.ledger.operate.cli.servers import Commands, add_postgres


def add_audit(commands: Commands) -> None:
    """Add the command with its own commands to the grammar."""
    parser = commands.add_parser("audit", help="keep, export and verify the ledger's audit trail")
    parts = parser.add_subparsers(required=True, metavar="command")
    _add_keygen(parts)
    _add_run(parts)
    _add_resume(parts)
    _add_witness(parts)
    _add_exports(parts)
    _add_export(parts)
    _add_prove(parts)
    _add_verify(parts)


def _add_keygen(parts: Commands) -> None:
    parser = parts.add_parser("keygen", help="make a key to sign with, and its public part")
    parser.add_argument("--name", required=True, help="the log's or the witness's name")
    parser.add_argument("--witness", action="store_true", help="a witness's key, not a log's")
    parser.add_argument(
        "--file",
        type=Path,
        required=True,
        help="new file for the private key; the public one goes beside it, as .pub",
    )
    parser.add_argument(
        "--public", type=Path, metavar="FILE", help="write the public key here too, for others"
    )
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="DIR",
        help="begin a witness's empty memory with its new key, as `witness --init` would",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave a key that is there, and write its public one"
    )
    parser.set_defaults(command=_run("keygen"))


def _add_run(parts: Commands) -> None:
    parser = parts.add_parser("run", help="record what the database commits until told to stop")
    _add_key(parser)
    parser.add_argument("--witness-url", help="who signs checkpoints as well")
    parser.add_argument(
        "--witness-url-file", type=Path, help="file with it, which is read again each time"
    )
    parser.add_argument(
        "--witness-key", metavar="KEY", help="the witness's public key, or a file with it"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=_positive, default=10.0, help="between checkpoints"
    )
    _add_archive(parser, "store checkpoints where this JSON file says, beside the database's log")
    parser.add_argument(
        "--archive-seconds",
        type=_positive,
        default=60.0,
        help="between checkpoints that are stored",
    )
    add_postgres(parser)
    parser.set_defaults(command=_run("record"))


def _add_resume(parts: Commands) -> None:
    parser = parts.add_parser(
        "resume", help="go on after a lost replication slot, with an entry that says so, and end"
    )
    _add_key(parser)
    parser.add_argument("--reason", required=True, help="what happened; it is recorded")
    add_postgres(parser)
    parser.set_defaults(command=_run("resume"))


def _add_witness(parts: Commands) -> None:
    parser = parts.add_parser(
        "witness", help="sign checkpoints that extend the last one, until told to stop"
    )
    _add_key(parser)
    parser.add_argument(
        "--memory",
        type=Path,
        required=True,
        help="folder of what was signed, of this witness alone",
    )
    parser.add_argument("--init", action="store_true", help="begin with an empty memory, once")
    parser.add_argument(
        "--log-key",
        action="append",
        required=True,
        metavar="KEY",
        help="public key of a log to sign for, or a file with it; may be given again",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=port, default=0, help="port (default: a free one)")
    parser.set_defaults(command=_run("witness"))


def _add_exports(parts: Commands) -> None:
    parser = parts.add_parser(
        "exports", help="make the exports that tenants ask the edge for, until told to stop"
    )
    parser.add_argument(
        "--part-entries",
        type=_count,
        default=50_000,
        metavar="N",
        help="entries of one part's file; the next part goes on (default: 50000)",
    )
    parser.add_argument(
        "--bytes-max",
        type=_count,
        default=8 * 1024**3,
        metavar="N",
        help="of all parts of one export together (default: 8 GiB)",
    )
    parser.add_argument(
        "--keep-days", type=_count, default=7, metavar="N", help="that a file is kept"
    )
    _add_unwitnessed(parser)
    add_postgres(parser)
    parser.set_defaults(command=_run("exports"))


def _add_export(parts: Commands) -> None:
    parser = parts.add_parser(
        "export", help="write the trail, or a period of it with a proof for each entry, to a file"
    )
    parser.add_argument("--file", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--from",
        dest="from_us",
        metavar="TIME",
        type=_time,
        help="committed at or after, ISO 8601",
    )
    parser.add_argument(
        "--to", dest="to_us", metavar="TIME", type=_time, help="committed before, ISO 8601"
    )
    parser.add_argument("--tenant", help="entries of this tenant alone")
    parser.add_argument(
        "--earlier",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="checkpoints that the receiver has, to be proven from; may be given again",
    )
    _add_unwitnessed(parser)
    _add_form(parser)
    _add_state(parser)
    add_postgres(parser)
    parser.set_defaults(command=_run("export"))


def _add_prove(parts: Commands) -> None:
    parser = parts.add_parser("prove", help="prove that one entry is in the trail")
    parser.add_argument("place", type=int, help="the entry's place, from 0")
    parser.add_argument("--file", type=Path, help="write it to this file, for `audit verify`")
    _add_unwitnessed(parser)
    _add_form(parser)
    _add_state(parser)
    add_postgres(parser)
    parser.set_defaults(command=_run("prove"))


def _add_verify(parts: Commands) -> None:
    parser = parts.add_parser(
        "verify", help="find every altered, missing, added or moved entry of a file or a database"
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="*",
        help="exported file, for which nothing else is needed than keys; of an export in parts all of them, in any order",
    )
    parser.add_argument("--log-key", metavar="KEY", help="the log's public key, or a file with it")
    witness = parser.add_mutually_exclusive_group()
    witness.add_argument(
        "--witness-key", metavar="KEY", help="the witness's public key, or a file with it"
    )
    witness.add_argument(
        "--without-witness",
        action="store_true",
        help="take the word of the log's key alone, whose holder could have written all anew",
    )
    parser.add_argument(
        "--checkpoints",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="checkpoints that were kept elsewhere, such as the witness's last; may be given again",
    )
    _add_archive(parser, "hold those against it as well that lie where this JSON file says")
    parser.add_argument(
        "--wait",
        type=_positive,
        default=10.0,
        help="seconds to wait for what was committed a moment ago to be recorded",
    )
    _add_form(parser)
    _add_state(parser)
    add_postgres(parser)
    parser.set_defaults(command=_run("verify"))


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, required=True, help="file with the private key")


def _add_archive(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--archive", type=Path, metavar="FILE", help=what)


def _add_unwitnessed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-witness",
        action="store_true",
        help="up to a checkpoint that no witness has signed",
    )


def _add_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", dest="form", choices=("text", "json"), default="text", help="form of what is printed"
    )


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, help="state file of `up`, for its database and public keys"
    )


def _run(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what runs the command of this name; its imports cost other commands nothing."""

    def run(options: argparse.Namespace) -> int:
        from sentinel.reference.ledger.operate.cli import audit_commands

        code: int = getattr(audit_commands, name)(options)
        return code

    return run


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time such as 2026-11-30 or 2026-11-30T08:00:00+01:00"
        raise argparse.ArgumentTypeError(message) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text)):
        message = f"{text!r} is no number from 1 to 9999999"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        message = f"{text!r} is no number of seconds above 0, up to a day"
        raise argparse.ArgumentTypeError(message)
    return value
