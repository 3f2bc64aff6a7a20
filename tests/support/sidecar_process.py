"""`sentinel run` as a process of its own, on free ports, with windows of a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support.otlp_messages import traces
from tests.support.servers import wait_until
from tests.support.whole_app import Calls

SECOND_NS = 10**9


def write_config(
    folder: Path, *, webhook_url: str, more_web: str = "", more_hook: str = ""
) -> Path:
    """A file with free ports, a store in the folder, and pages to the URL."""
    path = folder / "sentinel.yaml"
    path.write_text(
        f"""
receivers: {{otlp_http: {{listen: {{port: 0}}}}, otlp_grpc: {{enabled: false}}}}
series: {{window: 1s, lateness: 200ms, tick: 100ms}}
store: {{directory: {folder / "store"}}}
incidents: {{hold: 3s, guards: {{error_window_count: 1}}}}
senders: {{webhooks: [{{name: hook, url: "{webhook_url}"{more_hook}}}]}}
web: {{listen: {{port: 0{more_web}}}}}
"""
    )
    return path


def command(*arguments: str) -> list[str]:
    """The command as a person types it, by this interpreter."""
    return [sys.executable, "-m", "sentinel", *arguments]


def environment() -> dict[str, str]:
    """Nothing of ours but the path."""
    return {"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}


class SidecarProcess:
    """A running `sentinel run`."""

    def __init__(
        self, process: subprocess.Popen[bytes], addresses: dict[str, Any], log: Path
    ) -> None:
        self.process = process
        self.addresses = addresses
        self.web_url: str = addresses["web_url"]
        self.pid: int = addresses["pid"]
        self._otlp_url: str = addresses["otlp_http_url"]
        self._log = log

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def send(self, calls: Calls, *, ago_s: float = 0.1) -> int:
        """The calls of a second or so until now; the status of the answer."""
        start_ns = time.time_ns() - round(ago_s * SECOND_NS)
        spans = calls.spans(start_ns)
        for number, span in enumerate(spans):
            span.end_time_unix_nano = start_ns + number * 1_000_000
            span.start_time_unix_nano = span.end_time_unix_nano - 10_000_000
            span.span_id = (start_ns + number).to_bytes(8, "big")
        body = traces(*spans, service=calls.service).SerializeToString()
        request = urllib.request.Request(  # loopback
            f"{self._otlp_url}/v1/traces",
            data=body,
            headers={"Content-Type": "application/x-protobuf"},
        )
        return _status_of(request)

    def get(self, path: str, *, token: str = "") -> str:
        """The text of a page, whatever its status."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.web_url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return str(reply.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, newest first."""
        return list(json.loads(self.get("/api/v1/incidents"))["incidents"])

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def sidecar_process(
    config: Path, *, name: str = "run", more_environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[SidecarProcess]:
    """Started and ready; killed at the end when it still runs."""
    ready, log = config.parent / f"{name}.ready", config.parent / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("run", "--config", str(config), "--ready-file", str(ready)),
            env={**environment(), **more_environment},
            cwd=config.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(
            lambda: ready.exists() or process.poll() is not None, what="the sidecar to be ready"
        )
        assert process.poll() is None, log.read_text()
        yield SidecarProcess(process, json.loads(ready.read_text()), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def _status_of(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
