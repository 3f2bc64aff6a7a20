"""The store."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(GAUGE, "sentinel_store_bytes", "Size of the store on disk."),
    metric(COUNTER, "sentinel_store_writes_total", "Transactions committed."),
    metric(
        COUNTER,
        "sentinel_store_errors_total",
        "Store operations that failed.",
        "operation",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_replay_records_dropped_total",
        "States and fits that a preview would have replayed from, not kept for want of room.",
    ),
    metric(
        COUNTER, "sentinel_store_dropped_windows_total", "Windows not kept, by reason.", "reason"
    ),
    metric(
        COUNTER,
        "sentinel_store_dropped_pages_total",
        "Pages given up because the store took none for too long.",
    ),
    metric(
        COUNTER,
        "sentinel_store_corrupt_chunks_total",
        "Chunks set aside because they were damaged.",
        "what",
    ),
    metric(
        COUNTER,
        "sentinel_store_retired_chunks_total",
        "Chunks removed by retention or the ceiling on size.",
        "step",
    ),
)
