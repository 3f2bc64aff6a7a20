"""Base backups in the archive: a copy of the whole cluster, from which the log goes on."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import orjson

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.wal import is_segment
from sentinel.reference.ledger.operate.servers.programs import find_programs, run_to_end
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.s3 import Archive

_TIMEOUT_S: Final = 3600.0
_FILES: Final = ("base.tar.gz", "backup_manifest")
_DONE: Final = "backup.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One base backup; it counts only once its description is stored, which is last.

    Attributes:
        name: its folder below `base/`.
        begun_s: Unix seconds by the database's clock before it began.
        ended_s: likewise, after it had ended: no point before this can be restored from it.
        first_segment: the segment of the log that recovery begins with.
    """

    name: str
    begun_s: float
    ended_s: float
    first_segment: str


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
        ended_s, _ = await _now(config)
        backup = Backup(
            name=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ended_s)) + f"-{first}",
            begun_s=begun_s,
            ended_s=ended_s,
            first_segment=first,
        )
        for name in _FILES:
            content = await asyncio.to_thread((folder / "base" / name).read_bytes)
            await asyncio.to_thread(archive.put, f"base/{backup.name}/{name}", content)
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
            if not is_segment(backup.first_segment):
                message = f"{key} in the archive names no segment"
                raise LedgerError(message)
            found.append(backup)
    return sorted(found, key=lambda one: one.ended_s)


async def _now(config: PostgresConfig) -> tuple[float, str]:
    async with postgres.session(config, application_name="ledger-backup") as session:
        row = await session.fetchrow(
            "select extract(epoch from clock_timestamp())::float8 as now, "
            "pg_walfile_name(redo_lsn) as segment from pg_control_checkpoint()"
        )
    return float(row["now"]), str(row["segment"])
