"""All that runs while the ledger is measured: sidecar, ledger, load; each a process of its own, all on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.ledger.generator import Offer
from benchmarks.ledger.tap import EXPORT_S, Tap
from sentinel.app.demo.sidecar_config import SidecarPlace, free_place
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT, new_cohort

ROOT = Path(__file__).parents[2]
TENANTS_COUNT = 8
_READY_S = 60.0
_STOP_S = 20.0


def tenants() -> tuple[str, ...]:
    """Names of tenants, two in each cohort."""
    found: dict[int, list[str]] = {cohort: [] for cohort in range(COHORTS_COUNT)}
    number = 0
    while any(len(names) < TENANTS_COUNT // COHORTS_COUNT for names in found.values()):
        name = f"shop-{number}"
        names = found[new_cohort(name)]
        if len(names) < TENANTS_COUNT // COHORTS_COUNT:
            names.append(name)
        number += 1
    return tuple(name for names in found.values() for name in names)


@dataclass(slots=True)
class Stack:
    """A running ledger beside a running sidecar.

    Attributes:
        folder: where all of it keeps its files.
        state: what `sentinel-ledger up` said of itself when it was ready.
        sidecar_pid: the sidecar's process; None without one.
        more_up: arguments of `sentinel-ledger up` beside the usual ones.
        nice: what all of it is given while it is measured; 0 leaves it as it is.
        tap: what overhears the ledger's metrics on their way to the sidecar.
    """

    folder: Path
    place: SidecarPlace
    tap: Tap = field(default_factory=Tap)
    state: dict[str, Any] = field(default_factory=dict)
    sidecar_pid: int | None = None
    more_up: tuple[str, ...] = ()
    nice: int = 0
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    up: asyncio.subprocess.Process | None = None

    @property
    def edge_url(self) -> str:
        """Where requests go."""
        return str(self.state["edge_url"])

    @property
    def ids_file(self) -> Path:
        """Where ids that were answered 202 are kept."""
        return self.folder / "accepted.ids"

    @property
    def postgres_url(self) -> str:
        """The database's address, of a user who sees everything."""
        return Path(self.state["postgres_url_file"]).read_text(encoding="ascii").strip()

    def pids(self) -> dict[str, int]:
        """The ledger's processes by name, as they are now."""
        state = json.loads((self.folder / "state.json").read_bytes())
        return dict(state["pids"])

    async def start_up(self, *, port: int = 0) -> None:
        """Start the ledger in its folder, which keeps what an earlier run of it has written."""
        arguments = ["up", "--dir", str(self.folder / "run"), "--port", str(port)]
        arguments += ["--state", str(self.folder / "state.json"), *self.more_up]
        for name in tenants():
            arguments += ["--tenant", f"{name}=enterprise"]
        environ = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.tap.onward or self.tap.url,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{self.tap.url}/v1/metrics",
            "OTEL_METRIC_EXPORT_INTERVAL": f"{1000 * EXPORT_S:.0f}",
        }
        log = (self.folder / "ledger.log").open("ab")
        with log:
            self.up = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sentinel.reference.ledger", *arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ,
                cwd=ROOT,
            )
        self.state = await self._ready(self.up, "sentinel-ledger up")

    async def command(self, *words: str, log: str = "commands.log") -> int:
        """Run a command of `sentinel-ledger` on it, and return its exit code; what it prints goes to a log."""
        with (self.folder / log).open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sentinel.reference.ledger", *words),
                *("--state", str(self.folder / "state.json")),
                stdout=file,
                stderr=file,
                cwd=ROOT,
            )
        return await process.wait()

    async def stop_up(self) -> None:
        """Stop the ledger."""
        if self.up is not None:
            await _stop(self.up)
            self.up = None

    async def start_sidecar(self, scrapers: str = "") -> None:
        """Start `sentinel run` on its defaults; `scrapers` is more of its configuration."""
        config = self.folder / "sentinel.yaml"
        config.write_text(
            f"web: {{listen: {{port: {self.place.web_port}}}}}\n"
            f"receivers: {{otlp_http: {{listen: {{port: {self.place.otlp_port}}}}}, otlp_grpc: {{enabled: false}}}}\n"
            f"store: {{directory: {self.folder / 'store'}}}\n" + scrapers
        )
        ready = self.folder / "sentinel.ready"
        with (self.folder / "sentinel.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sentinel", "run", "--config", str(config), "--ready-file", str(ready)),
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                cwd=self.folder,
            )
        self.processes.append(process)
        async with asyncio.timeout(_READY_S):
            while not ready.exists():
                if process.returncode is not None:
                    message = f"sentinel run ended with {process.returncode}: {self.tail('sentinel.log')}"
                    raise RuntimeError(message)
                await asyncio.sleep(0.05)
        self.sidecar_pid = process.pid

    @asynccontextmanager
    async def load(self, offer: Offer) -> AsyncIterator[asyncio.subprocess.Process]:
        """A running load generator; killed at the end when it still runs."""
        with (self.folder / "load.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "benchmarks.ledger.generator"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                limit=1 << 20,
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(offer)).encode() + b"\n")
        await process.stdin.drain()
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def loaded(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """What the load generator measured, once it is done."""
        assert process.stdout is not None
        line = await process.stdout.readline()
        await process.wait()
        if not line:
            message = f"the load generator failed: {self.tail('load.log')}"
            raise RuntimeError(message)
        told: dict[str, Any] = json.loads(line)
        return told

    def tail(self, name: str) -> str:
        """The end of a log."""
        return (self.folder / name).read_text(errors="replace")[-1500:]

    async def _ready(self, process: asyncio.subprocess.Process, what: str) -> dict[str, Any]:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), timeout=_READY_S)
        if not line:
            message = f"{what} did not start: {self.tail('ledger.log')}"
            raise RuntimeError(message)
        document: dict[str, Any] = json.loads(line)
        return document


@asynccontextmanager
async def stack(
    *, with_sidecar: bool, more_up: tuple[str, ...] = (), keep: bool = False
) -> AsyncIterator[Stack]:
    """Start all; stop all at the end, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="bench-ledger-"))
    folder.chmod(
        0o711
    )  # PostgreSQL does not run as root, and its user must be able to pass through
    running = Stack(folder=folder, place=free_place(), more_up=more_up)
    if with_sidecar:
        running.tap.onward = running.place.otlp_url
    try:
        await running.tap.start()
        await running.start_up()
        await _know_commit_times(running)
        if with_sidecar:
            await running.start_sidecar(_scrapers(running.state))
        yield running
    finally:
        await running.stop_up()
        for process in running.processes:
            await _stop(process)
        await running.tap.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _know_commit_times(running: Stack) -> None:
    """Have the server keep when each transaction was committed: what the rows say was written before that."""
    connection = await asyncpg.connect(running.postgres_url)
    try:
        await connection.execute("alter system set track_commit_timestamp = on")
    finally:
        await connection.close()
    await running.stop_up()
    await running.start_up()


def _scrapers(state: dict[str, Any]) -> str:
    if not state.get("nats_monitor_url"):
        return ""
    return f"scrapers: {{nats: [{{name: main, service: nats, urls: ['{state['nats_monitor_url']}']}}]}}\n"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout=_STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
