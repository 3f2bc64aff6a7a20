"""NATS: what JetStream told of by itself."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, metric

METRICS = (
    metric(
        COUNTER,
        "sentinel_nats_advisories_total",
        "Advisories of JetStream that were counted, by what they tell of.",
        "kind",
    ),
)
