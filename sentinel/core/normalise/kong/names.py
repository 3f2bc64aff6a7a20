"""What Kong's sources call the same things: its http-log records, its metrics and its spans agree on places and series.

| place | of |
|---|---|
| `{service} edge {route}` | calls that the gateway answered; the route's name, else its id, else `other` |
| `{service} stream {route}` | sessions of TCP, TLS and UDP routes |
| `{service} tier {tier}` | what consumers of a tier asked for |

| signal | of each |
|---|---|
| `rate_limited_per_s` | 429 that Kong answered itself |
| `denied_per_s` | 403 that Kong answered itself: ip-restriction, acl |
| `unauthenticated_per_s` | 401 that Kong answered itself |
| `refused_per_s` | any other 4xx that Kong answered itself |
| `gateway_errors_per_s` | 5xx that Kong made: no upstream, a time-out, a plugin that failed |
| `upstream_errors_per_s` | 5xx that the upstream answered |
| `requests_per_s` | requests of a tier |
| `kong_latency_p95_s`, `upstream_latency_p95_s` | time in Kong and its plugins; time until the upstream's first byte |
| `failed_tries_per_s` | tries to reach an upstream that failed |
"""

from __future__ import annotations

from sentinel.core.normalise.labels import OTHER, label_of

STAGE_EDGE = "edge"
STAGE_STREAM = "stream"
STAGE_TIER = "tier"

RATE_LIMITED = "rate_limited_per_s"
DENIED = "denied_per_s"
UNAUTHENTICATED = "unauthenticated_per_s"
REFUSED = "refused_per_s"
GATEWAY_ERRORS = "gateway_errors_per_s"
UPSTREAM_ERRORS = "upstream_errors_per_s"
REQUESTS = "requests_per_s"
FAILED_TRIES = "failed_tries_per_s"
KONG_LATENCY = "kong_latency_p95_s"
UPSTREAM_LATENCY = "upstream_latency_p95_s"

OUTCOMES = (
    RATE_LIMITED,
    DENIED,
    UNAUTHENTICATED,
    REFUSED,
    GATEWAY_ERRORS,
    UPSTREAM_ERRORS,
)
"""What may become of a call that is worth a series of its own at each route."""

FAILED_STATUS = 500
_BY_GATEWAY = {429: RATE_LIMITED, 403: DENIED, 401: UNAUTHENTICATED}


def outcome_of(status: int, *, by_gateway: bool) -> str:
    """The series that an answer belongs to, or "" when it is none of note.

    >>> outcome_of(429, by_gateway=True), outcome_of(429, by_gateway=False), outcome_of(502, by_gateway=True)
    ('rate_limited_per_s', '', 'gateway_errors_per_s')
    """
    if status >= FAILED_STATUS:
        return GATEWAY_ERRORS if by_gateway else UPSTREAM_ERRORS
    if not by_gateway or status < 400:
        return ""
    return _BY_GATEWAY.get(status, REFUSED)


def route_label(name: str) -> str:
    """A route as a label; `other` for requests that matched none."""
    return label_of(name) or OTHER
