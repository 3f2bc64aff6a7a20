"""Panels of what Sentinel takes in, hands on and gives up: a part of its own health."""

from __future__ import annotations

from dashboards.source.kit import (
    GIVEN_UP,
    UP,
    Ask,
    Panel,
    states,
    timeline,
)
from dashboards.source.queries import gained, own, p99, per_second, quiet


def intake() -> list[Panel]:
    """What receivers take, and windows made of it."""
    return [
        timeline(
            "Samples taken",
            "By receiver and signal.",
            "cps",
            Ask(
                per_second("sentinel_receiver_samples_total", "receiver", "signal"),
                "{{receiver}} {{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Requests",
            "Answered by receivers, by outcome.",
            "reqps",
            Ask(
                per_second("sentinel_receiver_requests_total", "receiver", "outcome"),
                "{{receiver}} {{outcome}}",
            ),
            width=8,
        ),
        timeline(
            "Samples not taken",
            "Refused by a receiver, late for their window, or dropped by the reduction, by reason.",
            "cps",
            Ask(
                quiet(
                    per_second("sentinel_receiver_rejected_samples_total", "receiver", "reason")
                ),
                "{{receiver}}: {{reason}}",
            ),
            Ask(quiet(per_second("sentinel_samples_late_total", "signal")), "{{signal}} late"),
            Ask(
                quiet(per_second("sentinel_samples_dropped_total", "signal", "reason")),
                "{{signal}}: {{reason}}",
            ),
            width=8,
        ),
        timeline(
            "Queue",
            "How full the queue between receivers and windows is; above 0.8 it is degraded, at 1 senders are told to come back.",
            "percentunit",
            Ask(own("sentinel_ingest_queue_ratio"), "{{instance}}"),
            high=1.0,
            limit=0.8,
            width=8,
        ),
        timeline(
            "Lag",
            "Now minus the end of the last judged window, and how long judging one takes.",
            "s",
            Ask(own("sentinel_evaluation_lag_seconds"), "{{instance}} lag"),
            Ask(p99("sentinel_decide_seconds", "instance"), "{{instance}} deciding, p99"),
            Ask(p99("sentinel_ingest_reduce_seconds", "instance"), "{{instance}} reducing, p99"),
            width=8,
        ),
        timeline(
            "Series by verdict",
            "What became of each series in the last window; the web page of the sidecar explains each state.",
            "none",
            Ask(f"sum by (state) ({own('sentinel_series_state')})", "{{state}}"),
            width=8,
            stacked=True,
        ),
        timeline(
            "Windows lost",
            "Windows that were not decided on, and batches that broke their reduction: either is a fault.",
            "none",
            Ask(quiet(gained("sentinel_windows_dropped_total", "reason")), "window: {{reason}}"),
            Ask(
                f"sum(increase({own('sentinel_ingest_faulty_batches_total')}[1h]))",
                "faulty batches",
            ),
            Ask(f"sum(increase({own('sentinel_clock_set_back_total')}[1h]))", "clock put back"),
            width=8,
        ),
        timeline(
            "Series known",
            "By kind; beyond the cap what is new is counted on one overflow series.",
            "none",
            Ask(f"sum by (kind) ({own('sentinel_series')})", "{{kind}}"),
            Ask(
                f"sum(increase({own('sentinel_series_overflow_total')}[1h]))",
                "overflowing samples in an hour",
            ),
            width=8,
        ),
        timeline(
            "Told twice",
            "Calls that two of spans, metrics and logs tell of and that were counted once, batches and points that came again.",
            "cps",
            Ask(
                quiet(per_second("sentinel_calls_told_twice_total", "signal")), "calls: {{signal}}"
            ),
            Ask(
                f"sum(rate({own('sentinel_duplicate_batches_total')}[$__rate_interval]))",
                "batches",
            ),
            Ask(
                f"sum(rate({own('sentinel_duplicate_points_total')}[$__rate_interval]))", "points"
            ),
            width=8,
        ),
    ]


def scrapers() -> list[Panel]:
    """What is asked for."""
    return [
        states(
            "Targets",
            "Whether the last poll of each target was taken.",
            Ask(own("sentinel_scraper_up"), "{{instance}} {{scraper}} {{target}}"),
            UP,
            width=8,
        ),
        timeline(
            "Polls",
            "By result; those left out because the one before took too long are late.",
            "cps",
            Ask(
                per_second("sentinel_scrapes_total", "scraper", "result"), "{{scraper}} {{result}}"
            ),
            Ask(quiet(per_second("sentinel_scrape_late_total", "scraper")), "{{scraper}} late"),
            width=8,
        ),
        timeline(
            "Time of a poll",
            "From the question to the end of its batch, the 99th percentile.",
            "s",
            Ask(p99("sentinel_scrape_duration_seconds", "scraper"), "{{scraper}}"),
            width=8,
        ),
    ]


def log_files() -> list[Panel]:
    """What is followed, and how far behind it is."""
    return [
        timeline(
            "Not read yet",
            "Bytes of followed files that were not read yet.",
            "bytes",
            Ask(own("sentinel_log_files_lag_bytes"), "{{instance}}"),
            width=6,
        ),
        timeline(
            "Shipping behind",
            "Bytes that were counted and wait in their files until an endpoint has room for them.",
            "bytes",
            Ask(own("sentinel_log_files_unshipped_bytes"), "{{instance}} {{endpoint}}"),
            width=6,
        ),
        timeline(
            "Shipping behind since",
            "How long an endpoint has been behind with lines of files; beyond receivers.log_files.unshipped_after rotated files"
            " are let go of.",
            "s",
            Ask(own("sentinel_log_files_unshipped_seconds"), "{{instance}} {{endpoint}}"),
            Ask(
                quiet(
                    gained("sentinel_log_files_unshipped_lost_bytes_total", "endpoint", "reason")
                ),
                "{{endpoint}}: lost in an hour, {{reason}}",
                unit="bytes",
            ),
            width=6,
        ),
        timeline(
            "Read, and files",
            "Bytes read a second by source; how many files are followed, and how many are not, by reason.",
            "Bps",
            Ask(per_second("sentinel_log_file_bytes_total", "source"), "{{source}}"),
            Ask(
                f"sum by (source) ({own('sentinel_log_files')})", "{{source}}: files", unit="none"
            ),
            Ask(
                quiet(f"sum by (reason) ({own('sentinel_log_files_refused')})"),
                "not followed: {{reason}}",
                unit="none",
            ),
            width=6,
        ),
    ]


def forwarding() -> list[Panel]:
    """What is handed on, and what waits."""
    return [
        timeline(
            "Waiting for endpoints",
            "Bytes in memory and on disk that endpoints have not taken yet.",
            "bytes",
            Ask(
                f"sum by (endpoint, signal, place) ({own('sentinel_forward_queue_bytes')})",
                "{{endpoint}} {{signal}} {{place}}",
            ),
            width=8,
        ),
        timeline(
            "Fill",
            "How full each queue to an endpoint is; from 0.7 on it alerts, at 1 its oldest part is dropped.",
            "percentunit",
            Ask(
                f"max by (endpoint, signal, place) ({own('sentinel_forward_queue_bytes')}"
                f" / ({own('sentinel_forward_queue_limit_bytes')} > 0))",
                "{{endpoint}} {{signal}} {{place}}",
            ),
            width=8,
            high=1.0,
            limit=0.7,
        ),
        timeline(
            "Taken, and given up",
            "Items that endpoints took a second, and items that were given up on their way, by reason.",
            "cps",
            Ask(
                per_second("sentinel_forward_items_total", "endpoint", "signal"),
                "{{endpoint}} {{signal}}",
            ),
            Ask(
                quiet(per_second("sentinel_forward_dropped_items_total", "endpoint", "reason")),
                "{{endpoint}} given up: {{reason}}",
            ),
            width=8,
        ),
    ]


def overload() -> list[Panel]:
    """How full what is bounded is, and what is given up."""
    return [
        states(
            "What is given up",
            "In this order: traces, logs, names not seen before, fits; pages never.",
            Ask(own("sentinel_overload_rung"), "{{instance}} {{rung}}"),
            GIVEN_UP,
            width=8,
        ),
        timeline(
            "How full",
            "What is bounded, 1 at its bound: the queue, bytes in flight, memory, and how late the process gets to its work.",
            "percentunit",
            Ask(own("sentinel_overload_pressure_ratio"), "{{instance}} {{source}}"),
            limit=1.0,
            width=8,
        ),
        timeline(
            "Memory",
            "Resident memory, its limit where one is watched, and bytes taken in that are not reduced yet.",
            "bytes",
            Ask(own("sentinel_memory_resident_bytes"), "{{instance}}"),
            Ask(own("sentinel_memory_limit_bytes"), "{{instance}} limit"),
            Ask(own("sentinel_inflight_bytes"), "{{instance}} in flight"),
            width=8,
        ),
        timeline(
            "Time given up",
            "Seconds of the last hour for which each was given up.",
            "s",
            Ask(quiet(gained("sentinel_overload_shed_seconds_total", "rung")), "{{rung}}"),
            width=8,
        ),
        timeline(
            "Senders told to come back",
            "A second, by component and reason; and what did not come again in time, in an hour.",
            "cps",
            Ask(
                quiet(
                    per_second(
                        "sentinel_component_errors_total",
                        "component",
                        "reason",
                        stage="~read|take",
                        reason="~shed|overloaded|queue_full",
                    )
                ),
                "{{component}} {{reason}}",
            ),
            Ask(
                quiet(gained("sentinel_not_taken_again_total", "component", "signal")),
                "{{component}} {{signal}}: not again, in an hour",
                unit="none",
            ),
            width=8,
        ),
        timeline(
            "Windows not known",
            "Windows of the last hour whose amounts are unknown because telemetry was turned away, and fits that waited.",
            "none",
            Ask(quiet(gained("sentinel_windows_shed_total", "signal")), "{{signal}}"),
            Ask(f"sum(increase({own('sentinel_fits_postponed_total')}[1h]))", "fits postponed"),
            width=8,
        ),
    ]
