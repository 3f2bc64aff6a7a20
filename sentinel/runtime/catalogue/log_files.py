"""Log files, and the templates that lines of free text are counted by."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(GAUGE, "sentinel_log_files", "Log files followed.", "source"),
    metric(
        GAUGE,
        "sentinel_log_files_refused",
        "Log files found and not followed, by reason: not readable, links that lead to themselves (`circular`), or more than are"
        " followed at once (`limit`).",
        "reason",
    ),
    metric(
        GAUGE, "sentinel_log_files_lag_bytes", "Bytes of followed files that were not read yet."
    ),
    metric(
        GAUGE,
        "sentinel_log_files_unshipped_bytes",
        "Bytes of files that were counted and wait in their files until an endpoint has room for them.",
        "endpoint",
    ),
    metric(
        GAUGE,
        "sentinel_log_files_unshipped_seconds",
        "How long an endpoint has been behind with lines of files; 0 when it is not.",
        "endpoint",
    ),
    metric(
        COUNTER,
        "sentinel_log_files_unshipped_lost_bytes_total",
        "Bytes of files that were counted and never shipped: the file was gone or only left compressed (`gone`), or was done with"
        " and kept open too long (`expired`) or among too many (`limit`).",
        "endpoint",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_log_file_events_total",
        "What happened to log files: found, renamed, truncated, missed (made and rotated between two looks), finished.",
        "event",
    ),
    metric(COUNTER, "sentinel_log_file_bytes_total", "Bytes read from log files.", "source"),
    metric(
        COUNTER,
        "sentinel_log_lines_changed_total",
        "Lines not kept as they were: cut at the bound, with bytes that are no text, not the JSON they should be, or without"
        " an end.",
        "source",
        "reason",
    ),
    metric(
        COUNTER,
        "sentinel_log_files_unsaved_total",
        "Times the positions of log files could not be made durable; after a crash lines may come twice.",
    ),
    metric(
        COUNTER,
        "sentinel_log_requests_told_twice_total",
        "Requests of a gateway's file-log (`format: kong`) that its http-log told of as well, known by their ids.",
        "source",
    ),
    metric(GAUGE, "sentinel_log_templates", "Templates that lines of free text are counted by."),
    metric(
        COUNTER,
        "sentinel_log_templates_refused_total",
        "Lines of free text counted as `other`, because their service has as many templates as it may.",
    ),
)
