"""The demo's pipeline as a Prometheus sees it: ledger, NATS, PostgreSQL, a sidecar that watches all three, Alertmanager.

All of them are the real programs, with load, a past to judge by, a fault that opens an incident, a deploy that rolls out and a
silence: what boards show has happened. Only the past is simulated, as in the demo.
"""

from __future__ import annotations

import csv
import json
import math
import os
import random
import re
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sentinel.app.demo.sidecar_config import free_place
from tests.support.alertmanager_server import AlertmanagerServer, collector
from tests.support.role_scene import role_scene
from tests.support.rules.otlp_page import otlp_page
from tests.support.servers import (
    PrometheusServer,
    prometheus_server,
    running_process,
    wait_until,
)
from tests.support.sidecar_process import SidecarProcess, sidecar_process

WINDOW_S = 2
_ROOT = Path(__file__).parents[2]
_RATE_PER_S = 40
_LEVELS = ("traffic", "errors", "latency")
_DAYS = 14
_STEP_S = 300
# Gauges that are given a past, so that boards have a band of them.
_WITH_PAST = ("consumer_backlog_count", "connections_used_ratio")
_WATCHED = {("ledger-edge", "traffic"), ("ledger-poster", "traffic"), ("postgres", "traffic")}
_NAMES = ("service", "stage", "route", "signal")

_SIDECAR = """\
web:
  listen: {{port: {web_port}}}
  series_strangest_count: 5000
receivers:
  otlp_http: {{listen: {{port: {otlp_port}}}}}
  otlp_grpc: {{enabled: false}}
  log_files:
    sources: [{{name: load, paths: ["{folder}/load*.log"], service: ledger-load, start: beginning}}]
scrapers:
  nats: [{{name: nats, urls: ["{nats_monitor_url}"], interval: 2s, client: {{timeout: 1500ms, connect_timeout: 1s}}, advisories: {{urls: ["{nats_url}"]}}}}]
  postgres: [{{name: postgres, host: "{host}", port: {port}, user: "{user}", {password}database: "{database}", interval: 2s, timeout: 1900ms, connect_timeout: 1s, statement_timeout: 1500ms}}]
forward:
  endpoints:
    - {{name: upstream, url: "{upstream_url}"}}
    - {{name: page, url: "{page_url}", traces: false, logs: false}}
series: {{window: {window}s, lateness: 1s}}
store: {{directory: "{folder}/store"}}
incidents: {{hold: 20s, hold_window_count: 3}}
scoring: {{latency: {{deviation_min: 0.05}}}}
senders:
  alertmanager: {{urls: ["{alertmanager_url}"]}}
"""
_PROMETHEUS = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}, {levels}]
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: ["{sidecar}", "{scorer}", "{collector}"]}}]
  - job_name: sentinel-injector
    static_configs: [{{targets: ["{injector}"]}}]
  - job_name: otlp
    honor_labels: true
    static_configs: [{{targets: ["{page}"]}}]
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{sidecar}"]}}]
  - job_name: alertmanager
    static_configs: [{{targets: ["{alertmanager}"]}}]
"""
# Some that fire at once: the shipped rules wait for minutes.
_RULES = """\
groups:
  - name: example
    rules:
      - {alert: SentinelExample, expr: vector(1)}
      - {alert: LedgerExample, expr: vector(1), labels: {service: ledger, severity: page}}
      - {alert: NatsExample, expr: vector(1), labels: {service: nats, severity: page}}
      - {alert: PostgresExample, expr: vector(1), labels: {service: postgres, severity: page}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is running.

    Attributes:
        prometheus: it has scraped the sidecar while the incident was open.
        sidecar: the process.
    """

    prometheus: PrometheusServer
    sidecar: SidecarProcess


@contextmanager
def board_scene(folder: Path) -> Iterator[Scene]:
    """Everything, with an incident open, a service of several sidecars beside it and the injector; stopped at the end whatever happens."""
    with ExitStack() as stack:
        ledger = _start_ledger(stack, folder)
        alertmanager = _start_alertmanager(stack, folder)
        page_url = stack.enter_context(otlp_page())
        config = _sidecar_config(stack, folder, ledger, alertmanager, page_url)
        _start_load(stack, folder, ledger.state)
        with sidecar_process(config, name="first") as first:
            levels = _measured_levels(first)
            first.end(signal.SIGTERM)
        _backfill(folder, levels)
        sidecar = stack.enter_context(sidecar_process(config))
        prometheus = _start_prometheus(stack, folder, sidecar, alertmanager, page_url)
        _roll_out(stack, folder, ledger)
        _silence(alertmanager)
        wait_until(
            lambda: _scored(sidecar) >= len(_LEVELS) * 2, what="a past to judge by", timeout_s=90
        )
        _break(stack, folder, ledger.state)
        for what in (
            'sentinel_score{horizon="", signal="traffic"} >= 1',
            "sentinel_incident_member_start_timestamp_seconds",
            "sentinel_service_version_start_timestamp_seconds",
            "sentinel_pages_delivered_total > 0",
            'rate(sentinel_named_calls_total{outcome="ok"}[30s]) > 0',
            'service_slo:error_budget_remaining:ratio30d{slo="posting"}',
            "sentinel_collectors > 0",
            "sentinel_admission_pods_missing > 0",
        ):
            wait_until(_found(prometheus, what), what=what, timeout_s=60, every_s=0.5)
        yield Scene(prometheus=prometheus, sidecar=sidecar)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ledger:
    state: Path
    facts: Mapping[str, Any]
    environment: Mapping[str, str]
    web_port: int
    otlp_port: int


def _start_ledger(stack: ExitStack, folder: Path) -> _Ledger:
    place = free_place()
    state = folder / "ledger.json"
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": place.otlp_url,
        "OTEL_METRIC_EXPORT_INTERVAL": "2000",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0.0",
    }
    process = stack.enter_context(
        running_process(
            [_program("sentinel-ledger"), "up", "--state", str(state)],
            log=folder / "ledger.log",
            env=environment,
        )
    )
    _wait_for_file(state, process)
    return _Ledger(
        state=state,
        facts=json.loads(state.read_text()),
        environment=environment,
        web_port=place.web_port,
        otlp_port=place.otlp_port,
    )


def _start_load(stack: ExitStack, folder: Path, state: Path) -> None:
    argv = ["load", "--state", str(state), "--rate", str(_RATE_PER_S), "--forever"]
    stack.enter_context(
        running_process([_program("sentinel-ledger"), *argv], log=folder / "load.log")
    )


def _start_alertmanager(stack: ExitStack, folder: Path) -> AlertmanagerServer:
    pager = stack.enter_context(collector())
    server = AlertmanagerServer(folder / "alertmanager", webhook_url=pager.url)
    stack.callback(server.stop)
    server.start()
    return server


def _sidecar_config(
    stack: ExitStack,
    folder: Path,
    ledger: _Ledger,
    alertmanager: AlertmanagerServer,
    page_url: str,
) -> Path:
    upstream = stack.enter_context(collector())
    database = urlsplit(Path(ledger.facts["postgres_url_file"]).read_text().strip())
    options = parse_qs(database.query)
    password = ""
    if database.password:
        secret = folder / "postgres-password"
        secret.write_text(database.password)
        secret.chmod(0o600)
        password = f'password_file: "{secret}", '
    path = folder / "sentinel.yaml"
    path.write_text(
        _SIDECAR.format(
            web_port=ledger.web_port,
            otlp_port=ledger.otlp_port,
            folder=folder,
            nats_monitor_url=ledger.facts["nats_monitor_url"],
            nats_url=ledger.facts["nats_url"],
            host=options.get("host", [database.hostname])[0],
            port=database.port or int(options.get("port", ["5432"])[0]),
            user=database.username,
            password=password,
            database=database.path.lstrip("/"),
            upstream_url=upstream.url,
            page_url=page_url,
            alertmanager_url=alertmanager.url,
            window=WINDOW_S,
        )
    )
    return path


def _start_prometheus(
    stack: ExitStack,
    folder: Path,
    sidecar: SidecarProcess,
    alertmanager: AlertmanagerServer,
    page_url: str,
) -> PrometheusServer:
    rules, levels = folder / "rules.yaml", folder / "slo.yaml"
    rules.write_text(_RULES)
    # As they are shipped, but for how often they are looked at.
    shipped = (_ROOT / "alert_rules/slo.yaml").read_text()
    levels.write_text(re.sub(r"(?m)^( +interval:) \d+m$", r"\1 1s", shipped))
    roles = stack.enter_context(role_scene(folder / "roles"))
    config = _PROMETHEUS.format(
        rules=rules,
        levels=levels,
        sidecar=urlsplit(sidecar.web_url).netloc,
        scorer=urlsplit(roles.scorer_url).netloc,
        collector=urlsplit(roles.collector_url).netloc,
        injector=urlsplit(roles.injector_url).netloc,
        page=urlsplit(page_url).netloc,
        alertmanager=urlsplit(alertmanager.url).netloc,
    )
    return stack.enter_context(
        prometheus_server(
            config, folder / "prometheus", options=("--enable-feature=exemplar-storage",)
        )
    )


def _measured_levels(sidecar: SidecarProcess) -> list[dict[str, Any]]:
    """The level of every series that is given a past, as it was measured over a few windows."""
    measured: dict[tuple[str, ...], list[float]] = {}
    ends: set[str] = set()

    def seen_enough() -> bool:
        report = json.loads(sidecar.get("/api/v1/series?limit=10000"))
        known = {row["signal"] for row in report["series"] if row["value"] is not None}
        places = {
            (row["service"], row["signal"]) for row in report["series"] if row["value"] is not None
        }
        if not known.issuperset(_WITH_PAST) or not places >= _WATCHED:
            return False
        if report["window"]["end"] in ends:
            return False
        # The first window holds the start of the processes, which is not how they run.
        if ends:
            for row in report["series"]:
                if row["signal"] in (*_LEVELS, *_WITH_PAST) and row["value"] is not None:
                    key = tuple(row[name] for name in _NAMES)
                    measured.setdefault(key, []).append(float(row["value"]))
        ends.add(report["window"]["end"])
        return len(ends) > 4

    wait_until(seen_enough, what="telemetry of all of the pipeline", timeout_s=90, every_s=0.3)
    return [
        {**dict(zip(_NAMES, key, strict=True)), "value": statistics.median(values)}
        for key, values in sorted(measured.items())
    ]


def _backfill(folder: Path, levels: Sequence[Mapping[str, Any]]) -> None:
    calls = [one for one in levels if one["signal"] in _LEVELS]
    (folder / "levels.json").write_text(json.dumps(calls))
    past = folder / "calls.csv"
    argv = ["history", "--weeks", "3", "--step", "5m", "--seed", "7", "--format", "csv"]
    argv += ["--levels", str(folder / "levels.json"), "-o", str(past)]
    _run([_program("sentinel-ledger"), *argv], folder / "history.log")
    gauges = folder / "gauges.csv"
    _write_gauges(gauges, [one for one in levels if one["signal"] in _WITH_PAST])
    argv = ["baseline", "backfill", str(past), str(gauges), "--store", str(folder / "store")]
    _run([_program("sentinel"), *argv], folder / "backfill.log")


def _write_gauges(path: Path, levels: Sequence[Mapping[str, Any]]) -> None:
    """Two weeks of each level, unsteady by a tenth and a little."""
    draw = random.Random(7)
    end_s = math.floor(time.time() / _STEP_S) * _STEP_S
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", *_NAMES, "value", "weight"])
        for at_s in range(end_s - _DAYS * 86_400, end_s, _STEP_S):
            for level in levels:
                value = abs(draw.gauss(level["value"], 0.1 * level["value"] + 0.001))
                writer.writerow([at_s, *(level[name] for name in _NAMES), f"{value:.6g}", ""])


def _roll_out(stack: ExitStack, folder: Path, ledger: _Ledger) -> None:
    """A second poster, of another version, beside the first: how a deploy begins."""
    argv = ["poster", "--nats-url", ledger.facts["nats_url"]]
    argv += ["--postgres-url-file", ledger.facts["postgres_url_file"]]
    environment = {**ledger.environment, "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.1.0"}
    stack.enter_context(
        running_process(
            [_program("sentinel-ledger"), *argv], log=folder / "poster.log", env=environment
        )
    )


def _silence(alertmanager: AlertmanagerServer) -> None:
    now_s = time.time()
    body = {
        "matchers": [{"name": "service", "value": "no-such", "isRegex": False, "isEqual": True}],
        "startsAt": _iso(now_s - 60),
        "endsAt": _iso(now_s + 3600),
        "createdBy": "test",
        "comment": "a mute to be marked",
    }
    request = urllib.request.Request(  # loopback
        f"{alertmanager.url}/api/v2/silences",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 200


def _break(stack: ExitStack, folder: Path, state: Path) -> None:
    argv = ["fault", "start", "lock", "--state", str(state), "--seconds", "120"]
    stack.enter_context(
        running_process([_program("sentinel-ledger"), *argv], log=folder / "fault.log")
    )


def _scored(sidecar: SidecarProcess) -> int:
    """How many of the ledger's series of calls have a score."""
    report = json.loads(sidecar.get("/api/v1/series?limit=10000"))
    rows = [row for row in report["series"] if row["reason"] == "scored"]
    return len([row for row in rows if row["service"].startswith("ledger-")])


def _found(prometheus: PrometheusServer, expression: str) -> Callable[[], bool]:
    return lambda: bool(prometheus.query(expression))


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _run(argv: list[str], log: Path) -> None:
    with running_process(argv, log=log) as process:
        assert process.wait(timeout=60) == 0, log.read_text()


def _wait_for_file(path: Path, process: Popen[bytes]) -> None:
    wait_until(lambda: path.exists() or process.poll() is not None, what=f"{path.name}")
    assert process.poll() is None, "the ledger ended at once"


def _iso(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
