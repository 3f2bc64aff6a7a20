"""Servers of ours: HTTP, access, certificates."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(COUNTER, "sentinel_http_requests_total", "HTTP requests answered.", "route", "code"),
    metric(GAUGE, "sentinel_http_connections", "Connections now open.", "listener"),
    metric(
        COUNTER,
        "sentinel_http_connections_closed_total",
        "Connections closed by Sentinel: too many (told to come again, or `too_many_untold`), a head too slow, an answer not read.",
        "listener",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_access_refused_total",
        "Requests refused for want of a token, a known one, or one for the right scope.",
        "listener",
        "reason",
    ),
    metric(
        GAUGE,
        "sentinel_tls_certificate_expiry_timestamp_seconds",
        "When the certificate in use ends (Unix).",
        "listener",
    ),
    metric(
        COUNTER,
        "sentinel_tls_reloads_total",
        "Changes of the certificate files, taken or refused.",
        "listener",
        "result",
    ),
)
