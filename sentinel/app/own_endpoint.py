"""Own telemetry never goes to an own receiver: it would be watched by what it tells of, and be forwarded again."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from sentinel.errors import ConfigProblem
from sentinel.runtime.config_text import Origin
from sentinel.runtime.listen import ListenConfig, bind_address, listening
from sentinel.senders.self_telemetry import SelfTelemetryConfig

_PATH = "self_telemetry.endpoint"


def self_telemetry_problems(
    config: SelfTelemetryConfig, receivers: object, origins: Mapping[str, Origin]
) -> list[ConfigProblem]:
    """A problem when own telemetry is pointed at a receiver of this sidecar.

    A name that resolves to this machine by an entry of DNS is not seen through; what is sent carries
    `sentinel.self_telemetry` as a resource attribute, and no span is made for a request, so a loop does not grow.
    """
    if not config.is_asked_for:
        return []
    parts = urlsplit(config.endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for path, listen in listening(receivers, "receivers"):
        if listen.port == port and _is_here(parts.hostname or "", listen):
            message = f"is {path.removesuffix('.listen')}, a receiver of this sidecar: give the endpoint of a collector instead"
            origin = origins.get(_PATH, Origin())
            return [origin.problem(_PATH, message)]
    return []


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
