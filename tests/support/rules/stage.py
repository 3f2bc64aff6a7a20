"""What a recording is made on: the ledger, its load, sidecars and Debian's Prometheus, as the processes that people run.

All of it is started on free ports of loopback, and whatever happens all of it is stopped again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.rules.otlp_page import OtlpPage
from tests.support.servers import PrometheusServer

SCRAPE_S: Final = 15
Child = asyncio.subprocess.Process

_PROMETHEUS: Final = """
global: {{scrape_interval: {every}s}}
scrape_configs:
  - job_name: sentinel
    static_configs: {sidecars}
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: {sidecars}
  - job_name: otlp
    honor_labels: true
    static_configs: [{{targets: [{pages}]}}]
"""


@dataclass(slots=True)
class Stage:
    """One folder's worth of processes; `span` says what is to become a recording of its own."""

    folder: Path
    children: list[Child] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)

    async def start(self, name: str, *argv: str, **environment: str) -> Child:
        """Start `python -m` something, its output in a file of this name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *argv,
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
            )
        self.children.append(child)
        return child

    async def stop(self, child: Child, number: signal.Signals = signal.SIGTERM) -> None:
        """End one, in order or by force."""
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), 20)
        if child.returncode is None:
            child.kill()
            await child.wait()

    async def ledger(self, *, otlp_url: str, rate: float) -> dict[str, Any]:
        """The ledger under load; its state."""
        path = self.folder / "ledger.json"
        path.unlink(missing_ok=True)
        await self.start(
            "ledger",
            *("sentinel.reference.ledger", "up", "--state", str(path)),
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp_url,
        )
        while not path.exists():
            await asyncio.sleep(0.2)
        state: dict[str, Any] = json.loads(path.read_text())
        if rate:
            await self.start(
                "load",
                *("sentinel.reference.ledger", "load", "--url", state["edge_url"]),
                *("--rate", str(rate), "--forever"),
            )
        return state

    async def sidecar(self, name: str, config: str) -> Child:
        """A sidecar with this configuration; its store is in a folder of its name."""
        path = self.folder / f"{name}.yaml"
        path.write_text(f"store: {{directory: {self.folder / name}}}\n{config}")
        return await self.start(name, "sentinel", "run", "--config", str(path))

    @asynccontextmanager
    async def fault(self, name: str, *more: str, seconds: float) -> AsyncIterator[None]:
        """Hold one of the ledger's faults while the block runs; AssertionError when it could not be."""
        child = await self.start(
            f"fault-{name}",
            *("sentinel.reference.ledger", "fault", "start", name),
            *("--state", str(self.folder / "ledger.json"), "--seconds", str(seconds)),
            *("--record", str(self.folder / "faults.ndjson"), *more),
        )
        say(f"{name} begins")
        yield
        assert await child.wait() == 0, f"{name}: see {self.folder}"
        say(f"{name} is over")

    def span(self, name: str, began_s: float, **how: Any) -> None:
        """A recording, from this moment to now."""
        self.spans.append({"fault": name, "began_s": began_s, "ended_s": time.time(), **how})

    def save(self, server: PrometheusServer, *, since_s: float, name: str = "raw") -> None:
        """Everything that this Prometheus has seen, and the spans."""
        found = server.get(
            "/api/v1/query_range",
            query='{__name__!=""}',
            start=f"{since_s:.3f}",
            end=f"{time.time():.3f}",
            step=str(SCRAPE_S),
        )["result"]
        build = server.get("/api/v1/status/buildinfo")["version"]
        (self.folder / f"{name}.json").write_text(
            json.dumps(
                {
                    "prometheus": build,
                    "faults": self.spans,
                    "step_s": SCRAPE_S,
                    "since_s": since_s,
                    "series": found,
                }
            )
        )
        say(f"{len(found)} series saved")


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[Stage, OtlpPage]]:
    """A stage and the page of the ledger's own metrics; all that is started on it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    made, page = Stage(folder), OtlpPage()
    await page.start()
    try:
        yield made, page
    finally:
        for child in reversed(made.children):
            await made.stop(child)
        await page.stop()


def prometheus_config(*sidecars: tuple[str, str], page: OtlpPage | None) -> str:
    """Scrapes sidecars, each as (name, URL) with both pages, and the ledger's metrics."""
    targets = [
        {"targets": [urllib.parse.urlsplit(url).netloc], "labels": {"sidecar": name}}
        for name, url in sidecars
    ]
    pages = f'"{urllib.parse.urlsplit(page.url).netloc}"' if page else ""
    return _PROMETHEUS.format(every=SCRAPE_S, sidecars=json.dumps(targets), pages=pages)


def postgres_settings(folder: Path, url_file: Path) -> dict[str, Any]:
    """What a sidecar's configuration says of the ledger's PostgreSQL; the password is in a file."""
    parts = urllib.parse.urlsplit(url_file.read_text().strip())
    password = folder / "postgres.password"
    password.touch(mode=0o600)
    password.write_text(urllib.parse.unquote(parts.password or ""))
    return {
        "pg_host": parts.hostname,
        "pg_port": parts.port,
        "pg_user": parts.username,
        "pg_password": password,
        "pg_database": parts.path.strip("/"),
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get_json(url: str) -> Any:
    """An answer of a page of ours."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
