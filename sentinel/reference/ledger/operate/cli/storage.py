"""`sentinel-ledger archive` and `sentinel-ledger drill`: the log and its backups on an S3 endpoint, and the way back."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.domain.target import LATEST, parse_target
from sentinel.reference.ledger.operate.cli.arguments import span
from sentinel.reference.ledger.operate.cli.servers import Commands, add_postgres, postgres_url
from sentinel.reference.ledger.wire.config import PostgresConfig

if TYPE_CHECKING:
    from sentinel.reference.ledger.audit.verify import Keys
    from sentinel.reference.ledger.wire.s3 import Archive

_WRONG: Final = 1


def add_storage_commands(commands: Commands) -> None:
    """Add `archive` and `drill` to the grammar."""
    group = commands.add_parser("archive", help="the database's log and backups on an S3 endpoint")
    kinds = group.add_subparsers(required=True, metavar="what")

    setup = kinds.add_parser("setup", help="make the bucket, its lock and its rules; again: amend")
    _add_archive(setup, _setup)

    run = kinds.add_parser("run", help="store what PostgreSQL hands over, until told to stop")
    run.add_argument("--spool", type=Path, required=True, help="folder where it is handed over")
    _add_archive(run, _run)

    wal = kinds.add_parser("wal", help="store one file of the log: an archive_command itself")
    wal.add_argument("file", type=Path, metavar="FILE", help="the file, PostgreSQL's %%p")
    _add_archive(wal, _wal)

    base = kinds.add_parser("base", help="take a base backup and store it, or one after the other")
    base.add_argument(
        "--every",
        type=span,
        metavar="SPAN",
        help="go on until told to stop, with so long from one to the next: 24h, 1d",
    )
    base.add_argument(
        "--prune", action="store_true", help="after each, remove what `archive prune` would"
    )
    add_postgres(base)
    _add_archive(base, _base)

    prune = kinds.add_parser(
        "prune",
        help="remove backups and log that no point of the last keep_days needs; never the last good ones",
    )
    _add_archive(prune, _prune)

    listing = kinds.add_parser(
        "list", help="what the bucket's lock and rules are, and the backups"
    )
    _add_archive(listing, _list)

    drills = commands.add_parser("drill", help="practise what must work on the worst day")
    kinds = drills.add_subparsers(required=True, metavar="what")
    restore = kinds.add_parser(
        "restore", help="restore beside everything else, look the books over, remove it again"
    )
    restore.add_argument(
        "--to",
        default=LATEST,
        help="`latest` (default), a time with its zone, or a place in the log such as 0/3000148",
    )
    restore.add_argument(
        "--log-key",
        metavar="KEY",
        help="the audit log's public key, or a file with it: verifies the trail that came back",
    )
    restore.add_argument(
        "--witness-key", metavar="KEY", help="the witness's public key, or a file with it"
    )
    _add_archive(restore, _restore)


def _add_archive(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]
) -> None:
    parser.add_argument(
        "--archive",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON file that says where the archive is; its keys are in the environment or in the file it names",
    )
    parser.set_defaults(command=command)


def _archive(options: argparse.Namespace) -> Archive:
    # Late: nobody else needs the library, which takes its time to import.
    from sentinel.reference.ledger.wire.s3 import Archive, read_archive

    return Archive(read_archive(options.archive))


def _setup(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import say

    say({"event": "archive_ready", **_archive(options).set_up()})
    return 0


def _list(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import say
    from sentinel.reference.ledger.operate.storage.backup import find_backups

    archive = _archive(options)
    say(
        {
            "event": "archive",
            **archive.told(),
            "expiring": archive.expiring(),
            "segments_count": len(archive.keys("wal/")),
            "backups": [asdict(one) for one in find_backups(archive)],
        }
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.storage.handing import keep_storing

    if not options.spool.is_dir():
        message = f"{options.spool} is no folder"
        raise UsageError(message)
    asyncio.run(keep_storing(_archive(options), options.spool))
    return 0


def _wal(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.storage.handing import store_one

    store_one(_archive(options), options.file)
    return 0


def _base(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import say
    from sentinel.reference.ledger.operate.storage.backup import take_backup
    from sentinel.reference.ledger.operate.storage.schedule import ScheduleConfig, keep_backing_up

    url = postgres_url(options)
    if url is None:
        message = "give the address of PostgreSQL; see --help"
        raise UsageError(message)
    archive, postgres = _archive(options), PostgresConfig(url=url)
    if options.every is not None:
        config = ScheduleConfig(every_s=options.every.total_seconds(), prunes=options.prune)
        asyncio.run(keep_backing_up(config, archive, postgres))
        return 0
    backup = asyncio.run(take_backup(archive, postgres))
    say({"event": "backup_done", **asdict(backup)})
    return _prune(options) if options.prune else 0


def _prune(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import say
    from sentinel.reference.ledger.operate.storage.backup import prune

    gone = prune(_archive(options), now_s=time.time())
    say({"event": "pruned", "objects_count": len(gone)})
    return 0


def _restore(options: argparse.Namespace) -> int:
    from sentinel.reference.ledger.operate.single import say
    from sentinel.reference.ledger.operate.storage.restore import drill_restore

    target = parse_target(options.to)
    keys = _keys(options.log_key, options.witness_key)
    found = asyncio.run(drill_restore(_archive(options), target, keys))
    say(found)
    return 0 if found["ok"] else _WRONG


def _keys(log: str | None, witness: str | None) -> Keys | None:
    from sentinel.reference.ledger.audit.keys import read_public_key
    from sentinel.reference.ledger.audit.verify import Keys
    from sentinel.reference.ledger.domain.audit.note import LOG_KIND, WITNESS_KIND

    if log is None:
        if witness is not None:
            message = "--witness-key needs --log-key"
            raise UsageError(message)
        return None
    return Keys(
        log=read_public_key(log, kind=LOG_KIND),
        witness=None if witness is None else read_public_key(witness, kind=WITNESS_KIND),
    )
