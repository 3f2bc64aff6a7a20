"""The four counters that every component has: received, sent, errors by stage and reason, dropped."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, metric

METRICS = (
    metric(
        COUNTER,
        "sentinel_component_received_total",
        "Items a component was given: samples, records, windows, pages, fits, requests, changes, templates or readings.",
        "component",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_component_sent_total",
        "Items a component handed on, or delivered.",
        "component",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_component_errors_total",
        "Attempts or items that failed in a component, by stage and reason; nothing need be lost by it.",
        "component",
        "stage",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_component_dropped_total",
        "Items a component gave up, by reason.",
        "component",
        "reason",
    ),
)
