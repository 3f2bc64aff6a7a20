"""`sentinel-ledger up`: servers and the ledger's processes as children of one that stops them all.

A server that dies takes the run down: nothing sensible can follow. A process that dies is started
again with back-off, on the port it had, as an orchestrator would; so is the replica, which reads can do without, and a
server of several NATS, which the others do without.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.away import until_it_may_come_back
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.operate.up.processes import processes_of
from sentinel.reference.ledger.operate.up.run import Run, UpConfig
from sentinel.reference.ledger.operate.up.starting import (
    REPLICA,
    start_all,
    start_process,
    stop_process,
)

_RESTART_FIRST_S: Final = 0.5
_RESTART_MAX_S: Final = 10.0
_STEADY_S: Final = 30.0


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
        run = Run(
            folder=folder,
            state_file=config.state_file,
            edge_port=config.port,
            edges_count=config.edges_count,
            tokens_only=config.tokens_only,
            stream_replicas_count=config.stream_replicas_count,
            durability=config.durability,
        )
        if config.receiver:
            run.receiver_tenant = config.tenants[0].name
        starting = asyncio.create_task(start_all(run, config, stack), name="up-start")
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


async def _supervise(run: Run, stop: asyncio.Event) -> int:
    """Watch the children until `stop`, starting the ledger's processes again when they die."""
    watchers = {
        asyncio.create_task(_keep_running(run, name), name=f"up-{name}")
        for name in (*processes_of(run), *run.nats_nodes, *(run.children.keys() & {REPLICA}))
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


async def _keep_running(run: Run, name: str) -> None:
    pause_s = _RESTART_FIRST_S
    while True:
        began = time.monotonic()
        code = await run.children[name].wait()
        say({"event": "exited", "name": name, "code": code})
        if time.monotonic() - began > _STEADY_S:
            pause_s = _RESTART_FIRST_S
        await asyncio.sleep(pause_s)
        await until_it_may_come_back(run.folder, name)
        pause_s = min(2 * pause_s, _RESTART_MAX_S)
        try:
            await start_process(run, name)
        except (UnavailableError, LedgerError) as error:
            say({"event": "restart_failed", "name": name, "reason": str(error)})
            await stop_process(run, name, 1.0)
            continue
        run.publish_state()
        say({"event": "restarted", "name": name, "pid": run.children[name].pid})
