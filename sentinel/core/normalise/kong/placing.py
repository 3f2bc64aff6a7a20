"""What the series of Kong's prometheus plugin are: parts of calls and outcomes, or gauges of the gateway itself.

| metric (3.x; 2.x in brackets) | becomes |
|---|---|
| kong_http_requests_total (kong_http_status) | calls of a route, failed from 500 on; its outcomes, of 3.x; its tiers, per consumer |
| kong_request_latency_ms (kong_latency, type request) | how long those calls took |
| kong_kong_latency_ms, kong_upstream_latency_ms (kong_latency, other types) | `kong_latency_p95_s`, `upstream_latency_p95_s` of a route |
| kong_stream_sessions_total, kong_session_duration_ms | calls of a route at `stream` |
| kong_bandwidth_bytes (kong_bandwidth) | `ingress_bytes_per_s`, `egress_bytes_per_s` of a route |
| kong_upstream_target_health | `healthy_targets_ratio`, `unhealthy_targets_count` of an upstream |
| kong_nginx_connections_total (kong_nginx_http_current_connections) | `connections_active_count` and its like; of what only grows, `connections_accepted_per_s` |
| kong_nginx_requests_total, kong_nginx_timers, kong_nginx_metric_errors_total | `nginx_requests_per_s`, `timers_running_count`, `timers_pending_count`, `metric_errors_per_s` |
| kong_datastore_reachable, kong_control_plane_connected | as they are: 1 or 0 |
| kong_memory_lua_shared_dict_bytes, _total_bytes | `shared_dict_used_ratio` of each |
| kong_memory_workers_lua_vms_bytes | `lua_vm_bytes`, the mean of the workers |

Any other metric is not taken: another plugin's page is for the scraper `prometheus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from sentinel.core.model import Placed, Reading, Scope
from sentinel.core.normalise.kong import names as kong_names
from sentinel.core.normalise.kong.names import route_label
from sentinel.core.normalise.labels import label_of
from sentinel.core.normalise.prometheus import SeriesName

STAGE_GATEWAY = "gateway"
STAGE_UPSTREAM = "upstream"
_MILLISECONDS = 1e-3


class Part(Enum):
    """What a series gives to what is put together of many."""

    REQUESTS = "requests"
    REQUEST_TIMES = "request_times"
    KONG_TIMES = "kong_times"
    UPSTREAM_TIMES = "upstream_times"
    SESSIONS = "sessions"
    SESSION_TIMES = "session_times"
    TARGET_HEALTH = "target_health"
    DICT_USED = "dict_used"
    DICT_TOTAL = "dict_total"


TIMES = {
    Part.REQUEST_TIMES,
    Part.KONG_TIMES,
    Part.UPSTREAM_TIMES,
    Part.SESSION_TIMES,
}
"""Parts that are histograms."""

_PARTS: Mapping[str, Part] = {
    "kong_http_requests_total": Part.REQUESTS,
    "kong_http_requests": Part.REQUESTS,
    "kong_http_status": Part.REQUESTS,
    "kong_request_latency_ms": Part.REQUEST_TIMES,
    "kong_kong_latency_ms": Part.KONG_TIMES,
    "kong_upstream_latency_ms": Part.UPSTREAM_TIMES,
    "kong_stream_sessions_total": Part.SESSIONS,
    "kong_stream_sessions": Part.SESSIONS,
    "kong_session_duration_ms": Part.SESSION_TIMES,
    "kong_upstream_target_health": Part.TARGET_HEALTH,
    "kong_memory_lua_shared_dict_bytes": Part.DICT_USED,
    "kong_memory_lua_shared_dict_total_bytes": Part.DICT_TOTAL,
}
_PARTS_OF_LATENCY: Mapping[str, Part] = {
    "request": Part.REQUEST_TIMES,
    "kong": Part.KONG_TIMES,
    "upstream": Part.UPSTREAM_TIMES,
}
_READING_OF_PART: Mapping[Part, Reading] = {
    Part.REQUESTS: Reading.RATE,
    Part.SESSIONS: Reading.RATE,
    Part.TARGET_HEALTH: Reading.LEVEL,
    Part.DICT_USED: Reading.LEVEL,
    Part.DICT_TOTAL: Reading.LEVEL,
}
_GROWING = frozenset({"accepted", "handled", "total"})
"""States of connections that only grow, although the plugin calls them gauges."""


class _Gauge(NamedTuple):
    signal: str
    reading: Reading = Reading.LEVEL
    route: str = "all"


_GAUGES: Mapping[str, _Gauge] = {
    "kong_nginx_requests_total": _Gauge("nginx_requests_per_s", Reading.RATE),
    "kong_nginx_metric_errors_total": _Gauge("metric_errors_per_s", Reading.RATE),
    "kong_nginx_metric_errors": _Gauge("metric_errors_per_s", Reading.RATE),
    "kong_datastore_reachable": _Gauge("datastore_reachable"),
    "kong_control_plane_connected": _Gauge("control_plane_connected"),
    "kong_memory_workers_lua_vms_bytes": _Gauge("lua_vm_bytes"),
}
_CONNECTIONS = frozenset({"kong_nginx_connections_total", "kong_nginx_http_current_connections"})
_BANDWIDTH = frozenset({"kong_bandwidth_bytes", "kong_bandwidth"})


def part_of(name: str, labels: Mapping[str, str]) -> Part | None:
    """What a series is a part of, or None for a gauge of its own and what is not taken."""
    if name == "kong_latency":
        return _PARTS_OF_LATENCY.get(labels.get("type", ""))
    return _PARTS.get(name)


class KongPlacing:
    """Places the series of one gateway; those that are parts are put together by `kong.metrics`."""

    def __init__(self, service: str) -> None:
        self._service = service

    def place(self, series: SeriesName) -> Placed | None:
        """What a series is; None when it is not taken."""
        name, labels = series.name, series.labels
        part = part_of(name, labels)
        if part is not None:
            # Its place is that of what it is put together to; nothing asks for the one given here.
            return Placed(
                scope=Scope(self._service, STAGE_GATEWAY, "parts"),
                signal=part.value,
                reading=_READING_OF_PART.get(part, Reading.DISTRIBUTION),
                scale=_MILLISECONDS if part in TIMES else 1.0,
            )
        if name in _BANDWIDTH:
            return self._bandwidth(labels)
        if name in _CONNECTIONS:
            return self._connections(labels)
        if name == "kong_nginx_timers":
            state = labels.get("state", "")
            if state not in ("running", "pending"):
                return None
            return self._gauge(_Gauge(f"timers_{state}_count"))
        gauge = _GAUGES.get(name)
        return None if gauge is None else self._gauge(gauge)

    def _gauge(self, gauge: _Gauge) -> Placed:
        return Placed(
            scope=Scope(self._service, STAGE_GATEWAY, gauge.route),
            signal=gauge.signal,
            reading=gauge.reading,
        )

    def _bandwidth(self, labels: Mapping[str, str]) -> Placed | None:
        direction = labels.get("direction") or labels.get("type", "")
        if direction not in ("ingress", "egress"):
            return None
        return Placed(
            scope=Scope(
                self._service, kong_names.STAGE_EDGE, route_label(labels.get("route", ""))
            ),
            signal=f"{direction}_bytes_per_s",
            reading=Reading.RATE,
        )

    def _connections(self, labels: Mapping[str, str]) -> Placed | None:
        state = labels.get("state", "")
        if not state.isidentifier() or len(state) > 16:
            return None
        route = label_of(labels.get("subsystem", "")) or "http"
        if state in _GROWING:
            if state == "total":
                # Requests, which kong_nginx_requests_total tells of as well.
                return None
            return self._gauge(_Gauge(f"connections_{state}_per_s", Reading.RATE, route))
        return self._gauge(_Gauge(f"connections_{state}_count", Reading.LEVEL, route))
