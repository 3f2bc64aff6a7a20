"""The Compose file's neighbourhood without containers: its own configurations, names and ports, in a network of its own.

Run as root inside `unshare --net --mount --pid`, so that every port is free, names lead where they should, and nothing outlives
it. NATS, PostgreSQL, Prometheus and Alertmanager are Debian's; Tempo and Loki are stand-ins that count what they are sent; Kong
and Grafana are not there. Prints one JSON document on what was seen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose"
SERVICES: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
NAMES = ("nats", "postgres", "alertmanager", "tempo", "loki", "grafana", "witness")
BESIDE = ("poster", "webhooks", "audit", "exports", "analytics", "reconcile", "disburse")
TOLD = ("webhooks", "audit", "exporter", "analytics", "reconcile", "disburser")
"""Those that tell of themselves while nothing happens."""
HEARTBEAT = "LEDGER_HEARTBEAT_FILE"
PATIENCE_S = 120.0
_STARTED: list[subprocess.Popen[bytes]] = []


def main(folder: Path) -> None:
    """Start everything, look until it is as it should be or patience ends, and say what was seen."""
    _own_machine(folder)
    received: dict[str, int] = {}
    for name, port in (("tempo", 4318), ("loki", 3100)):
        _listen(_address(name), port, received)
    secrets = Path("/run/secrets")
    subprocess.run([sys.executable, str(COMPOSE / "make_secrets.py"), str(secrets)], check=True)
    secrets.chmod(0o755)
    nats = (
        (COMPOSE / "nats.conf")
        .read_text()
        .replace("store_dir: /data", f"store_dir: {folder}/nats")
    )
    (folder / "nats.conf").write_text(nats)
    _start("nats-server", "--config", str(folder / "nats.conf"))
    _postgres(folder)
    (folder / "prometheus").mkdir()
    shutil.copy(COMPOSE / "prometheus.yml", folder / "prometheus")
    (folder / "prometheus/rules").symlink_to(ROOT / "alert_rules")
    arguments = _command("prometheus", {"/etc/prometheus": folder / "prometheus", "=/prometheus": f"={folder}/tsdb"})  # fmt: skip
    # Debian's is older than the Compose file's: it has no way in for OTLP.
    known = subprocess.run(["prometheus", "--help"], capture_output=True, text=True, check=False)
    flags = known.stdout + known.stderr
    _start("prometheus", *(one for one in arguments if one.partition("=")[0] in flags))
    _start("prometheus-alertmanager", *_command("alertmanager", {"/etc/alertmanager": COMPOSE, "=/alertmanager": f"={folder}/alertmanager"}))  # fmt: skip
    programs = Path(sys.executable).parent
    config = {"/etc/sentinel": COMPOSE}
    store = {"SENTINEL_STORE__DIRECTORY": str(folder / "store")}
    _start(str(programs / "sentinel"), *_command("sentinel", config), environment=store)
    ledger = str(programs / "sentinel-ledger")
    for name in ("migrate", "webhook-keys", "audit-key", "witness-key"):
        subprocess.run([ledger, *_command(name, _volumes(folder, name))], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    _start(ledger, *_command("witness", _volumes(folder, "witness")))
    Path("/run/ledger").mkdir()
    for name in (*BESIDE, "edge"):
        own = dict(SERVICES[name]["environment"])
        if HEARTBEAT in own:
            own[HEARTBEAT] = f"/run/ledger/{name}"
        _start(ledger, *_command(name, _volumes(folder, name)), environment=own)
    # Kong is not there: the load goes to the edge itself.
    load = [a.replace("127.0.0.1:8000", "127.0.0.1:8080") for a in _command("load", {})]
    _until(lambda: _get("http://127.0.0.1:8080/healthz") is not None)
    _start(str(programs / "sentinel-ledger"), *load)
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(_look(received))
        return all(seen.values())

    _until(look)
    sys.stdout.write(json.dumps(seen))
    sys.stdout.flush()


def _look(received: dict[str, int]) -> dict[str, Any]:
    series = {
        name: bool(_query(query))
        for name, query in {
            "calls of the edge": 'sentinel_value{service="ledger-edge",signal="traffic"}',
            "postings": 'sentinel_value{service="ledger-poster",signal="traffic"}',
            "backlog": 'sentinel_value{signal="consumer_backlog_count",route=~"LEDGER_C[0-9]/poster"}',
            "transactions": 'sentinel_value{service="postgres",signal="traffic"} > 0',
            **{
                f"metrics of {name}": f'sentinel_value{{service="ledger-{name}",stage="metrics"}}'
                for name in TOLD
            },
            "self-metrics": 'sentinel_build_info{job="sentinel"}',
        }.items()
    }
    targets = _get("http://127.0.0.1:9090/api/v1/targets?state=active") or {"data": {"activeTargets": []}}  # fmt: skip
    up = {t["labels"]["job"] for t in targets["data"]["activeTargets"] if t["health"] == "up"}
    found = _get("http://127.0.0.1:9090/api/v1/alertmanagers")
    return {
        **series,
        "alive": {one.name for one in Path("/run/ledger").iterdir()} == set(BESIDE),
        "scraped": sorted(up)
        if up >= {"sentinel", "sentinel-series", "alertmanager", "prometheus"}
        else [],
        "rules": len(
            (_get("http://127.0.0.1:9090/api/v1/rules") or {"data": {"groups": []}})["data"][
                "groups"
            ]
        ),
        "alertmanager known to prometheus": bool(found and found["data"]["activeAlertmanagers"]),
        "traces at tempo": received.get("/v1/traces", 0),
        "logs at loki": received.get("/otlp/v1/logs", 0),
    }


def _own_machine(folder: Path) -> None:
    """Loopback up, the services' names, and a /run of its own for the secrets."""
    for command in (["ip", "link", "set", "lo", "up"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]):
        subprocess.run(command, check=True)
    hosts = folder / "hosts"
    lines = [f"{_address(name)} {name}" for name in NAMES]
    hosts.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def _address(name: str) -> str:
    return f"127.0.0.{NAMES.index(name) + 2}"


def _postgres(folder: Path) -> None:
    """As the image's start script does: set up with a password, the role of Sentinel, then over TCP."""
    [programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    data = folder / "postgres"
    sockets = Path("/run/postgresql")
    for made in (data, sockets):
        made.mkdir()
        shutil.chown(made, "postgres", "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username=ledger", "--auth-local=trust"]  # fmt: skip
    initdb += ["--pwfile=/run/secrets/ledger-password", *SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()]  # fmt: skip
    subprocess.run([*as_postgres, *initdb], check=True, stdout=subprocess.DEVNULL)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    options = SERVICES["postgres"]["command"][1:]
    _start(*as_postgres, str(programs / "postgres"), "-D", str(data), "-c", "listen_addresses=*", "-c", f"unix_socket_directories={sockets}", *options)  # fmt: skip
    psql = ["psql", "-h", str(sockets), "-U", "ledger"]
    _until(lambda: subprocess.run([*psql, "-d", "postgres", "-c", "select 1"], capture_output=True, check=False).returncode == 0)  # fmt: skip
    subprocess.run([*psql, "-d", "postgres", "-c", "create database ledger"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    script = (COMPOSE / "postgres/10-sentinel.sh").read_text()
    script = script.replace("/etc/sentinel/role.sql", str(ROOT / "deploy/postgres/role.sql"))
    environment = {**os.environ, "POSTGRES_DB": "ledger", "POSTGRES_USER": "ledger", "PGHOST": str(sockets)}  # fmt: skip
    subprocess.run(["sh", "-eu", "-c", script], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)  # fmt: skip


def _command(service: str, places: Mapping[str, object]) -> list[str]:
    """The service's arguments as the Compose file has them, with folders of the container replaced."""
    arguments: list[str] = [
        "--insecure-tenant-header" if argument.startswith("${LEDGER_WAY_IN:?") else argument
        for argument in SERVICES[service]["command"]
    ]
    for inside, outside in places.items():
        arguments = [argument.replace(inside, str(outside)) for argument in arguments]
    return arguments


def _volumes(folder: Path, service: str) -> dict[str, object]:
    """Folders of this machine in the place of the service's volumes, the longest path first."""
    mounted = sorted(
        (volume.split(":")[:2] for volume in SERVICES[service].get("volumes", [])),
        key=lambda pair: -len(pair[1]),
    )
    places: dict[str, object] = {}
    for source, path in mounted:
        (folder / source).mkdir(exist_ok=True)
        places[f"{path}/"] = f"{folder / source}/"
    return places


def _start(*command: str, environment: dict[str, str] | None = None) -> None:
    own = {**os.environ, **(environment or {})}
    _STARTED.append(
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr, env=own)
    )


def _listen(address: str, port: int, received: dict[str, int]) -> None:
    """Stand in for an OTLP endpoint: take everything, count it by path."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received[self.path] = received.get(self.path, 0) + 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer((address, port), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body = answer.read()
            return json.loads(body) if body.startswith(b"{") else body
    except (OSError, ValueError):
        return None


def _query(query: str) -> list[Any]:
    answer = _get("http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": query}))
    return list(answer["data"]["result"]) if answer else []


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < deadline:
        for process in _STARTED:
            if process.poll() is not None:
                told = f"{process.args!r} ended with {process.returncode}"
                raise RuntimeError(told)
        time.sleep(1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
