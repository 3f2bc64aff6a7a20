"""The configuration the demo's sidecar runs with, and the ports it names."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

WINDOW_S = 3
HOLD_S = 3 * WINDOW_S


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
    """Two loopback ports that are free now."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        web, otlp = (int(one.getsockname()[1]) for one in sockets)
    finally:
        for one in sockets:
            one.close()
    return SidecarPlace(web_port=web, otlp_port=otlp)


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
