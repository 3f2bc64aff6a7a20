"""Receivers: received, errors by reason, dropped by intent."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(
        COUNTER,
        "sentinel_receiver_requests_total",
        "Requests answered, by outcome.",
        "receiver",
        "signal",
        "outcome",
    ),
    metric(COUNTER, "sentinel_receiver_samples_total", "Samples taken.", "receiver", "signal"),
    metric(
        COUNTER,
        "sentinel_receiver_rejected_samples_total",
        "Samples refused inside an otherwise good request.",
        "receiver",
        "signal",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_receiver_bytes_total",
        "Bytes read from senders, before decompression.",
        "receiver",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_receiver_uncounted_lines_total",
        "Records of a gateway whose calls were counted and whose lines were not, because logs are given up.",
        "receiver",
    ),
    metric(
        GAUGE, "sentinel_receiver_inflight_bytes", "Bytes of requests being worked on.", "receiver"
    ),
)
