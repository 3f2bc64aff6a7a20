"""One PostgreSQL server over a data folder: its settings, its start, its answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.children import Child, Owner, start_child
from sentinel.reference.ledger.operate.servers.programs import (
    START_TIMEOUT_S,
    check_alive,
    free_port,
)
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig

USER: Final = "ledger"
DATABASE: Final = "ledger"
_START_ATTEMPTS_COUNT: Final = 3
_SETTINGS_FILE: Final = "ledger.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where one server's files are, and who it runs as.

    Attributes:
        programs: the folder of PostgreSQL's programs.
        data: its data folder.
        log: the file its own words go to.
        password: of the user `ledger`, who owns the cluster.
        owner: the user to run as; None: this process' own.
        socket: a folder for its socket, in place of an address that everybody on the machine can reach.
        on_disk: whether its files must outlive the machine's loss of power from their first moment on.
    """

    programs: Path
    data: Path
    log: Path
    password: str
    owner: Owner | None
    socket: Path | None = None
    on_disk: bool = False

    def url(self, port: int, database: str) -> str:
        """Return a database's address for the cluster's user."""
        if self.socket is not None:
            return f"postgresql://{USER}@/{database}?host={self.socket}&port={port}"
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{port}/{database}"

    @property
    def folder(self) -> Path:
        """Where what else it needs is kept, such as a password for another server."""
        return self.data.parent

    @property
    def exists(self) -> bool:
        """Whether the data folder holds a cluster."""
        return (self.data / "PG_VERSION").exists()

    def own(self, path: Path) -> None:
        """Give a file to the user the server runs as."""
        if self.owner is not None:
            os.chown(path, self.owner.uid, self.owner.gid)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write the settings of this run, which a later `alter system` can still override.

        They come after the ones of the cluster's making, and each start writes them anew.
        """
        lines = []
        for name, value in settings.items():
            quoted = value.replace("'", "''")
            lines.append(f"{name} = '{quoted}'\n")
        file = self.data / _SETTINGS_FILE
        write_private(file, "".join(lines).encode())
        self.own(file)
        main = self.data / "postgresql.conf"
        include = f"include_if_exists = '{_SETTINGS_FILE}'\n"
        if include not in main.read_text(encoding="utf-8"):
            with main.open("a", encoding="utf-8") as config:
                config.write(include)


async def serve(
    cluster: Cluster,
    *,
    port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
    attempts_count: int = _START_ATTEMPTS_COUNT,
) -> tuple[Child, int]:
    """Start the server and wait for its answer; returns it and its port.

    PostgreSQL cannot choose a port itself. Between our choice and its bind somebody else may take
    it; then it exits and another is tried. A `port` that is given is the one that clients know.

    Raises:
        UnavailableError: it did not answer within `timeout_s`.
    """
    while True:
        chosen = port or free_port()
        child = await _run_server(cluster, chosen)
        try:
            config = PostgresConfig(url=cluster.url(chosen, "postgres"))
            await _await_answer(child, config, cluster.log, timeout_s)
        except BaseException as error:
            await child.stop(with_signal=signal.SIGQUIT, timeout_s=3.0)
            attempts_count -= 1
            if not isinstance(error, UnavailableError) or attempts_count <= 0:
                raise
        else:
            return child, chosen


async def _run_server(cluster: Cluster, port: int) -> Child:
    settings = {
        "listen_addresses": "127.0.0.1" if cluster.socket is None else "",
        "port": str(port),
        "unix_socket_directories": str(cluster.socket or ""),
        "max_connections": "60",
        # What the audit reads; a folder of a ledger before it takes it up as well.
        "wal_level": "logical",
        "shared_buffers": "64MB",
        # What clients do wrong they are told; the log is for the server's own trouble.
        "log_min_messages": "fatal",
    }
    return await start_child(
        "postgres",
        [
            cluster.programs / "postgres",
            "-D",
            cluster.data,
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        # SIGQUIT stops the server and its workers at once; recovery is what its log is for.
        on_parent_death=signal.SIGQUIT,
        owner=cluster.owner,
        log=cluster.log,
        cwd=cluster.folder,
    )


async def _await_answer(child: Child, config: PostgresConfig, log: Path, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                with suppress(UnavailableError):
                    async with postgres.session(config, application_name="ledger-up") as session:
                        await session.fetchval("select 1")
                    return
                await check_alive(child, log)
    except TimeoutError as error:
        message = f"postgres did not answer within {timeout_s:g} s"
        raise UnavailableError(message) from error
