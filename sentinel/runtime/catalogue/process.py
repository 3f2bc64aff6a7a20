"""The process itself, its configuration and its log."""

from __future__ import annotations

from sentinel.runtime.catalogue.declare import COUNTER, GAUGE, metric

METRICS = (
    metric(GAUGE, "sentinel_build_info", "Version of the running process; always 1.", "version"),
    metric(GAUGE, "sentinel_start_time_seconds", "When the process started (Unix)."),
    metric(GAUGE, "sentinel_component_health", "0 ok, 1 degraded, 2 failing.", "component"),
    metric(
        COUNTER,
        "sentinel_task_crashes_total",
        "Supervised tasks that crashed and were restarted.",
        "component",
        "task",
    ),
    metric(
        GAUGE,
        "sentinel_config_last_reload_success",
        "1 when the last reload took effect, 0 when the last good configuration was kept.",
    ),
    metric(
        GAUGE,
        "sentinel_config_last_reload_success_timestamp_seconds",
        "When a configuration last took effect (Unix).",
    ),
    metric(
        COUNTER,
        "sentinel_config_reloads_total",
        "Changes of the configuration that were taken, or refused with the last good one kept.",
        "result",
    ),
    metric(
        COUNTER,
        "sentinel_log_lines_withheld_total",
        "Lines of the log that were not written, because their like had been written often in the last minute.",
        "level",
    ),
)
