"""`sentinel-ledger up`: servers and the ledger's processes as children of one that stops them all.

A server that dies takes the run down: nothing sensible can follow. A process that dies is started
again with back-off, on the port it had, as an orchestrator would; so is the replica, which reads can do without.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.tenant import Opening, Tier
from sentinel.reference.ledger.operate.authorizing import accounts_for
from sentinel.reference.ledger.operate.children import Child, start_child
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.receiver import CONTROL_FILE
from sentinel.reference.ledger.operate.servers import (
    SPOOL,
    PostgresServer,
    start_nats,
    start_postgres,
    start_replica,
)
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.operate.state import RunState, write_private, write_state
from sentinel.reference.ledger.operate.up_audit import AuditFolders, begin, why_not
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url
from sentinel.reference.ledger.wire.roles import Role, role_url
from sentinel.reference.ledger.wire.webhook_secrets import make_key_files

_REPLICA: Final = "replica"
_ARCHIVE: Final = "archive"
# Not of the standard tier: whoever tries the ledger tries more than a hundred requests a second.
DEMO_TENANTS: Final = (Opening(name="demo", tier=Tier.ENTERPRISE),)

_READY_TIMEOUT_S: Final = 20.0
# Together below the ten seconds that whoever stops this process will wait.
_ROLE_STOP_S: Final = 3.5
_RECORDING_STOP_S: Final = 2.0
_SERVER_STOP_S: Final = 2.0
_RESTART_FIRST_S: Final = 0.5
_RESTART_MAX_S: Final = 10.0
_STEADY_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpConfig:
    """What to start and where; a server whose URL is given is used, not started."""

    folder: Path | None = None
    state_file: Path | None = None
    nats_url: str | None = None
    nats_monitor_url: str | None = None
    postgres_url: str | None = None
    replica_url: str | None = None
    replica: bool = True
    archive_file: Path | None = None
    tenants: tuple[Opening, ...] = DEMO_TENANTS
    port: int = 0
    tokens_only: bool = False
    receiver: bool = False


@dataclass(slots=True)
class _Run:
    """Addresses and children of the run."""

    folder: Path
    state_file: Path | None
    nats_url: str = ""
    nats_monitor_url: str = ""
    postgres_url_file: Path = Path()
    postgres: PostgresServer | None = None
    replica_url_file: Path | None = None
    replica_port: int | None = None
    archive_file: Path | None = None
    role_url_files: dict[str, Path] = field(default_factory=dict)
    edge_url: str = ""
    edge_port: int = 0
    tokens_only: bool = False
    issuer_url: str = ""
    issuer_port: int = 0
    # Of a receiver of webhooks, when there is one: whose it is, and its port once it has one.
    receiver_tenant: str | None = None
    receiver_port: int = 0
    witness_port: int = 0
    # Why nothing is recorded; empty where it is.
    audit_off: str = ""
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def accounts_file(self) -> Path:
        return self.folder / "accounts.json"

    @property
    def burst_file(self) -> Path:
        return self.folder / "burst.json"

    @property
    def audit(self) -> AuditFolders:
        return AuditFolders.below(self.folder)

    @property
    def processes(self) -> dict[str, _Process]:
        left_out = {
            *(_RECORDING if self.audit_off else ()),
            *(() if self.receiver_tenant else (_RECEIVER,)),
            *(() if self.archive_file else (_ARCHIVE,)),
        }
        return {name: one for name, one in _PROCESSES.items() if name not in left_out}

    @property
    def state(self) -> RunState:
        return RunState(
            edge_url=self.edge_url,
            nats_url=self.nats_url,
            nats_monitor_url=self.nats_monitor_url,
            postgres_url_file=str(self.postgres_url_file),
            replica_url_file=str(self.replica_url_file or ""),
            burst_file=str(self.burst_file),
            pids={name: child.pid for name, child in self.children.items()},
            issuer_url=self.issuer_url,
            accounts_file=str(self.accounts_file),
            audit_folder="" if self.audit_off else str(self.audit.audit),
        )

    def publish_state(self) -> None:
        if self.state_file is not None:
            write_state(self.state_file, self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """One of the ledger's processes: its command, with its own way into the database.

    Attributes:
        role: what it logs in as; None for one that does not use the database.
        command: its words; empty for the one of its name.
        queued: whether it is told where NATS is.
        arguments: what it is told besides where the servers are.
        on_ready: what is noted of its ready line.
    """

    role: Role | None
    command: tuple[str, ...] = ()
    queued: bool = True
    arguments: Callable[[_Run], list[str | Path]] = lambda _: []
    on_ready: Callable[[_Run, dict[str, Any]], None] = lambda _run, _ready: None


def _edge_arguments(run: _Run) -> list[str | Path]:
    told: list[str | Path] = [
        *("--port", str(run.edge_port)),
        *("--burst-file", run.burst_file),
        *("--issuer", run.issuer_url),
        *(() if run.tokens_only else ("--insecure-tenant-header",)),
        *("--webhooks-key-file", run.folder / "webhooks.pub"),
        *("--webhooks-postgres-url-file", run.role_url_files[_REGISTER]),
        *_loopback(run),
    ]
    if run.replica_url_file is not None:
        told += ["--replica-url-file", _own_replica(run, "edge", run.replica_url_file)]
    return told


def _own_replica(run: _Run, name: str, given: Path) -> Path:
    """Write the replica's address with the process's own role, which came to it with everything else.

    Beside a primary that was given, the URL that was given is used, as there.
    """
    replica = urlsplit(read_url(given))
    if run.postgres is not None:
        who = urlsplit(read_url(run.role_url_files[name])).netloc.rpartition("@")[0]
        where = replica.netloc.rpartition("@")[2]
        replica = replica._replace(netloc=f"{who}@{where}")
    file = run.folder / f"{name}.replica.url"
    write_private(file, urlunsplit(replica).encode())
    return file


def _webhooks_arguments(run: _Run) -> list[str | Path]:
    return ["--key-file", run.folder / "webhooks.key", *_loopback(run)]


def _loopback(run: _Run) -> list[str | Path]:
    return [] if run.receiver_tenant is None else ["--webhooks-loopback-http"]


def _receiver_arguments(run: _Run) -> list[str | Path]:
    return [
        *("--url", run.edge_url, "--tenant", run.receiver_tenant or ""),
        *("--port", str(run.receiver_port), "--control-file", run.folder / CONTROL_FILE),
        *("--issuer", run.issuer_url, "--accounts-file", run.accounts_file),
    ]


def _receiver_is_ready(run: _Run, ready: dict[str, Any]) -> None:
    run.receiver_port = int(str(ready["url"]).rstrip("/").rpartition(":")[2])


def _edge_is_ready(run: _Run, ready: dict[str, Any]) -> None:
    run.edge_url = str(ready["url"])
    run.edge_port = int(run.edge_url.rpartition(":")[2])


def _reconcile_arguments(run: _Run) -> list[str | Path]:
    told: list[str | Path] = ["--every", "15"]
    if run.replica_url_file is not None:
        told += ["--replica-url-file", _own_replica(run, "reconcile", run.replica_url_file)]
    return told


def _authorize_arguments(run: _Run) -> list[str | Path]:
    return ["--accounts", run.accounts_file, "--port", str(run.issuer_port)]


def _authorize_is_ready(run: _Run, ready: dict[str, Any]) -> None:
    run.issuer_url = str(ready["url"])
    # The same again when it is started anew: tokens name it.
    run.issuer_port = int(run.issuer_url.rpartition(":")[2])


def _audit_arguments(run: _Run) -> list[str | Path]:
    audit = run.audit
    return [
        *("--key", audit.log_key, "--witness-url-file", audit.witness_url),
        *("--witness-key", audit.witness_public_key),
    ]


def _archive_arguments(run: _Run) -> list[str | Path]:
    assert run.archive_file is not None
    return ["--archive", run.archive_file, "--spool", run.folder / "archive" / SPOOL]


def _witness_arguments(run: _Run) -> list[str | Path]:
    audit = run.audit
    return [
        *("--key", audit.witness_key, "--memory", audit.memory),
        *("--log-key", audit.log_public_key, "--port", str(run.witness_port)),
    ]


def _witness_is_ready(run: _Run, ready: dict[str, Any]) -> None:
    url = str(ready["url"])
    run.witness_port = int(url.rpartition(":")[2])
    write_private(run.audit.witness_url, url.encode())


_PROCESSES: Final = {
    "authorize": _Process(
        role=None,
        queued=False,
        arguments=_authorize_arguments,
        on_ready=_authorize_is_ready,
    ),
    "poster": _Process(role=Role.POSTER),
    "edge": _Process(role=Role.READER, arguments=_edge_arguments, on_ready=_edge_is_ready),
    "webhooks": _Process(role=Role.WEBHOOKS, arguments=_webhooks_arguments),
    "disburse": _Process(role=Role.DISBURSER, arguments=lambda _: ["--simulated-rail"]),
    "audit": _Process(
        role=Role.AUDIT, command=("audit", "run"), queued=False, arguments=_audit_arguments
    ),
    "witness": _Process(
        role=None,
        command=("audit", "witness"),
        queued=False,
        arguments=_witness_arguments,
        on_ready=_witness_is_ready,
    ),
    "analytics": _Process(role=Role.ANALYTICS),
    "reconcile": _Process(role=Role.RECONCILE, arguments=_reconcile_arguments),
    "receiver": _Process(
        role=None, queued=False, arguments=_receiver_arguments, on_ready=_receiver_is_ready
    ),
    _ARCHIVE: _Process(
        role=None, command=("archive", "run"), queued=False, arguments=_archive_arguments
    ),
}
# After all others, when it is asked for: it registers with the edge.
_RECEIVER: Final = "receiver"
# What the edge keeps endpoints of webhooks as, beside what it reads as.
_REGISTER: Final = "edge-endpoints"
# In the order in which they end, after all others: what those have done is recorded, and signed.
_RECORDING: Final = ("audit", "witness")


async def run_up(config: UpConfig) -> int:
    """Start everything, report readiness on stdout, and stop everything on SIGTERM or SIGINT.

    Returns:
        0 when it was told to stop, 1 when a server died.

    Raises:
        LedgerError: something could not be started; what was started has been stopped.
    """
    stop = stop_on_signals()
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = _folder(config, stack)
        run = _Run(
            folder=folder,
            state_file=config.state_file,
            edge_port=config.port,
            tokens_only=config.tokens_only,
        )
        if config.receiver:
            run.receiver_tenant = config.tenants[0].name
        starting = asyncio.create_task(_start(run, config, stack), name="up-start")
        stopping = asyncio.create_task(stop.wait(), name="up-stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return 0
        stopping.cancel()
        starting.result()
        if run.state_file is not None:
            stack.callback(run.state_file.unlink, missing_ok=True)
        run.publish_state()
        say({"event": "ready", **asdict(run.state), "start_s": round(time.monotonic() - began, 2)})
        if run.audit_off:
            say({"event": "audit_off", "reason": run.audit_off})
        return await _supervise(run, stop)


def _folder(config: UpConfig, stack: AsyncExitStack) -> Path:
    if config.folder is not None:
        config.folder.mkdir(parents=True, exist_ok=True)
        return config.folder.resolve()
    return stack.enter_context(temporary_folder())


async def _start(run: _Run, config: UpConfig, stack: AsyncExitStack) -> None:
    """Start servers, then processes; how to stop each is put on the stack before it is started."""
    await asyncio.gather(_provide_nats(run, config, stack), _provide_postgres(run, config, stack))
    await asyncio.gather(_prepare(run, config), _provide_replica(run, config, stack))
    stack.push_async_callback(_stop_roles, run)
    # The edge is told where it is.
    await _start_role(run, "authorize")
    others = [name for name in run.processes if name not in ("authorize", _RECEIVER)]
    await asyncio.gather(*(_start_role(run, name) for name in others))
    if _RECEIVER in run.processes:
        await _start_role(run, _RECEIVER)


async def _provide_nats(run: _Run, config: UpConfig, stack: AsyncExitStack) -> None:
    if config.nats_url is not None:
        run.nats_url, run.nats_monitor_url = config.nats_url, config.nats_monitor_url or ""
        return
    server = await start_nats(run.folder / "nats")
    stack.push_async_callback(server.stop, timeout_s=_SERVER_STOP_S)
    run.children["nats"] = server.child
    run.nats_url, run.nats_monitor_url = server.url, server.monitor_url


async def _provide_postgres(run: _Run, config: UpConfig, stack: AsyncExitStack) -> None:
    if config.postgres_url is not None:
        run.postgres_url_file = run.folder / "postgres.url"
        write_private(run.postgres_url_file, config.postgres_url.encode())
        return
    run.archive_file = config.archive_file
    # It ends after PostgreSQL, which hands over what it can before it ends.
    stack.push_async_callback(_stop_role, run, _ARCHIVE, _SERVER_STOP_S)
    server = await start_postgres(run.folder / "postgres", spool=config.archive_file is not None)
    stack.push_async_callback(server.stop, timeout_s=_SERVER_STOP_S)
    run.children["postgres"] = server.child
    run.postgres_url_file = server.url_file
    run.postgres = server


async def _provide_replica(run: _Run, config: UpConfig, stack: AsyncExitStack) -> None:
    """Start a replica of the server that was started, or use the one that was given."""
    if config.replica_url is not None:
        run.replica_url_file = run.folder / "replica.url"
        write_private(run.replica_url_file, config.replica_url.encode())
    elif config.replica and run.postgres is not None:
        stack.push_async_callback(_stop_role, run, _REPLICA, _SERVER_STOP_S)
        await _start_replica(run, run.postgres)


async def _start_replica(run: _Run, primary: PostgresServer) -> None:
    server = await start_replica(run.folder / "replica", primary, port=run.replica_port)
    run.children[_REPLICA] = server.child
    run.replica_url_file = server.url_file
    run.replica_port = server.port


async def _prepare(run: _Run, config: UpConfig) -> None:
    """Bring the schema up to date, open the tenants, and give each process its own way in.

    On a server that was given the processes use the URL that was given: its roles are its operator's.
    """
    admin = PostgresConfig(url=read_url(run.postgres_url_file))
    own = config.postgres_url is None
    roles = {name: process.role for name, process in _PROCESSES.items()}
    roles[_REGISTER] = Role.ENDPOINTS
    urls = {
        name: role_url(admin, role, secrets.token_urlsafe(24)) if own else admin.url
        for name, role in roles.items()
        if role is not None
    }
    write_private(
        run.accounts_file, accounts_for(run.accounts_file, [one.name for one in config.tenants])
    )
    make_key_files(private=run.folder / "webhooks.key", public=run.folder / "webhooks.pub")
    await prepare(admin, config.tenants, role_urls=list(urls.values()) if own else ())
    run.audit_off = await why_not(admin, given=not own, lasting=config.folder is not None)
    if not run.audit_off:
        begin(run.audit)
        # For whoever reads the trail, who is told of this folder alone.
        write_private(run.audit.postgres_url, urls["audit"].encode())
    for name, url in urls.items():
        run.role_url_files[name] = run.folder / f"{name}.postgres.url"
        write_private(run.role_url_files[name], url.encode())


async def _start_role(run: _Run, name: str) -> None:
    if name == _REPLICA and run.postgres is not None:
        await _start_replica(run, run.postgres)
        return
    process = _PROCESSES[name]
    command: list[str | Path] = [sys.executable, "-m", "sentinel.reference.ledger"]
    command += process.command or (name,)
    if process.queued:
        write_private(run.folder / "nats.url", run.nats_url.encode())
        command += ["--nats-url-file", run.folder / "nats.url"]
    if process.role is not None:
        command += ["--postgres-url-file", run.role_url_files[name]]
    child = await start_child(name, [*command, *process.arguments(run)], capture=True)
    run.children[name] = child
    process.on_ready(run, await child.ready_line(timeout_s=_READY_TIMEOUT_S))


async def _stop_roles(run: _Run) -> None:
    """Stop the processes at once, for what the edge still accepts waits in the queue; then those that record."""
    working = [name for name in run.processes if name not in {*_RECORDING, _ARCHIVE}]
    await asyncio.gather(*(_stop_role(run, name, _ROLE_STOP_S) for name in working))
    for name in _RECORDING:
        await _stop_role(run, name, _RECORDING_STOP_S)


async def _stop_role(run: _Run, role: str, timeout_s: float) -> None:
    child = run.children.get(role)
    if child is not None:
        # To PostgreSQL, SIGTERM would mean to wait for its clients.
        how = signal.SIGINT if role == _REPLICA else signal.SIGTERM
        await child.stop(with_signal=how, timeout_s=timeout_s)


async def _supervise(run: _Run, stop: asyncio.Event) -> int:
    """Watch the children until `stop`, starting the ledger's processes again when they die."""
    watchers = {
        asyncio.create_task(_keep_running(run, name), name=f"up-{name}")
        for name in (*run.processes, *(run.children.keys() & {_REPLICA}))
    }
    for server in run.children.keys() & {"nats", "postgres"}:
        watchers.add(asyncio.create_task(_watch_server(run.children[server]), name=f"up-{server}"))
    stopping = asyncio.create_task(stop.wait(), name="up-stop")
    try:
        done, _ = await asyncio.wait({stopping, *watchers}, return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            return 0
        for task in done:
            task.result()
        return 1
    finally:
        for task in (*watchers, stopping):
            task.cancel()
        await asyncio.wait({*watchers, stopping})


async def _watch_server(child: Child) -> None:
    code = await child.wait()
    say({"event": "exited", "name": child.name, "code": code})


async def _keep_running(run: _Run, role: str) -> None:
    pause_s = _RESTART_FIRST_S
    while True:
        began = time.monotonic()
        code = await run.children[role].wait()
        say({"event": "exited", "name": role, "code": code})
        if time.monotonic() - began > _STEADY_S:
            pause_s = _RESTART_FIRST_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _RESTART_MAX_S)
        try:
            await _start_role(run, role)
        except (UnavailableError, LedgerError) as error:
            say({"event": "restart_failed", "name": role, "reason": str(error)})
            await _stop_role(run, role, 1.0)
            continue
        run.publish_state()
        say({"event": "restarted", "name": role, "pid": run.children[role].pid})
