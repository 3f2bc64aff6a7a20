"""A Rust collector to stand beside: the binary that the package `rotel` brings, taking OTLP into its blackhole.

`make bench-deps` installs it from a lock of its own; without it figures are printed for Sentinel alone.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotel:
    """A running collector.

    Attributes:
        pid: its process.
        http_port, grpc_port: where it takes OTLP.
    """

    pid: int
    http_port: int
    grpc_port: int


def agent() -> Path | None:
    """The binary, or None where the package is not installed."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).with_name("rotel-agent")
    return path if path.exists() else None


def version() -> str:
    """What is installed, for the line above the figures."""
    from importlib.metadata import version as version_of

    return f"rotel {version_of('rotel')}"


@contextmanager
def running() -> Iterator[Rotel]:
    """The collector on two free ports of the loopback, ended when the caller is done."""
    path = agent()
    if path is None:
        message = "rotel is not installed: make bench-deps"
        raise RuntimeError(message)
    http_port, grpc_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "ROTEL_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http_port}",
            "ROTEL_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc_port}",
            "ROTEL_EXPORTER": "blackhole",
            "ROTEL_PID_FILE": f"{folder}/rotel.pid",
            "ROTEL_LOG_FILE": f"{folder}/rotel.log",
        }
        process = subprocess.Popen(
            [path, "start"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for port in (http_port, grpc_port):
                _wait_for(port, process)
            yield Rotel(pid=process.pid, http_port=http_port, grpc_port=grpc_port)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    message = f"rotel does not listen on port {port}"
    raise RuntimeError(message)
