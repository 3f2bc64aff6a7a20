"""Windows between collecting sidecars and their scorer."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, HISTOGRAM, metric

METRICS = (
    metric(GAUGE, "sentinel_collect_queue_windows", "Closed windows that wait for the scorer."),
    metric(
        GAUGE,
        "sentinel_collect_queue_bytes",
        "Bytes of windows that wait for the scorer, or whose file is not yet removed.",
    ),
    metric(
        HISTOGRAM,
        "sentinel_collect_window_bytes",
        "Size of a closed window as it is sent.",
        buckets=(256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 8388608.0),
    ),
    metric(
        COUNTER,
        "sentinel_collect_requests_total",
        "Attempts to send a window: taken, retry or refused.",
        "result",
    ),
    metric(
        COUNTER,
        "sentinel_collect_dropped_windows_total",
        "Windows that were given up on their way to the scorer: queue_full, damaged, too_large or refused.",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_collect_left_out_total",
        "Windows that were too large and went without their lines, metrics or logs; those amounts are unknown.",
        "signal",
    ),
    metric(GAUGE, "sentinel_collectors", "Collectors that were to tell of the last window."),
    metric(
        GAUGE,
        "sentinel_collectors_silent",
        "Collectors that did not tell of the last window, or only in part.",
    ),
    metric(
        COUNTER,
        "sentinel_collected_parts_total",
        "Parts of windows that came: fresh, again (a repeat), late (its window was closed), full or ahead.",
        "outcome",
    ),
    metric(
        GAUGE, "sentinel_collected_waiting_parts", "Parts that wait for their window to be closed."
    ),
    metric(GAUGE, "sentinel_collected_parts_bytes", "Bytes of parts that are kept on disk."),
    metric(
        COUNTER,
        "sentinel_windows_partial_total",
        "Windows of which a collector did not tell, so that amounts of its services are unknown.",
    ),
)
