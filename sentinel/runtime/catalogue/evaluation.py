"""Windows decided on, and the incidents and pages that follow."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, FAST_S, GAUGE, HISTOGRAM, metric

METRICS = (
    metric(COUNTER, "sentinel_ticks_total", "Windows evaluated."),
    metric(
        HISTOGRAM,
        "sentinel_decide_seconds",
        "Time to decide one window over all series.",
        buckets=FAST_S,
    ),
    metric(
        GAUGE, "sentinel_evaluation_lag_seconds", "Now minus the end of the last evaluated window."
    ),
    metric(GAUGE, "sentinel_series_state", "Series by state of their verdict.", "state"),
    metric(
        COUNTER,
        "sentinel_stopped_windows_total",
        "Windows that stood out and of which nobody was told, by the first gate that stopped them.",
        "gate",
    ),
    metric(GAUGE, "sentinel_incidents_open", "Incidents now open.", "severity"),
    metric(COUNTER, "sentinel_incidents_total", "Incidents opened.", "kind", "severity"),
    metric(COUNTER, "sentinel_pages_total", "Pages decided, by reason.", "reason"),
    metric(
        COUNTER,
        "sentinel_pages_withheld_total",
        "Pages decided but not sent because the mode is shadow.",
        "reason",
    ),
)
