"""The drill: a base backup and the archived log become a server at a point in time, which is looked over and removed.

It is what one would do in earnest, up to the moment at which clients would be let in; the live servers are not
touched. What it tells is measured, step by step.
"""

from __future__ import annotations

import asyncio
import io
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sentinel.reference.ledger.audit.verify import Keys
from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.backups import Backup
from sentinel.reference.ledger.domain.target import Target
from sentinel.reference.ledger.domain.wal import gaps, needed_from
from sentinel.reference.ledger.operate.folders import temporary_folder, unprivileged_owner
from sentinel.reference.ledger.operate.servers.cluster import DATABASE, Cluster, serve
from sentinel.reference.ledger.operate.servers.programs import find_programs, make_private
from sentinel.reference.ledger.operate.storage.backup import find_backups
from sentinel.reference.ledger.operate.storage.checks import look_over
from sentinel.reference.ledger.operate.storage.trail import verify_restored
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.s3 import Archive

_RECOVERY_TIMEOUT_S: Final = 3600.0
_PATIENT: Final = {"statement_timeout": "600000"}


@dataclass(slots=True)
class _Steps:
    """How long each step took, in seconds, in their order."""

    taken: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.taken[name] = round(time.monotonic() - began, 3)


async def drill_restore(
    archive: Archive, target: Target, keys: Keys | None = None
) -> dict[str, Any]:
    """Restore to `target` beside everything else, look the books over, and remove what was made.

    With keys the audit trail that came back is verified too, and the books are held against it.

    Returns:
        What was restored and how far (`restored_to`), the checks, the seconds of each step, `rto_s`, from the beginning to
        books that have been looked over, and `rpo_s`, what would be lost: from the last commit that came back
        to the target, or to the drill's beginning.

    Raises:
        LedgerError: no backup is old enough, segments are missing, or the target is not in the archive.
        UnavailableError: the archive does not answer, or the server did not recover in time.
    """
    began_s, steps = time.time(), _Steps()
    began = time.monotonic()
    with temporary_folder() as folder:
        with steps.step("find"):
            backup = _choose(await asyncio.to_thread(find_backups, archive), target)
        cluster = _cluster(folder)
        with steps.step("fetch_base"):
            await asyncio.to_thread(_unpack, archive, backup, cluster)
        with steps.step("fetch_log"):
            segments_count = await asyncio.to_thread(_fetch_log, archive, backup, cluster)
        child = None
        try:
            with steps.step("recover"):
                _configure(cluster, target)
                # Its address is answered once it has recovered and been promoted, not before.
                child, port = await serve(cluster, timeout_s=_RECOVERY_TIMEOUT_S, attempts_count=1)
                config = PostgresConfig(url=cluster.url(port, DATABASE))
            with steps.step("check"):
                async with postgres.session(
                    config, application_name="ledger-drill", settings=_PATIENT
                ) as session:
                    restored_to = await session.fetchrow(
                        "select extract(epoch from pg_last_xact_replay_timestamp())::float8 as time_s, "
                        "pg_last_wal_replay_lsn()::text as lsn"
                    )
                    found = await look_over(session)
            trail: dict[str, Any] | None = None
            if keys is not None:
                with steps.step("verify"):
                    trail = await verify_restored(config, keys, archive)
        except UnavailableError as error:
            if _ends_before(cluster):
                message = "the archive ends before the point that was asked for"
                raise LedgerError(message) from error
            raise
        finally:
            with steps.step("remove"):
                if child is not None:
                    await child.stop(with_signal=signal.SIGQUIT, timeout_s=10.0)
    reached_s = restored_to["time_s"] or found["newest_posted_s"]
    meant_s = target.time_s if target.time_s is not None else began_s
    return {
        "event": "drill_done",
        "drill": "restore",
        "ok": found["ok"] and (trail is None or trail["whole"]),
        "backup": backup.name,
        "target": target.settings or "latest",
        "restored_to": {"time_s": reached_s, "lsn": restored_to["lsn"]},
        "segments_count": segments_count,
        "checks": found,
        "audit": trail,
        "steps_s": steps.taken,
        "rto_s": round(time.monotonic() - began, 3),
        "rpo_s": None if reached_s is None else round(max(meant_s - reached_s, 0.0), 3),
    }


def _choose(backups: list[Backup], target: Target) -> Backup:
    """Return the newest backup that had ended before the target."""
    if target.time_s is not None:
        backups = [one for one in backups if one.ended_s <= target.time_s]
    if target.lsn is not None:
        # Its segment began the backup: the target must lie past it. PostgreSQL refuses what is still too early.
        high, low = (int(part, 16) for part in target.lsn.split("/"))
        place = f"{high:08X}{low >> 24:08X}"
        backups = [one for one in backups if one.first_segment[8:] < place]
    if not backups:
        message = "the archive holds no base backup from before the point to restore to"
        raise LedgerError(message)
    return backups[-1]


def _cluster(folder: Path) -> Cluster:
    owner = unprivileged_owner()
    make_private(folder / "restored", owner)
    return Cluster(
        programs=find_programs(folder / "restored", owner),
        data=folder / "restored" / "data",
        log=folder / "restored.log",
        password="",
        owner=owner,
        # In a folder that is its user's alone: whoever gets there may log in.
        socket=folder / "restored",
    )


def _unpack(archive: Archive, backup: Backup, cluster: Cluster) -> None:
    cluster.data.mkdir(mode=0o700)
    content = archive.get(f"base/{backup.name}/base.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        tar.extractall(cluster.data, filter="data")
    (cluster.data / "pg_wal").mkdir(mode=0o700, exist_ok=True)
    for path in (cluster.data, *cluster.data.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        cluster.own(path)


def _fetch_log(archive: Archive, backup: Backup, cluster: Cluster) -> int:
    """Fetch what recovery can need, so that the server itself needs no way to the archive."""
    folder = cluster.folder / "log"
    folder.mkdir(mode=0o700)
    cluster.own(folder)
    names = [key.rpartition("/")[2] for key in archive.keys("wal/")]
    needed = needed_from(names, backup.first_segment)
    missing = gaps(needed)
    if missing:
        message = f"the archive lacks {len(missing)} segments of the log, the first {missing[0]}"
        raise LedgerError(message)
    for name in needed:
        file = folder / name
        file.write_bytes(archive.get(f"wal/{name[:8]}/{name}"))
        file.chmod(0o600)
        cluster.own(file)
    return len(needed)


def _configure(cluster: Cluster, target: Target) -> None:
    log = cluster.folder / "log"
    cluster.configure(
        {
            "restore_command": f'cp "{log}/%f" "%p"',
            "recovery_target_action": "promote",
            "hot_standby": "off",
            # It must not store anything in the archive that it came from.
            "archive_mode": "off",
            "archive_command": "",
            "primary_conninfo": "",
            **target.settings,
        }
    )
    # What was altered on the primary, a fault for one, is none of this server's settings.
    auto = cluster.data / "postgresql.auto.conf"
    auto.write_text("", encoding="utf-8")
    (cluster.data / "recovery.signal").touch()
    cluster.own(cluster.data / "recovery.signal")
    # The passwords that came with the backup are the live servers', and nobody here need know them.
    hba = cluster.data / "pg_hba.conf"
    hba.write_text("local all all trust\n", encoding="utf-8")


def _ends_before(cluster: Cluster) -> bool:
    try:
        told = cluster.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "recovery ended before configured recovery target" in told
