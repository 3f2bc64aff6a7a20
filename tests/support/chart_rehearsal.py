"""A scorer and a collecting sidecar as the chart sets them up, without a cluster: its configurations, certificate and tokens.

Run as root inside `unshare --net --mount --pid`, with a folder that holds what the chart made: `scorer/`, `sidecar/`, `tls/`,
`tokens/`, `secret/`, `past/`, and `prometheus/` with a past; `backfill.json` has the arguments of the container before the scorer. Names in the cluster
lead to loopback. NATS and the Prometheus that has the past are Debian's; Prometheus' way in for OTLP is a stand-in that keeps what it is sent, for Debian's is too old for it. Prints one JSON document on what was seen.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "sentinel-scorer.sentinel.svc"
NAMES = (
    NAME,
    "prometheus-operated.monitoring.svc",
    "nats-headless.nats.svc",
    "prometheus-past.monitoring.svc",
)
PATIENCE_S = 60.0
_COUNTED = {
    "resourceMetrics": [
        {
            "resource": {
                "attributes": [{"key": "service.name", "value": {"stringValue": "ledger-poster"}}]
            },
            "scopeMetrics": [
                {
                    "metrics": [
                        {
                            "name": "ledger.transfers.posted",
                            "sum": {
                                "aggregationTemporality": 2,
                                "isMonotonic": True,
                                "dataPoints": [
                                    {"asInt": "7", "timeUnixNano": str(time.time_ns())}
                                ],
                            },
                        }
                    ]
                }
            ],
        }
    ]
}


def main(folder: Path) -> None:
    """Start both, wait until the scorer knows its collector, and ask it as Prometheus would."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    # In a cluster each has an address of its own.
    elsewhere = {"SENTINEL_WEB__LISTEN__PORT": "9650", "SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT": "4328"}  # fmt: skip
    elsewhere["SENTINEL_RECEIVERS__OTLP_GRPC__LISTEN__PORT"] = "4327"
    taken: dict[str, bytes] = {}
    _listen(9090, taken)
    nats = ["nats-server", "--jetstream", "--store_dir", str(folder / "nats"), "--http_port", "8222"]  # fmt: skip
    subprocess.Popen(nats, stdout=sys.stderr, stderr=sys.stderr)
    # At the first start it is not there yet: it is read once it is, and not again.
    first = _before(folder)
    past = ["prometheus", f"--config.file={folder / 'prometheus/prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus/data'}", "--web.listen-address=127.0.0.1:9091"]  # fmt: skip
    subprocess.Popen(past, stdout=sys.stderr, stderr=sys.stderr)
    _until(lambda: "Ready" in _page("http://127.0.0.1:9091/-/ready"))
    second, third = _before(folder), _before(folder)
    scorer = _start(folder, "scorer", {})
    _until(lambda: "sentinel_build_info" in _page("http://127.0.0.1:9641/metrics"))
    sidecar = _start(folder, "sidecar", elsewhere)
    known = re.compile(r"(?m)^sentinel_collectors(?:\{[^}]*\})? 1(?:\.0)?$")
    _until(lambda: bool(known.search(_page("http://127.0.0.1:9641/metrics"))))
    asked = re.compile(r'(?m)^sentinel_scraper_up\{[^}]*"nats"[^}]*\} 1(?:\.0)?$')
    _until(lambda: bool(asked.search(_page("http://127.0.0.1:9641/metrics"))))
    _send("http://127.0.0.1:4328/v1/metrics")
    _until(lambda: bool(taken))
    token = (folder / "tokens/read").read_text()
    context = ssl.create_default_context(cafile=str(folder / "tls/ca.crt"))
    series = f"https://{NAME}:9640/metrics/series"
    listed = _asked(folder, "incidents", "-o", "json")
    ready = _asked(folder, "check", "ready")
    seen = {
        "containers before the scorer end with": [
            one.returncode for one in (first, second, third)
        ],
        "the past is read": "Stored." in second.stdout,
        "and not again": "is there already" in third.stderr and not third.stdout,
        "incidents by its configuration": [listed.returncode, json.loads(listed.stdout or "null")],
        "it is found by its configuration": "runs at https://localhost:9640 and is ready"
        in " ".join(ready.stdout.split()),
        "the scorer knows its collector": bool(
            known.search(_page("http://127.0.0.1:9641/metrics"))
        ),
        "verdicts with the token": _status(series, context, token),
        "verdicts without": _status(series, context, ""),
        "the scorer asks the queue": bool(asked.search(_page("http://127.0.0.1:9641/metrics"))),
        "the ledger's metrics at prometheus": {
            path: b"ledger.transfers.posted" in body for path, body in taken.items()
        },
        "both run": scorer.poll() is None and sidecar.poll() is None,
    }
    sys.stdout.write(json.dumps(seen))
    sys.stdout.flush()


def _before(folder: Path) -> subprocess.CompletedProcess[str]:
    """The container before the scorer, on the scorer's store."""
    arguments = json.loads((folder / "backfill.json").read_text())
    words = [str(folder / "past") if one == "/etc/sentinel" else one for one in arguments]
    return _ran(folder, words)


def _asked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a person types in the scorer's pod."""
    return _ran(folder, [*words, "--config", str(folder / "scorer")])


def _ran(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "sentinel"), *words]
    store = {"SENTINEL_STORE__DIRECTORY": str(folder / "scorer-store")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **store},
    )
    sys.stderr.write(done.stdout + done.stderr)
    return done


def _start(folder: Path, role: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [
        str(Path(sys.executable).parent / "sentinel"),
        "run",
        "--config",
        str(folder / role),
    ]
    store = {"SENTINEL_STORE__DIRECTORY": str(folder / f"{role}-store")}
    return subprocess.Popen(
        command, stdout=sys.stderr, stderr=sys.stderr, env={**os.environ, **store, **environment}
    )


def _listen(port: int, taken: dict[str, bytes]) -> None:
    """Keep the last body that is sent to each path, and answer as OTLP has it."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            taken[self.path] = gzip.decompress(body) if zipped else body
            self.send_response(200)
            self.send_header("Content-Type", self.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _send(url: str) -> None:
    """The ledger's metrics as its sidecar hears them; again until it listens."""
    request = urllib.request.Request(
        url, json.dumps(_COUNTED).encode(), {"Content-Type": "application/json"}
    )

    def sent() -> bool:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    _until(sent)


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


def _status(url: str, context: ssl.SSLContext, token: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
