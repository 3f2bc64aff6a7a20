"""Records what Prometheus sees while the ledger breaks. `python -m tests.support.rules.record [--folder DIR]`, some 30 minutes.

The ledger, its load and its faults are the real programs; a sidecar without a destination watches them (so its pages are left
to rules), asks their NATS and PostgreSQL, and hands the ledger's own metrics on; Debian's Prometheus scrapes all of it. Before
the first fault the sidecar learns the levels it has measured from a simulated history, as in the demo.

    DIR/raw.json   every series that was scraped, and when which fault began and ended

`python -m tests.support.rules.recordings --raw DIR/raw.json` makes the committed recordings of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from tests.support.rules.otlp_page import OtlpPage
from tests.support.servers import PrometheusServer, prometheus_server

SCRAPE_S: Final = 15
_QUIET_S: Final = 240
_FAULT_S: Final = 270
_RATE_PER_S: Final = 25
FAULTS: Final = ("lock", "stall", "errors")

_PROMETHEUS: Final = """
global: {{scrape_interval: {every}s}}
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: ["{sidecar}"]}}]
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{sidecar}"]}}]
  - job_name: otlp
    honor_labels: true
    static_configs: [{{targets: ["{page}"]}}]
"""

_SIDECAR: Final = """
web:
  listen: {{port: {web_port}}}
  series_routes: ["*"]
receivers:
  otlp_http: {{listen: {{port: {otlp_port}}}}}
  otlp_grpc: {{enabled: false}}
store: {{directory: {folder}/store}}
forward:
  endpoints: [{{name: page, url: "{page}", traces: false, logs: false}}]
scrapers:
  nats:
    - {{name: main, service: nats, urls: ["{nats}"]}}
  postgres:
    - {{name: main, service: postgres, host: "{pg_host}", port: {pg_port}, user: "{pg_user}", password_file: "{pg_password}", database: "{pg_database}"}}
"""


def main() -> int:
    """Record once; everything started is stopped again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    folder: Path = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_record(folder))
    return 0


async def _record(folder: Path) -> None:
    page = OtlpPage()
    children: list[asyncio.subprocess.Process] = []
    await page.start()
    try:
        await _tell(folder, page, children)
    finally:
        for child in reversed(children):
            if child.returncode is None:
                child.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.wait(), 15)
        await page.stop()


async def _tell(folder: Path, page: OtlpPage, children: list[asyncio.subprocess.Process]) -> None:
    web_port, otlp_port = _free_port(), _free_port()
    sidecar_url = f"http://127.0.0.1:{web_port}"

    async def start(name: str, *argv: str, **environment: str) -> asyncio.subprocess.Process:
        with (folder / f"{name}.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *argv,
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
            )
        children.append(child)
        return child

    ledger_state = folder / "ledger.json"
    ledger_state.unlink(missing_ok=True)
    await start(
        "ledger",
        *("sentinel.reference.ledger", "up", "--state", str(ledger_state)),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{otlp_port}",
    )
    while not ledger_state.exists():
        await asyncio.sleep(0.2)
    state = json.loads(ledger_state.read_text())
    config = folder / "sentinel.yaml"
    config.write_text(
        _SIDECAR.format(
            **_postgres(folder, Path(state["postgres_url_file"])),
            web_port=web_port,
            otlp_port=otlp_port,
            folder=folder,
            page=page.url,
            nats=state["nats_monitor_url"],
        )
    )
    sidecar = await start("sidecar", "sentinel", "run", "--config", str(config))
    await start(
        "load",
        *("sentinel.reference.ledger", "load", "--url", state["edge_url"]),
        *("--rate", str(_RATE_PER_S), "--forever"),
    )
    levels = await _levels(sidecar_url)
    (folder / "levels.json").write_text(json.dumps(levels))
    sidecar.terminate()
    await sidecar.wait()
    for name, argv in {
        "history": (
            *(
                "sentinel.reference.ledger",
                "history",
                "--weeks",
                "6",
                "--step",
                "5m",
                "--seed",
                "7",
            ),
            *("--levels", str(folder / "levels.json"), "-o", str(folder / "history.csv")),
        ),
        "backfill": (
            *("sentinel", "baseline", "backfill", str(folder / "history.csv")),
            *("--store", str(folder / "store")),
        ),
    }.items():
        assert await (await start(name, *argv)).wait() == 0, name
    await start("sidecar", "sentinel", "run", "--config", str(config))
    config_text = _PROMETHEUS.format(
        every=SCRAPE_S,
        sidecar=urllib.parse.urlsplit(sidecar_url).netloc,
        page=urllib.parse.urlsplit(page.url).netloc,
    )
    with prometheus_server(config_text, folder / "prometheus") as server:
        # What starting shook is settled, and every stage has its band.
        await asyncio.sleep(120)
        spans: list[dict[str, Any]] = []
        for fault in FAULTS:
            await asyncio.sleep(_QUIET_S)
            began_s = time.time()
            _say(f"{fault} begins")
            child = await start(
                f"fault-{fault}",
                *("sentinel.reference.ledger", "fault", fault, "--state", str(ledger_state)),
                *("--seconds", str(_FAULT_S), "--record", str(folder / "faults.ndjson")),
            )
            assert await child.wait() == 0, fault
            spans.append({"fault": fault, "began_s": began_s, "ended_s": time.time()})
            _save(folder, server, spans)
        await asyncio.sleep(_QUIET_S)
        _save(folder, server, spans)


def _save(folder: Path, server: PrometheusServer, spans: list[dict[str, Any]]) -> None:
    end_s = time.time()
    start_s = spans[0]["began_s"] - _QUIET_S
    found = server.get(
        "/api/v1/query_range",
        query='{__name__!=""}',
        start=f"{start_s:.3f}",
        end=f"{end_s:.3f}",
        step=str(SCRAPE_S),
    )["result"]
    build = server.get("/api/v1/status/buildinfo")["version"]
    (folder / "raw.json").write_text(
        json.dumps({"prometheus": build, "faults": spans, "step_s": SCRAPE_S, "series": found})
    )
    _say(f"{len(found)} series saved")


def _postgres(folder: Path, url_file: Path) -> dict[str, Any]:
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


async def _levels(sidecar_url: str) -> list[dict[str, Any]]:
    """The level of every series of calls, over eight windows after the first."""
    names = ("service", "stage", "route", "signal")
    measured: dict[tuple[str, ...], list[float]] = {}
    ends: set[str] = set()
    while len(ends) < 9:
        await asyncio.sleep(2)
        with contextlib.suppress(OSError):
            report = await asyncio.to_thread(_json, f"{sidecar_url}/api/v1/series?limit=5000")
            end = (report.get("window") or {}).get("end")
            rows = [row for row in report["series"] if row["value"] is not None]
            if end is None or end in ends or not any(row["stage"] == "database" for row in rows):
                continue
            if ends:
                for row in rows:
                    if row["signal"] in ("traffic", "errors", "latency"):
                        key = tuple(row[name] for name in names)
                        measured.setdefault(key, []).append(float(row["value"]))
            ends.add(end)
    return [
        {**dict(zip(names, key, strict=True)), "value": statistics.median(values)}
        for key, values in sorted(measured.items())
        if key[0].startswith("ledger-")
    ]


def _json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
