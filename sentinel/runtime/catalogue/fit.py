"""Fits, and what they keep."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(COUNTER, "sentinel_fits_total", "Fits, by result.", "result"),
    metric(GAUGE, "sentinel_fit_duration_seconds", "How long the last fit took."),
    metric(
        GAUGE,
        "sentinel_fit_series",
        "Series of the last fit, by what they are expected by.",
        "model",
    ),
    metric(
        COUNTER,
        "sentinel_fit_fallbacks_total",
        "Series that kept the profile at a fit because their model said nothing, by reason.",
        "reason",
    ),
    metric(
        GAUGE,
        "sentinel_fit_drifts",
        "Series of the last fit whose level has moved over four weeks.",
    ),
    metric(
        COUNTER,
        "sentinel_fit_drifts_dropped_total",
        "Series that had drifted and were not told, because a fit found too many.",
    ),
    metric(GAUGE, "sentinel_fit_version", "Version of the baseline in effect."),
    metric(
        GAUGE,
        "sentinel_fit_effective_timestamp_seconds",
        "Window boundary at which the baseline took effect (Unix).",
    ),
    metric(
        COUNTER,
        "sentinel_evidence_dropped_total",
        "Places and services whose traces and log lines were forgotten for want of room.",
    ),
    metric(
        COUNTER,
        "sentinel_service_versions_dropped_total",
        "Services and versions of them that were forgotten for want of room: a deploy may have been missed.",
    ),
)
