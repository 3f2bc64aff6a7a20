"""Debian's Alertmanager on ephemeral loopback ports, and a collector for what its webhook receiver sends."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from tests.support.servers import require_binary, wait_until

_LISTENING = re.compile(rb"Listening on.*?address=127\.0\.0\.1:(\d+)")

_CONFIG = """\
route:
  receiver: collector
  group_by: {group_by}
  group_wait: {group_wait}
  group_interval: {group_interval}
  repeat_interval: 4h
receivers:
  - name: collector
    webhook_configs:
      - url: {url}
        http_config:
          follow_redirects: false
"""


@dataclass
class Request:
    """One request a collector got."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        payload = json.loads(self.body)
        assert isinstance(payload, dict)
        return payload


@dataclass
class Collector:
    """A webhook receiver that answers as told and keeps what it got.

    Attributes:
        url: where to post.
        status: what it answers.
        reply_headers, reply_body: the rest of its answer.
    """

    url: str = ""
    status: int = 200
    reply_headers: dict[str, str] = field(default_factory=dict)
    reply_body: bytes = b""
    requests: list[Request] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def alerts(self, status: str | None = None) -> list[dict[str, Any]]:
        """Every alert it was told of, in order, with this status; the heartbeat left out."""
        with self.lock:
            payloads = [request.json for request in self.requests]
        return [
            alert
            for payload in payloads
            for alert in payload["alerts"]
            if status in (None, alert["status"])
            and alert["labels"]["alertname"] != "SentinelHeartbeat"
        ]

    def distinct(self, status: str | None = None) -> list[dict[str, Any]]:
        """The same without what it was told twice, word for word.

        A clock set by hand passes the time limit of a send while its answer is on the way on a busy machine: then the same
        page comes again, as delivery at least once allows.
        """
        found: list[dict[str, Any]] = []
        for alert in self.alerts(status):
            if alert not in found:
                found.append(alert)
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector on a port of its own."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            request = Request(headers=dict(self.headers.items()), body=self.rfile.read(length))
            with kept.lock:
                kept.requests.append(request)
                status, headers, body = kept.status, dict(kept.reply_headers), kept.reply_body
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A client that has read enough may hang up first.
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/pages"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerOptions:
    """How an Alertmanager notifies, and how it runs.

    Attributes:
        group_by, group_wait, group_interval: of its only route, as in its file.
        in_mesh: whether it listens for other instances.
        flags: more of them.
    """

    group_by: str = '["..."]'
    group_wait: str = "1s"
    group_interval: str = "1s"
    in_mesh: bool = False
    flags: tuple[str, ...] = ()


_PLAIN = AlertmanagerOptions()
# As quick as they may be, so that a test need not wait: the defaults settle for a minute.
_MESH_FLAGS = (
    "--cluster.gossip-interval=50ms",
    "--cluster.settle-timeout=5s",
    "--cluster.peer-timeout=2s",
    "--cluster.reconnect-interval=1s",
)


class AlertmanagerServer:
    """One Alertmanager that can be stopped, killed and started again on the same ports and data.

    Attributes:
        port: of its API; known after the first start.
        mesh_address: where other instances find it; known after the first start, when it is in a mesh.
        peers: the `mesh_address` of others; used from the next start on.
    """

    def __init__(
        self, directory: Path, *, webhook_url: str, options: AlertmanagerOptions = _PLAIN
    ) -> None:
        self._binary = require_binary("prometheus-alertmanager")
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._options = options
        self._config = directory / "alertmanager.yml"
        self._config.write_text(
            _CONFIG.format(
                url=webhook_url,
                group_by=options.group_by,
                group_wait=options.group_wait,
                group_interval=options.group_interval,
            )
        )
        self._log = directory / "alertmanager.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.mesh_address = "127.0.0.1:0"
        self.peers: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Its base URL; known after the first start."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it is ready; the first start picks the port."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # the arguments are the test's own
                [
                    self._binary,
                    f"--config.file={self._config}",
                    f"--storage.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    *self._mesh_flags(),
                    *self._options.flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._is_ready, what="Alertmanager to be ready")
        if self._options.in_mesh:
            mesh = self._mesh()
            (own,) = (peer for peer in mesh["peers"] if peer["name"] == mesh["name"])
            self.mesh_address = own["address"]

    def stop(self, *, kill: bool = False) -> None:
        """Stop in order, or kill; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows now."""
        found = self._get("alerts")
        assert isinstance(found, list)
        return found

    def is_in_mesh_of(self, count: int) -> bool:
        """Whether it sees so many instances, itself among them, and has settled."""
        mesh = self._mesh()
        return mesh["status"] == "ready" and len(mesh["peers"]) == count

    def notified_on_disk_ns(self) -> int:
        """When it last wrote down what it has notified; all of that is lost with a kill before it."""
        try:
            return (self._directory / "data" / "nflog").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _mesh(self) -> dict[str, Any]:
        status = self._get("status")
        found = status["cluster"]
        assert isinstance(found, dict)
        return found

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v2/{what}", timeout=5) as response:
            return json.load(response)

    def _mesh_flags(self) -> list[str]:
        if not self._options.in_mesh:
            return ["--cluster.listen-address="]
        return [
            f"--cluster.listen-address={self.mesh_address}",
            *(f"--cluster.peer={peer}" for peer in self.peers),
            *_MESH_FLAGS,
        ]

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        found = _LISTENING.search(self._log.read_bytes())
        if found is None:
            return False
        self.port = int(found[1])
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@contextmanager
def alertmanager_server(
    directory: Path,
    *,
    webhook_url: str,
    options: AlertmanagerOptions = _PLAIN,
    peers: tuple[str, ...] = (),
) -> Iterator[AlertmanagerServer]:
    """A running Alertmanager; stopped whatever happens."""
    server = AlertmanagerServer(directory, webhook_url=webhook_url, options=options)
    server.peers = peers
    try:
        server.start()
        yield server
    finally:
        server.stop()
