"""Base backups in the archive: a copy of the whole cluster, from which the log goes on."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import orjson

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.backups import Backup, unneeded
from sentinel.reference.ledger.domain.wal import is_segment
from sentinel.reference.ledger.operate.servers.programs import find_programs, run_to_end
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.operate.storage.daemon import in_daemon
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.s3 import Archive

_TIMEOUT_S: Final = 3600.0
_FILES: Final = ("base.tar.gz", "backup_manifest")
_DONE: Final = "backup.json"


async def take_backup(archive: Archive, config: PostgresConfig) -> Backup:
    """Copy the cluster of `config` into the archive, by a user who may replicate.

    Raises:
        UnavailableError: server or archive does not answer in time.
        PermanentError: the archive refuses.
    """
    with tempfile.TemporaryDirectory(prefix="sentinel-ledger-base-") as scratch:
        folder = Path(scratch)
        begun_s, first = await _now(config)
        parts = urlsplit(config.url)
        passfile = folder / "pgpass"
        password = unquote(parts.password or "").replace("\\", "\\\\").replace(":", "\\:")
        write_private(passfile, f"*:*:*:*:{password}\n".encode())
        where = (
            f"host={parts.hostname} port={parts.port or 5432} user={unquote(parts.username or '')}"
        )
        await run_to_end(
            [
                find_programs(folder / "programs", None) / "pg_basebackup",
                *("-d", f"{where} passfile='{passfile}' connect_timeout=5"),
                *("-D", folder / "base", "--format", "tar", "--gzip", "--wal-method", "none"),
                *("--checkpoint", "fast", "--no-sync", "--no-password"),
            ],
            owner=None,
            log=folder / "log",
            cwd=folder,
            timeout_s=_TIMEOUT_S,
        )
        ended_s, last = await _ended(config)
        backup = Backup(
            name=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ended_s)) + f"-{first}",
            begun_s=begun_s,
            ended_s=ended_s,
            first_segment=first,
            last_segment=last,
        )
        for name in _FILES:
            key = f"base/{backup.name}/{name}"
            # Many gigabytes: whoever stops in the middle does not wait for the rest.
            await in_daemon(partial(archive.put_file, key, folder / "base" / name))
    # What the backup needs to be whole is in the segment that is being written: it is archived now.
    async with postgres.session(config, application_name="ledger-backup") as session:
        await session.fetchval("select pg_switch_wal()")
    await asyncio.to_thread(
        archive.put, f"base/{backup.name}/{_DONE}", orjson.dumps(asdict(backup))
    )
    return backup


def find_backups(archive: Archive) -> list[Backup]:
    """Return the backups that are whole, the oldest first.

    Raises:
        LedgerError: what the archive holds describes no backup.
        UnavailableError: it does not answer.
    """
    found = []
    for key in archive.keys("base/"):
        if key.endswith(f"/{_DONE}"):
            try:
                backup = Backup(**orjson.loads(archive.get(key)))
            except (orjson.JSONDecodeError, TypeError) as error:
                message = f"{key} in the archive describes no backup"
                raise LedgerError(message) from error
            if not is_segment(backup.first_segment) or not (
                backup.last_segment == "" or is_segment(backup.last_segment)
            ):
                message = f"{key} in the archive names no segment"
                raise LedgerError(message)
            found.append(backup)
    return sorted(found, key=lambda one: one.ended_s)


def prune(archive: Archive, *, now_s: float) -> list[str]:
    """Remove what no point of the last `keep_days` needs, and return the keys; nothing before there is a newer good backup.

    Raises:
        LedgerError: what the archive holds describes no backup.
        PermanentError: the credentials may not remove.
        UnavailableError: it does not answer.
    """
    keys = [*archive.keys("base/"), *archive.keys("wal/")]
    gone = unneeded(find_backups(archive), keys, before_s=now_s - archive.keep_s)
    # The description goes first: without it nobody takes the rest for a backup.
    gone.sort(key=lambda key: not key.endswith(f"/{_DONE}"))
    archive.remove(gone)
    return gone


async def _ended(config: PostgresConfig) -> tuple[float, str]:
    # Of the last byte: at the edge of a segment, versions differ in which one they name.
    async with postgres.session(config, application_name="ledger-backup") as session:
        row = await session.fetchrow(
            "select extract(epoch from clock_timestamp())::float8 as now, "
            "pg_walfile_name(pg_current_wal_lsn() - 1::numeric) as segment"
        )
    return float(row["now"]), str(row["segment"])


async def _now(config: PostgresConfig) -> tuple[float, str]:
    async with postgres.session(config, application_name="ledger-backup") as session:
        row = await session.fetchrow(
            "select extract(epoch from clock_timestamp())::float8 as now, "
            "pg_walfile_name(redo_lsn) as segment from pg_control_checkpoint()"
        )
    return float(row["now"]), str(row["segment"])
