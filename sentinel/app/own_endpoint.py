"""Neither own telemetry nor what is forwarded goes to an own receiver: it would be watched again, and forwarded again."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from sentinel.errors import ConfigProblem
from sentinel.runtime.config_text import Origin
from sentinel.runtime.listen import ListenConfig, bind_address, listening
from sentinel.senders.otlp_forward import ForwardConfig
from sentinel.senders.self_telemetry import SelfTelemetryConfig


def own_endpoint_problems(
    self_telemetry: SelfTelemetryConfig,
    forward: ForwardConfig,
    receivers: object,
    origins: Mapping[str, Origin],
) -> list[ConfigProblem]:
    """A problem for each endpoint of ours that is a receiver of this sidecar.

    What is forwarded to it would go round for ever. A name that resolves to this machine by an entry of DNS is not seen
    through; own telemetry carries `sentinel.self_telemetry` as a resource attribute, and no span is made for a
    request, so a loop of it does not grow.
    """
    endpoints = {
        f"forward.endpoints[{number}].url": one.url for number, one in enumerate(forward.endpoints)
    }
    if self_telemetry.is_asked_for:
        endpoints["self_telemetry.endpoint"] = self_telemetry.endpoint
    problems = []
    for path, url in endpoints.items():
        receiver = _own_receiver(url, receivers)
        if receiver:
            message = f"is {receiver}, a receiver of this sidecar: give the endpoint of a collector instead"
            problems.append(origins.get(path, Origin()).problem(path, message))
    return problems


def _own_receiver(url: str, receivers: object) -> str:
    """The receiver of this sidecar that listens at an address, or ""."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for path, listen in listening(receivers, "receivers"):
        if listen.port == port and _is_here(parts.hostname or "", listen):
            return path.removesuffix(".listen")
    return ""


def _is_here(host: str, listen: ListenConfig) -> bool:
    bound = ipaddress.ip_address(bind_address(listen.address))
    if host.lower().rstrip(".") in {"localhost", "ip6-localhost", socket.gethostname().lower()}:
        return bound.is_loopback or bound.is_unspecified
    try:
        # As the system reads it: `127.1` and `0x7f000001` are addresses too.
        meant = ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        try:
            meant = ipaddress.ip_address(host)
        except ValueError:
            return False
    mapped = meant.ipv4_mapped if isinstance(meant, ipaddress.IPv6Address) else None
    meant = mapped or meant
    here = bound.is_unspecified and (meant.is_loopback or meant.is_unspecified)
    return here or meant == bound or (meant.is_unspecified and bound.is_loopback)
