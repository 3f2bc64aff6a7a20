"""The primary: PostgreSQL from its wheel, made when there is none."""

from __future__ import annotations

import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain.durability import DATABASE_SETTINGS, Durability
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.folders import unprivileged_owner
from sentinel.reference.ledger.operate.servers.cluster import DATABASE, USER, Cluster, serve
from sentinel.reference.ledger.operate.servers.programs import (
    find_programs,
    make_private,
    run_to_end,
)
from sentinel.reference.ledger.operate.servers.spool import make_spool
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig

_SYNC_TIMEOUT_S: Final = 120.0
_SETTINGS: Final = {
    # The place where a log would be archived to; without it none could ever fail.
    "archive_mode": "on",
    "archive_command": "/bin/true",
    # Replica or audit that is away costs a gigabyte of disk, and then itself: a copy anew, a gap.
    "max_slot_wal_keep_size": "1GB",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running PostgreSQL server; its URL holds the password, so it is handed on as a file."""

    child: Child
    cluster: Cluster
    url_file: Path

    async def stop(self, *, timeout_s: float) -> None:
        """Stop the server without waiting for its clients."""
        await self.child.stop(with_signal=signal.SIGINT, timeout_s=timeout_s)


async def start_postgres(
    folder: Path, *, spool: bool = False, durability: Durability = Durability.PROCESS
) -> PostgresServer:
    """Start PostgreSQL in `folder`, making the cluster and its database when there is none.

    Args:
        folder: its own folder.
        spool: whether it hands its log over in the folder `archive` beside its own.
        durability: with `machine` its files are on the disk before it starts, and each commit before it is answered.

    Raises:
        UnavailableError: it did not start in time.
        LedgerError: the wheel is not installed, or the user it must run as cannot reach `folder`.
    """
    owner = unprivileged_owner()
    make_private(folder, owner)
    data = folder / "data"
    password, fresh = _password(folder.parent / "postgres.password", data)
    cluster = Cluster(
        programs=find_programs(folder, owner),
        data=data,
        log=folder.parent / "postgres.log",
        password=password,
        owner=owner,
        on_disk=durability is Durability.MACHINE,
    )
    if fresh:
        await _init(cluster)
    if cluster.on_disk:
        # Also of a cluster that a run made which did not ask for it.
        await run_to_end(
            [cluster.programs / "initdb", "--sync-only", "-D", cluster.data],
            owner=cluster.owner,
            log=cluster.log,
            cwd=cluster.folder,
            timeout_s=_SYNC_TIMEOUT_S,
        )
    settings = dict(_SETTINGS)
    if cluster.on_disk:
        settings |= dict.fromkeys(DATABASE_SETTINGS, "on")
    if spool:
        settings["archive_command"] = make_spool(folder.with_name("archive"), owner)
        settings["archive_timeout"] = "60s"
    cluster.configure(settings)
    child, port = await serve(cluster)
    if fresh:
        async with postgres.session(
            PostgresConfig(url=cluster.url(port, "postgres")),
            application_name="ledger-up",
            settings={"statement_timeout": "10000"},
        ) as connection:
            await connection.execute(f"create database {DATABASE}")
    url_file = folder.parent / "postgres.url"
    write_private(url_file, cluster.url(port, DATABASE).encode())
    return PostgresServer(child=child, cluster=cluster, url_file=url_file)


async def _init(cluster: Cluster) -> None:
    pwfile = cluster.folder / "pwfile"
    write_private(pwfile, cluster.password.encode())
    cluster.own(pwfile)
    try:
        await run_to_end(
            [
                cluster.programs / "initdb",
                *("-D", cluster.data, "-U", USER, "--pwfile", pwfile),
                *("--auth-host", "scram-sha-256", "--auth-local", "reject"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            owner=cluster.owner,
            log=cluster.log,
            cwd=cluster.folder,
        )
    finally:
        pwfile.unlink(missing_ok=True)


def _password(file: Path, data: Path) -> tuple[str, bool]:
    """Return the cluster's password and whether the cluster is still to be made."""
    if (data / "PG_VERSION").exists():
        return file.read_text(encoding="utf-8"), False
    password = secrets.token_urlsafe(24)
    write_private(file, password.encode())
    return password, True
