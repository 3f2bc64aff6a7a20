"""How servers and processes of a run are started, each with its way into the database, and stopped."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.operate.authorizing import accounts_for
from sentinel.reference.ledger.operate.children import start_child
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.servers import (
    PostgresServer,
    start_cluster,
    start_nats,
    start_node,
    start_postgres,
    start_replica,
)
from sentinel.reference.ledger.operate.single import patiently
from sentinel.reference.ledger.operate.state import write_private
from sentinel.reference.ledger.operate.up.audit import begin, why_not
from sentinel.reference.ledger.operate.up.processes import (
    ARCHIVE,
    EXPORTS,
    PROCESSES,
    RECEIVER,
    RECORDING,
    REGISTER,
    processes_of,
    released_as,
)
from sentinel.reference.ledger.operate.up.run import Run, UpConfig
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig, read_url
from sentinel.reference.ledger.wire.durability import check_queue
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.roles import Role, role_url
from sentinel.reference.ledger.wire.webhook_secrets import make_key_files

REPLICA: Final = "replica"

_READY_TIMEOUT_S: Final = 20.0
# A stream or a consumer of several servers is there once they have elected who leads it.
_READY_AMONG_SEVERAL_S: Final = 60.0
# Together below the ten seconds that whoever stops this process will wait.
_PROCESS_STOP_S: Final = 3.5
_RECORDING_STOP_S: Final = 2.0
_SERVER_STOP_S: Final = 2.0
_STREAMS_TIMEOUT_S: Final = 5.0
_STREAMS_PATIENCE_S: Final = 40.0


async def start_all(run: Run, config: UpConfig, stack: AsyncExitStack) -> None:
    """Start servers, then processes; how to stop each is put on the stack before it is started."""
    await asyncio.gather(_provide_nats(run, config, stack), _provide_postgres(run, config, stack))
    await asyncio.gather(_prepare(run, config), _provide_replica(run, config, stack))
    stack.push_async_callback(_stop_processes, run)
    if run.edges_count > 1:
        run.edge_port = stack.enter_context(_keep_port(run.edge_port)).getsockname()[1]
    # The edge is told where it is.
    await start_process(run, "authorize")
    others = [name for name in processes_of(run) if name not in ("authorize", RECEIVER)]
    await asyncio.gather(*(start_process(run, name) for name in others))
    if RECEIVER in processes_of(run):
        await start_process(run, RECEIVER)


def _keep_port(port: int) -> socket.socket:
    """Have a port for the run's edges, which listen on it: it stays theirs while they are started anew.

    Raises:
        UnavailableError: it is not to be had.
    """
    kept = socket.socket()
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", port))
    except OSError as error:
        kept.close()
        message = f"cannot have port {port} for the edges: {error.strerror}"
        raise UnavailableError(message) from error
    return kept


async def _provide_nats(run: Run, config: UpConfig, stack: AsyncExitStack) -> None:
    if config.nats_url is not None:
        run.nats_url, run.nats_monitor_urls = config.nats_url, list(config.nats_monitor_urls)
        await check_queue(run.durability, run.nats_monitor_urls)
        return
    if config.nats_nodes_count > 1:
        await _provide_cluster(run, config, stack)
        return
    server = await start_nats(run.folder / "nats", durability=run.durability)
    stack.push_async_callback(server.stop, timeout_s=_SERVER_STOP_S)
    run.children["nats"] = server.child
    run.nats_url, run.nats_monitor_urls = server.url, [server.monitor_url]


async def _provide_cluster(run: Run, config: UpConfig, stack: AsyncExitStack) -> None:
    """Start several servers, and have what the poster needs made before all processes ask for theirs at once."""
    nodes, children = await start_cluster(
        run.folder / "nats-cluster", config.nats_nodes_count, run.durability
    )
    run.nats_nodes = nodes
    run.children |= children
    stack.push_async_callback(_stop_nodes, run)
    run.nats_url = ",".join(node.url for node in nodes.values())
    run.nats_monitor_urls = [node.monitor_url for node in nodes.values()]
    queue = NatsConfig(
        url=run.nats_url,
        stream_replicas_count=run.stream_replicas_count,
        # Servers that have only just met take their time for the first streams.
        publish_timeout_s=_STREAMS_TIMEOUT_S,
    )
    await patiently(lambda: _declare(queue), patience_s=_STREAMS_PATIENCE_S)


async def _declare(config: NatsConfig) -> None:
    """Make the streams and the poster's consumers, each of which elects its leader; what is there already costs nothing."""
    queue = await Queue.connect(config, name="ledger-up", on_change=lambda *_: None)
    try:
        await queue.subscribe(range(COHORTS_COUNT))
    finally:
        await queue.close()


async def _stop_nodes(run: Run) -> None:
    await asyncio.gather(*(stop_process(run, name, _SERVER_STOP_S) for name in run.nats_nodes))


async def _provide_postgres(run: Run, config: UpConfig, stack: AsyncExitStack) -> None:
    if config.postgres_url is not None:
        run.postgres_url_file = run.folder / "postgres.url"
        write_private(run.postgres_url_file, config.postgres_url.encode())
        return
    run.archive_file = config.archive_file
    # It ends after PostgreSQL, which hands over what it can before it ends.
    stack.push_async_callback(stop_process, run, ARCHIVE, _SERVER_STOP_S)
    server = await start_postgres(
        run.folder / "postgres",
        spool=config.archive_file is not None,
        durability=run.durability,
    )
    stack.push_async_callback(server.stop, timeout_s=_SERVER_STOP_S)
    run.children["postgres"] = server.child
    run.postgres_url_file = server.url_file
    run.postgres = server


async def _provide_replica(run: Run, config: UpConfig, stack: AsyncExitStack) -> None:
    """Start a replica of the server that was started, or use the one that was given."""
    if config.replica_url is not None:
        run.replica_url_file = run.folder / "replica.url"
        write_private(run.replica_url_file, config.replica_url.encode())
    elif config.replica and run.postgres is not None:
        stack.push_async_callback(stop_process, run, REPLICA, _SERVER_STOP_S)
        await _start_replica(run, run.postgres)


async def _start_replica(run: Run, primary: PostgresServer) -> None:
    server = await start_replica(run.folder / "replica", primary, port=run.replica_port)
    run.children[REPLICA] = server.child
    run.replica_url_file = server.url_file
    run.replica_port = server.port


async def _prepare(run: Run, config: UpConfig) -> None:
    """Bring the schema up to date, open the tenants, and give each process its own way in.

    On a server that was given the processes use the URL that was given: its roles are its operator's.
    """
    admin = PostgresConfig(url=read_url(run.postgres_url_file))
    own = config.postgres_url is None
    roles = {name: process.role for name, process in PROCESSES.items()}
    roles |= {REGISTER: Role.ENDPOINTS, EXPORTS: Role.EXPORTS}
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


async def start_process(run: Run, name: str) -> None:
    """Start one process of the table, the replica or a server of several NATS, and wait until it is ready.

    Raises:
        LedgerError: it ended, or was not ready in time.
    """
    if name == REPLICA and run.postgres is not None:
        await _start_replica(run, run.postgres)
        return
    if name in run.nats_nodes:
        run.children[name] = await start_node(run.nats_nodes[name])
        return
    process = processes_of(run)[name]
    command: list[str | Path] = [sys.executable, "-m", "sentinel.reference.ledger"]
    command += process.command or (name,)
    if process.queued:
        write_private(run.folder / "nats.url", run.nats_url.encode())
        command += ["--nats-url-file", run.folder / "nats.url"]
        command += ["--stream-replicas", str(run.stream_replicas_count)]
    if process.role is not None:
        command += ["--postgres-url-file", run.role_url_files[process.login or name]]
    more, environ = released_as(run, name)
    child = await start_child(
        name, [*command, *process.arguments(run), *more], capture=True, environ=environ
    )
    run.children[name] = child
    timeout_s = _READY_AMONG_SEVERAL_S if run.nats_nodes else _READY_TIMEOUT_S
    process.on_ready(run, await child.ready_line(timeout_s=timeout_s))


async def _stop_processes(run: Run) -> None:
    """Stop the processes at once, for what the edge still accepts waits in the queue; then those that record."""
    working = [name for name in processes_of(run) if name not in {*RECORDING, ARCHIVE}]
    await asyncio.gather(*(stop_process(run, name, _PROCESS_STOP_S) for name in working))
    for name in RECORDING:
        await stop_process(run, name, _RECORDING_STOP_S)


async def stop_process(run: Run, name: str, timeout_s: float) -> None:
    """Stop one process, if it was ever started; after so many seconds it is killed."""
    child = run.children.get(name)
    if child is not None:
        # To PostgreSQL, SIGTERM would mean to wait for its clients.
        how = signal.SIGINT if name == REPLICA else signal.SIGTERM
        await child.stop(with_signal=how, timeout_s=timeout_s)
