"""A streaming replica of the primary, for reads: copied once, then fed from the primary's log.

It comes in by a role that may replicate and nothing else, and holds a slot on the primary, so that the
log it has not read is kept for it, up to the primary's `max_slot_wal_keep_size`. A replica whose slot is
lost can never catch up: it is thrown away and copied anew.
"""

from __future__ import annotations

import secrets
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.servers.cluster import DATABASE, Cluster, serve
from sentinel.reference.ledger.operate.servers.postgres import PostgresServer
from sentinel.reference.ledger.operate.servers.programs import make_private, run_to_end
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url
from sentinel.reference.ledger.wire.roles import REPLICATION_ROLE, let_in_replication

SLOT: Final = "ledger_replica"
_COPY_TIMEOUT_S: Final = 300.0
# It answers when it has replayed what was written while it was copied.
_CATCH_UP_TIMEOUT_S: Final = 90.0
_SETTINGS: Final = {
    "hot_standby": "on",
    "primary_slot_name": SLOT,
    # What the primary has cleared away is cleared away here within a second, whoever reads it: the
    # reader asks the primary then. With feedback instead, a replica that is away or read for long
    # would have the primary keep every version of its hottest rows.
    "hot_standby_feedback": "off",
    "max_standby_streaming_delay": "1s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
    # Its log is the primary's, which archives it.
    "archive_mode": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaServer:
    """A running replica; the URL is that of the primary's own user."""

    child: Child
    url_file: Path

    @property
    def port(self) -> int:
        """The port it listens on, to be kept when it is started again."""
        return urlsplit(read_url(self.url_file)).port or 0

    async def stop(self, *, timeout_s: float) -> None:
        """Stop the replica without waiting for its clients."""
        await self.child.stop(with_signal=signal.SIGINT, timeout_s=timeout_s)


async def start_replica(
    folder: Path, primary: PostgresServer, *, port: int | None = None
) -> ReplicaServer:
    """Start a replica in `folder`, copying the primary when there is none that can catch up.

    Args:
        folder: its own folder, beside the primary's.
        primary: the server it follows.
        port: the port it had before, for clients that know it.

    Raises:
        UnavailableError: it could not be copied or did not start in time.
    """
    cluster = replace(
        primary.cluster, data=folder / "data", log=folder.parent / "postgres-replica.log"
    )
    make_private(folder, cluster.owner)
    passfile = await _enter(cluster, primary)
    admin = PostgresConfig(url=read_url(primary.url_file))
    if not (cluster.exists and await _can_catch_up(admin)):
        await _copy(cluster, admin, passfile)
    where = _conninfo(admin, passfile)
    cluster.configure({**_SETTINGS, "primary_conninfo": where})
    (cluster.data / "standby.signal").touch()
    cluster.own(cluster.data / "standby.signal")
    child, found = await serve(cluster, port=port, timeout_s=_CATCH_UP_TIMEOUT_S)
    url_file = folder.parent / "replica.url"
    write_private(url_file, cluster.url(found, DATABASE).encode())
    return ReplicaServer(child=child, url_file=url_file)


async def _enter(cluster: Cluster, primary: PostgresServer) -> Path:
    """Give the replica its own way into the primary; returns the file with the password.

    A program's arguments can be read by everybody on the machine, so it is told a file.
    """
    admin = PostgresConfig(url=read_url(primary.url_file))
    password = secrets.token_urlsafe(24)
    await let_in_replication(admin, password)
    passfile = cluster.folder / "primary.pgpass"
    write_private(passfile, f"127.0.0.1:*:*:{REPLICATION_ROLE}:{password}\n".encode())
    cluster.own(passfile)
    return passfile


async def _can_catch_up(admin: PostgresConfig) -> bool:
    """Say whether the primary still has what a replica that was there before has not read."""
    async with postgres.session(admin, application_name="ledger-up") as session:
        status = await session.fetchval(
            "select wal_status from pg_replication_slots where slot_name = $1", SLOT
        )
    return status is not None and status != "lost"


async def _copy(cluster: Cluster, admin: PostgresConfig, passfile: Path) -> None:
    """Copy the primary, with a slot that keeps from the first moment on what the copy will need."""
    shutil.rmtree(cluster.data, ignore_errors=True)
    async with postgres.session(admin, application_name="ledger-up") as session:
        await session.fetch(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
            SLOT,
        )
    try:
        await run_to_end(
            [
                cluster.programs / "pg_basebackup",
                *("-d", _conninfo(admin, passfile), "-D", cluster.data),
                *("--wal-method", "stream", "--slot", SLOT, "--create-slot"),
                *("--checkpoint", "fast", "--no-password"),
                *(() if cluster.on_disk else ("--no-sync",)),
            ],
            owner=cluster.owner,
            log=cluster.log,
            cwd=cluster.folder,
            timeout_s=_COPY_TIMEOUT_S,
        )
    except UnavailableError:
        # Half a copy must not be taken for a whole one by the next attempt.
        shutil.rmtree(cluster.data, ignore_errors=True)
        raise


def _conninfo(admin: PostgresConfig, passfile: Path) -> str:
    port = urlsplit(admin.url).port
    return (
        f"host=127.0.0.1 port={port} user={REPLICATION_ROLE} passfile='{passfile}' "
        "application_name=ledger_replica connect_timeout=5"
    )
