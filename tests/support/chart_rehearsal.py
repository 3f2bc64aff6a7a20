"""A scorer and a collecting sidecar as the chart sets them up, without a cluster: its configurations, certificate and tokens.

Run as root inside `unshare --net --mount --pid`, with a folder that holds what the chart made: `scorer/`, `sidecar/`, `tls/`,
`tokens/`, `secret/`. The scorer's name in the cluster leads to loopback. Prints one JSON document on what was seen.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

NAME = "sentinel-scorer.sentinel.svc"
PATIENCE_S = 60.0


def main(folder: Path) -> None:
    """Start both, wait until the scorer knows its collector, and ask it as Prometheus would."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    # In a cluster each has an address of its own.
    elsewhere = {"SENTINEL_WEB__LISTEN__PORT": "9650", "SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT": "4328"}  # fmt: skip
    elsewhere["SENTINEL_RECEIVERS__OTLP_GRPC__LISTEN__PORT"] = "4327"
    scorer = _start(folder, "scorer", {})
    _until(lambda: "sentinel_build_info" in _page("http://127.0.0.1:9641/metrics"))
    sidecar = _start(folder, "sidecar", elsewhere)
    known = re.compile(r"(?m)^sentinel_collectors(?:\{[^}]*\})? 1(?:\.0)?$")
    _until(lambda: bool(known.search(_page("http://127.0.0.1:9641/metrics"))))
    token = (folder / "tokens/read").read_text()
    context = ssl.create_default_context(cafile=str(folder / "tls/ca.crt"))
    series = f"https://{NAME}:9640/metrics/series"
    seen = {
        "the scorer knows its collector": bool(
            known.search(_page("http://127.0.0.1:9641/metrics"))
        ),
        "verdicts with the token": _status(series, context, token),
        "verdicts without": _status(series, context, ""),
        "both run": scorer.poll() is None and sidecar.poll() is None,
    }
    sys.stdout.write(json.dumps(seen))
    sys.stdout.flush()


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
