"""The configuration the demo's sidecar runs with, and the ports it names."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sentinel.app.demo.children import ChildError

WINDOW_S = 3
HOLD_S = 3 * WINDOW_S
_PORTS = range(15_000, 32_000)
_TRIES_COUNT = 200
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarPlace:
    """Where the sidecar will answer: the ledger must find it again after its restart."""

    web_port: int
    otlp_port: int

    @property
    def web_url(self) -> str:
        """Its API and pages."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def otlp_url(self) -> str:
        """Where telemetry goes."""
        return f"http://127.0.0.1:{self.otlp_port}"


def free_place() -> SidecarPlace:
    """Two loopback ports that are free now, and that the kernel gives to nobody who asks for any port.

    The sidecar binds them a moment later, and once more after its restart; a port from the kernel's own range
    could go to somebody else's connection in between.

    Raises:
        ChildError: Fewer than two of the tried ports are free.
    """
    ports = iter(_ports_outside_kernel_range())
    web = next(ports, None)
    otlp = next(ports, None)
    if web is None or otlp is None:
        msg = (
            f"the sidecar has no two free loopback ports among {_PORTS.start} to {_PORTS.stop - 1}"
        )
        raise ChildError(msg)
    return SidecarPlace(web_port=web, otlp_port=otlp)


def _ports_outside_kernel_range() -> Iterator[int]:
    low, high = _kernel_port_range()
    candidates = [port for port in _PORTS if not low <= port <= high] or list(_PORTS)
    for port in random.sample(candidates, k=min(_TRIES_COUNT, len(candidates))):
        if _is_free(port):
            yield port


def _kernel_port_range() -> tuple[int, int]:
    """First and last port of those the kernel chooses from; Linux's default where it does not say."""
    try:
        low, high = _KERNEL_RANGE.read_text(encoding="ascii").split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32_768, 60_999


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def sidecar_config(place: SidecarPlace, *, store: Path, webhook_url: str) -> str:
    """The file's text."""
    return f"""\
# The demo's configuration: defaults, but for ports, a shorter window and hold, and where pages go.
web:
  listen:
    port: {place.web_port}
receivers:
  otlp_http:
    listen:
      port: {place.otlp_port}
  otlp_grpc:
    enabled: false
series:
  window: {WINDOW_S}s
  lateness: 2s
store:
  directory: {store}
incidents:
  hold: {HOLD_S}s
  hold_window_count: 3
scoring:
  latency:
    deviation_min: 0.05  # the machine is shared with whatever else runs on it
senders:
  webhooks:
    - name: demo
      url: {webhook_url}
"""
