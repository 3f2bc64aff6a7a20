"""Ingest, and the series that samples become."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, FAST_S, GAUGE, HISTOGRAM, metric

METRICS = (
    metric(GAUGE, "sentinel_ingest_queue_ratio", "Fill of the ingest queue, 0-1."),
    metric(
        COUNTER,
        "sentinel_ingest_refused_batches_total",
        "Batches turned away because the queue was full; senders were told to retry.",
    ),
    metric(COUNTER, "sentinel_ingest_batches_total", "Batches reduced to windows."),
    metric(
        COUNTER,
        "sentinel_ingest_faulty_batches_total",
        "Batches given up because reducing them failed; a fault of Sentinel.",
    ),
    metric(
        COUNTER,
        "sentinel_windows_dropped_total",
        "Windows not decided on: reducing or deciding failed, the clock jumped over them, or it was put back before"
        " their time.",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_clock_set_back_total",
        "Times the clock had been ahead, was put back, and windows went on from the present.",
    ),
    metric(
        COUNTER,
        "sentinel_windows_ahead_total",
        "Stored windows that lay ahead when the clock was put back; kept until their time comes and they are replaced.",
    ),
    metric(
        HISTOGRAM,
        "sentinel_ingest_reduce_seconds",
        "Time to reduce one round of batches.",
        buckets=FAST_S,
    ),
    metric(GAUGE, "sentinel_series", "Series now known, by kind.", "kind"),
    metric(
        COUNTER,
        "sentinel_series_overflow_total",
        "Samples that went to the overflow series because of the cap on series.",
    ),
    metric(
        COUNTER,
        "sentinel_series_unnamed_total",
        "New series left out of a window because the store took no names; tried again with the next.",
    ),
    metric(COUNTER, "sentinel_series_expired_total", "Series forgotten because they were idle."),
    metric(
        COUNTER,
        "sentinel_samples_late_total",
        "Samples that came after their window had closed.",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_calls_told_twice_total",
        "Calls not counted, because two of spans, metrics and logs tell of them; the signal is the one left out.",
        "signal",
    ),
    metric(
        COUNTER,
        "sentinel_samples_dropped_total",
        "Samples given up, by reason; `before_start` are those of the window that was running when Sentinel began.",
        "signal",
        "reason",
    ),
    metric(COUNTER, "sentinel_stream_resets_total", "Resets seen in cumulative streams."),
    metric(COUNTER, "sentinel_duplicate_points_total", "Metric points that had been seen before."),
    metric(
        COUNTER,
        "sentinel_duplicate_batches_total",
        "Whole batches that had been seen before, sent again because an answer was lost.",
    ),
    metric(GAUGE, "sentinel_watermark_timestamp_seconds", "Windows up to here are closed (Unix)."),
)
