"""Neither own telemetry nor what is forwarded goes to an own receiver, and no page of verdicts is scraped by who made it.

It would be watched again, and forwarded again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from sentinel.errors import ConfigProblem
from sentinel.runtime.config.text import Origin
from sentinel.runtime.listen import ListenConfig, bind_address, listening
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.senders.otlp_forward import ForwardConfig
from sentinel.senders.self_telemetry import SelfTelemetryConfig

_VERDICTS = "/metrics/series"


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
        receiver = _listener_at(url, receivers, "receivers")
        if receiver:
            message = f"is {receiver}, a receiver of this sidecar: give the endpoint of a collector instead"
            problems.append(origins.get(path, Origin()).problem(path, message))
    return problems


def own_page_problems(
    targets: Sequence[PrometheusTargetConfig], web: object, origins: Mapping[str, Origin]
) -> list[ConfigProblem]:
    """A problem for each target that is the page of verdicts of this sidecar.

    Each series on it would be a series, with verdicts of its own on the same page, until there is no room for more. The
    page of self-metrics does not grow by being read, and may be watched.
    """
    problems = []
    for number, target in enumerate(targets):
        if urlsplit(target.url).path.rstrip("/") == _VERDICTS and _listener_at(
            target.url, web, "web"
        ):
            path = f"scrapers.prometheus[{number}].url"
            message = "is this sidecar's own page of verdicts, which would grow by being watched: leave it to a Prometheus"
            problems.append(origins.get(path, Origin()).problem(path, message))
    return problems


def _listener_at(url: str, section: object, name: str) -> str:
    """The part of a section of this configuration that listens at an address, or ""."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for path, listen in listening(section, name):
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
