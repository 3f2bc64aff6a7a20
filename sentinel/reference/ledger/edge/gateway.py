"""The edge's policies as Kong says them: a declarative configuration, made of the same tables.

Kong stands in front and stops what is far too much; the edge decides. So Kong refuses nothing that the edge
would let pass: its windows are fixed and know no burst, and each is as wide as a tenant's limit can fill it.
It knows a tenant by the header X-Tenant, which the edge holds against the credentials; a request without
that header is limited by its address. A tenant with terms of its own has a service of its own: routes that
match its header, with its limit and its networks.

Of version 1, Kong makes version 2 wherever a body is one object; it cannot reach into the items of a batch,
which the edge does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sentinel.reference.ledger.domain.limits import STANDARD_LIMIT, Limit
from sentinel.reference.ledger.domain.tenant import Network
from sentinel.reference.ledger.edge.contract import CONTRACT_PATH
from sentinel.reference.ledger.edge.endpoint_routes import ENDPOINT_ROUTES
from sentinel.reference.ledger.edge.export_routes import EXPORT_ROUTES
from sentinel.reference.ledger.edge.versions.table import READS, WRITES, Write

TENANT_HEADER: Final = "X-Tenant"
VERSION_HEADER: Final = "X-Ledger-Version"

_GLOBAL: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "name": "correlation-id",
        "config": {
            "header_name": "X-Correlation-ID",
            "generator": "uuid",
            "echo_downstream": True,
        },
    },
    {
        "name": "http-log",
        "config": {
            "http_endpoint": "http://127.0.0.1:9880/kong",
            "queue": {"max_batch_size": 100, "max_coalescing_delay": 1},
        },
    },
    {
        "name": "prometheus",
        "config": {
            "status_code_metrics": True,
            "latency_metrics": True,
            "bandwidth_metrics": True,
            "upstream_health_metrics": True,
        },
    },
    {
        "name": "opentelemetry",
        "config": {
            "traces_endpoint": "http://127.0.0.1:4318/v1/traces",
            "resource_attributes": {"service.name": "kong"},
        },
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is a tenant's own: its limit, and where it may ask from (anywhere when empty)."""

    tenant: str
    limit: Limit
    networks: tuple[Network, ...] = ()


def gateway_document(
    terms: Sequence[Terms], *, edge_url: str, standard: Limit = STANDARD_LIMIT
) -> dict[str, Any]:
    """Return the configuration.

    Args:
        terms: tenants that have other terms than the standard tier's.
        edge_url: where Kong finds the edge.
        standard: what everybody else may.
    """
    own = [_service(edge_url, one.limit, one) for one in terms]
    health = {"name": "health", "paths": ["/healthz"], "methods": ["GET"], "strip_path": False}
    everybody = _service(edge_url, standard, None)
    # For the kubelet: it asks the edge through the gateway, and is no tenant.
    apart = {
        **_upstream("ledger-health", edge_url),
        "routes": [health],
    }
    return {
        "_format_version": "3.0",
        "services": [everybody, *own, apart],
        "plugins": [dict(one) for one in _GLOBAL],
    }


def limit_windows(limit: Limit) -> dict[str, int]:
    """Return the most that conforming requests can come to in a fixed second and a fixed minute."""
    return {"second": limit.burst + limit.rps, "minute": limit.burst + 60 * limit.rps}


def _service(edge_url: str, limit: Limit, terms: Terms | None) -> dict[str, Any]:
    suffix = f"-{terms.tenant}" if terms is not None else ""
    by: dict[str, Any] = {"limit_by": "header", "header_name": TENANT_HEADER}
    if terms is not None:
        by = {"limit_by": "service"}
    plugins: list[dict[str, Any]] = [
        {
            "name": "rate-limiting",
            "config": {
                **limit_windows(limit),
                **by,
                "policy": "local",
                "fault_tolerant": True,
                # Those of the edge are exact, and would be written over.
                "hide_client_headers": True,
            },
        }
    ]
    if terms is not None and terms.networks:
        allow = [str(network) for network in terms.networks]
        plugins.append({"name": "ip-restriction", "config": {"allow": allow, "status": 403}})
    return {
        **_upstream(f"ledger{suffix}", edge_url),
        "plugins": plugins,
        "routes": [_route(one, suffix, terms) for one in _routes()],
    }


def _upstream(name: str, edge_url: str) -> dict[str, Any]:
    return {
        "name": name,
        "url": edge_url,
        "connect_timeout": 1000,
        "read_timeout": 10000,
        "write_timeout": 10000,
        # A write that was cut off is not sent again by the gateway: its client knows the idempotency key.
        "retries": 0,
    }


def _route(route: Mapping[str, Any], suffix: str, terms: Terms | None) -> dict[str, Any]:
    named = {**route, "name": f"{route['name']}{suffix}", "strip_path": False}
    if terms is not None:
        named["headers"] = {TENANT_HEADER: [terms.tenant]}
    return named


def _routes() -> list[dict[str, Any]]:
    """Return the routes of the table, without what is a tenant's own."""
    routes: list[dict[str, Any]] = []
    for write in WRITES:
        if not write.form.each:
            routes.append(
                {
                    "name": write.name,
                    "paths": [_path(write.v1)],
                    "methods": ["POST"],
                    "plugins": [_transformer(write)],
                }
            )
            paths = [_path(write.v2)]
        else:
            paths = [_path(write.v1), _path(write.v2)]
        routes.append({"name": f"{write.name}-v2", "paths": paths, "methods": ["POST"]})
    routes += [
        {"name": read.name, "paths": [_path(read.v1), _path(read.v2)], "methods": ["GET"]}
        for read in READS
    ]
    # All in one: a method that one of them does not take is the edge's to refuse.
    routes += [
        {
            "name": name,
            "paths": [_path(path) for path, _ in table],
            "methods": sorted({method for _, names in table for method in names}),
        }
        for name, table in (("webhook-endpoints", ENDPOINT_ROUTES), ("exports", EXPORT_ROUTES))
    ]
    routes.append({"name": "contract", "paths": [_path(CONTRACT_PATH)], "methods": ["GET"]})
    return routes


def _transformer(write: Write) -> dict[str, Any]:
    """Return the plugin that makes version 2 of a request of version 1.

    It knows no objects, so places are written as one name, which the edge reads. The version that the client
    speaks goes along: it is answered in that.
    """
    config: dict[str, Any] = {
        "replace": {"uri": re.sub(r"\{(\w+)\}", r"$(uri_captures.\1)", write.v2)},
        "add": {"headers": [f"{VERSION_HEADER}:1"]},
    }
    if write.form.moves:
        config["rename"] = {"body": [f"{old}:{new}" for old, new in write.form.moves.items()]}
    return {"name": "request-transformer", "config": config}


def _path(path: str) -> str:
    """Return a path as a regular expression of Kong's, whole: a longer one is not this one."""
    return "~" + re.sub(r"\{(\w+)\}", r"(?<\1>[^/]+)", path) + "$"
