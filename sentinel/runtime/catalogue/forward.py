"""Telemetry that is handed on: what waits, and how requests ended."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(
        GAUGE,
        "sentinel_forward_queue_bytes",
        "Bytes that wait for an endpoint, or whose file is not yet removed.",
        "endpoint",
        "signal",
        "place",
    ),
    metric(
        GAUGE,
        "sentinel_forward_queue_limit_bytes",
        "Bytes from which on the oldest of what waits for an endpoint is dropped.",
        "endpoint",
        "signal",
        "place",
    ),
    metric(
        GAUGE,
        "sentinel_forward_queue_items",
        "Spans, points or records that wait for an endpoint.",
        "endpoint",
        "signal",
        "place",
    ),
    metric(
        COUNTER,
        "sentinel_forward_known_items_total",
        "Lines of files that came again after a kill and were left out, because the queue had taken them before it.",
        "endpoint",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_forward_items_total",
        "Spans, points or records that an endpoint took.",
        "endpoint",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_forward_dropped_items_total",
        "Spans, points or records that were given up on their way to an endpoint, by reason.",
        "endpoint",
        "signal",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_forward_requests_total",
        "Requests to an endpoint: taken, retry, split (too large) or refused.",
        "endpoint",
        "signal",
        "result",
    ),
    metric(
        COUNTER,
        "sentinel_forward_damage_total",
        "Places in a queue's files that could not be read.",
        "endpoint",
        "signal",
    ),
)
