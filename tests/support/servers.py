"""Real servers for tests: started on an ephemeral loopback port, waited for, and stopped in `finally`."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.skips import require_binary

__all__ = [
    "PrometheusServer",
    "prometheus_server",
    "require_binary",
    "running_process",
    "wait_until",
]

_LISTENING = re.compile(rb"Listening on.*?address=127\.0\.0\.1:(\d+)")


def wait_until(
    true: Callable[[], bool], *, what: str, timeout_s: float = 45.0, every_s: float = 0.05
) -> None:
    """Ask again and again until it is true; AssertionError naming `what` when the time is up."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline_s:
            msg = f"waited {timeout_s:g} s in vain for {what}"
            raise AssertionError(msg)
        time.sleep(every_s)


@contextmanager
def running_process(
    argv: list[str], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process with its output in a file; terminated, then killed, whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # the arguments are the test's own
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusServer:
    """A running Prometheus.

    Attributes:
        url: such as `http://127.0.0.1:41234`, without a slash at the end.
        log: file with its output.
    """

    url: str
    log: Path

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an API answer; AssertionError with Prometheus' own words when it says no."""
        address = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as response:  # loopback
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            msg = f"{path} {parameters}: {error.read().decode()}"
            raise AssertionError(msg) from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        result = self.get("/api/v1/query", query=expression)["result"]
        assert isinstance(result, list)
        return result

    def is_ready(self) -> bool:
        """Whether it serves queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:
                return bool(response.status == http.client.OK)
        except OSError:
            return False


@contextmanager
def prometheus_server(
    config: str, directory: Path, *, options: tuple[str, ...] = ()
) -> Iterator[PrometheusServer]:
    """Debian's Prometheus with this configuration, ready; its data is in `directory`."""
    binary = require_binary("prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    config_file = directory / "prometheus.yml"
    config_file.write_text(config, encoding="utf-8")
    log = directory / "prometheus.log"
    argv = [
        binary,
        f"--config.file={config_file}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        *options,
    ]
    with running_process(argv, log=log) as process:

        def port() -> int | None:
            if process.poll() is not None:
                msg = f"prometheus ended at once:\n{log.read_text(encoding='utf-8')}"
                raise AssertionError(msg)
            # It is told port 0, so that two runs never meet; only its log knows the port it got.
            found = _LISTENING.search(log.read_bytes())
            return int(found[1]) if found else None

        wait_until(lambda: port() is not None, what="Prometheus to listen")
        server = PrometheusServer(url=f"http://127.0.0.1:{port()}", log=log)
        wait_until(server.is_ready, what="Prometheus to be ready")
        yield server
