"""Pages on their way, by destination."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(GAUGE, "sentinel_outbox_entries", "Pages not yet delivered.", "destination"),
    metric(
        GAUGE,
        "sentinel_outbox_oldest_seconds",
        "Age of the oldest page not yet delivered.",
        "destination",
    ),
    metric(
        COUNTER, "sentinel_sends_total", "Attempts to send, by result.", "destination", "result"
    ),
    metric(COUNTER, "sentinel_pages_delivered_total", "Pages a destination took.", "destination"),
    metric(
        COUNTER,
        "sentinel_pages_parked_total",
        "Pages a destination refused for good.",
        "destination",
    ),
    metric(
        COUNTER,
        "sentinel_incidents_told_along_total",
        "Incidents that were over before a destination could be told for long enough, told on the page of a later one.",
        "destination",
    ),
    metric(
        COUNTER,
        "sentinel_pages_unrecorded_total",
        "Pages a destination took while the store could not record them; a restart may send them again.",
        "destination",
    ),
    metric(
        COUNTER,
        "sentinel_outbox_dropped_total",
        "Pages given up: their destination was removed a day ago, or the store took none for too long.",
        "destination",
        "reason",
    ),
    metric(
        GAUGE,
        "sentinel_heartbeat_timestamp_seconds",
        "When the dead man's heartbeat was last sent (Unix).",
        "destination",
    ),
)
