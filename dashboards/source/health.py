"""Does Sentinel do its work: does it hear, keep up, learn and hand on?"""

from __future__ import annotations

from dashboards.source.frame import RUNBOOKS, Board
from dashboards.source.kit import (
    ANY_IS_BAD,
    GIVEN_UP,
    HEALTH,
    UP,
    Ask,
    Panel,
    number,
    states,
    timeline,
)
from dashboards.source.queries import gained, own, p99, per_second, quiet


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-health",
        "Sentinel: its own health",
        "Whether Sentinel hears, keeps up, learns, keeps what it learned and hands on; what it gives up under overload.",
    )
    made.instances().runbooks()
    made.link("Runbook: not scoring", f"{RUNBOOKS}/SentinelNotScoring.md")
    made.link("Runbook: overloaded", f"{RUNBOOKS}/SentinelOverloaded.md")
    made.link("All runbooks", f"{RUNBOOKS}/index.md")
    made.own_alerts()
    made.mark(
        "Given up",
        own("sentinel_overload_rung") + " > 0",
        title="Overload: {{rung}} given up",
        text="{{instance}}",
        color="red",
    )
    made.row("At a glance").panels(*_glance())
    made.row("Components").panels(*_components())
    made.row("Receivers and windows").panels(*_intake())
    made.row("Scrapers").panels(*_scrapers())
    made.row("Log files").panels(*_log_files())
    made.row("Handing on").panels(*_forwarding())
    made.row("Overload").panels(*_overload())
    made.row("Learning and the store").panels(*_learning())
    made.row("Configuration, access and the process").panels(*_process())
    return made


def _glance() -> list[Panel]:
    return [
        number(
            "Sidecars",
            "Sidecars that Prometheus reaches now, of those that are chosen.",
            "none",
            Ask(f"count({own('sentinel_build_info')})"),
        ),
        number(
            "Components failing",
            "Components that do not do their work; the web page of the sidecar says why, in a sentence.",
            "none",
            Ask(f"sum({own('sentinel_component_health')} == bool 2)"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Evaluation lag",
            "Of the sidecar that is furthest behind: now minus the end of the last window it judged. More than a window and the"
            " lateness is too much.",
            "s",
            Ask(f"max({own('sentinel_evaluation_lag_seconds')})"),
            steps=((None, "green"), (60.0, "red")),
        ),
        number(
            "Series without a verdict",
            "Series that have no score now, for any reason: no history yet, too few calls, late, blind or shed.",
            "none",
            Ask(
                f"sum({own('sentinel_series_state', state='~no_history|missing|blind|late|shed')})"
            ),
        ),
        number(
            "Given up now",
            "What is given up under overload, of traces, logs, labels and fits.",
            "none",
            Ask(f"sum({own('sentinel_overload_rung')})"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Configuration refused",
            "Sidecars that run on with their last good configuration, because the changed one is refused.",
            "none",
            Ask(f"sum({own('sentinel_config_last_reload_success')} == bool 0)"),
            steps=ANY_IS_BAD,
        ),
    ]


def _components() -> list[Panel]:
    return [
        states(
            "Health of components",
            "Degraded does its work with something missing, failing does not.",
            Ask(own("sentinel_component_health"), "{{instance}} {{component}}"),
            HEALTH,
            width=24,
            height=11,
        ),
        timeline(
            "Received",
            "Items that each component was given a second: samples, records, windows, pages, readings.",
            "cps",
            Ask(
                per_second("sentinel_component_received_total", "component", "signal"),
                "{{component}} {{signal}}",
            ),
        ),
        timeline(
            "Handed on",
            "Items that each component handed on a second, or delivered.",
            "cps",
            Ask(
                per_second("sentinel_component_sent_total", "component", "signal"),
                "{{component}} {{signal}}",
            ),
        ),
        timeline(
            "Failed attempts",
            "Attempts and items that failed, by stage and reason; nothing need be lost by it, it is tried again.",
            "cps",
            Ask(
                quiet(
                    per_second("sentinel_component_errors_total", "component", "stage", "reason")
                ),
                "{{component}} {{stage}} {{reason}}",
            ),
        ),
        timeline(
            "Dropped",
            "Items that were given up, by reason.",
            "cps",
            Ask(
                quiet(per_second("sentinel_component_dropped_total", "component", "reason")),
                "{{component}} {{reason}}",
            ),
        ),
    ]


def _intake() -> list[Panel]:
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
            "What became of each series in the last window; the reasons are explained in the documents of the web pages.",
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


def _scrapers() -> list[Panel]:
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


def _log_files() -> list[Panel]:
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
                "{{endpoint}}: bytes lost in an hour, {{reason}}",
            ),
            width=6,
        ),
        timeline(
            "Read, and files",
            "Bytes read a second by source; how many files are followed, and how many are not, by reason.",
            "Bps",
            Ask(per_second("sentinel_log_file_bytes_total", "source"), "{{source}}"),
            Ask(f"sum by (source) ({own('sentinel_log_files')})", "{{source}}: files"),
            Ask(
                quiet(f"sum by (reason) ({own('sentinel_log_files_refused')})"),
                "not followed: {{reason}}",
            ),
            width=6,
        ),
    ]


def _forwarding() -> list[Panel]:
    return [
        timeline(
            "Waiting for endpoints",
            "Bytes in memory and on disk; at its bound the oldest is dropped.",
            "bytes",
            Ask(
                f"sum by (endpoint, signal, place) ({own('sentinel_forward_queue_bytes')})",
                "{{endpoint}} {{signal}} {{place}}",
            ),
            width=8,
        ),
        timeline(
            "Fill",
            "The same by its bound.",
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


def _overload() -> list[Panel]:
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


def _learning() -> list[Panel]:
    return [
        timeline(
            "Age of the baseline",
            "Since the window boundary at which the last fit took effect; it should be about an hour at most.",
            "s",
            Ask(
                f"time() - {own('sentinel_fit_effective_timestamp_seconds')}",
                "{{instance}}",
            ),
            width=8,
            limit=21600.0,
        ),
        timeline(
            "Fits",
            "Of the last day, by result, and how long the last one took in seconds.",
            "none",
            Ask(gained("sentinel_fits_total", "result", over="1d"), "{{result}}"),
            Ask(own("sentinel_fit_duration_seconds"), "{{instance}} seconds"),
            width=8,
        ),
        timeline(
            "Store",
            "Size on disk; its ceiling is store.max_bytes.",
            "bytes",
            Ask(own("sentinel_store_bytes"), "{{instance}}"),
            width=8,
        ),
        timeline(
            "Store trouble",
            "Failed operations, windows that were not kept and damaged chunks of the last hour.",
            "none",
            Ask(
                quiet(gained("sentinel_store_errors_total", "operation", "reason")),
                "{{operation}}: {{reason}}",
            ),
            Ask(
                quiet(gained("sentinel_store_dropped_windows_total", "reason")),
                "window not kept: {{reason}}",
            ),
            Ask(quiet(gained("sentinel_store_corrupt_chunks_total", "what")), "damaged {{what}}"),
            width=12,
        ),
        timeline(
            "Forgotten for want of room",
            "Evidence of places, versions of services, and records a preview would have replayed from, in an hour.",
            "none",
            Ask(f"sum(increase({own('sentinel_evidence_dropped_total')}[1h]))", "evidence"),
            Ask(
                f"sum(increase({own('sentinel_service_versions_dropped_total')}[1h]))", "versions"
            ),
            Ask(f"sum(increase({own('sentinel_replay_records_dropped_total')}[1h]))", "records"),
            width=12,
        ),
    ]


def _process() -> list[Panel]:
    return [
        timeline(
            "Configuration",
            "1 while the last change of the file took effect, 0 while it is refused; and changes of the last hour by result.",
            "none",
            Ask(
                own("sentinel_config_last_reload_success"), "{{instance}} last change took effect"
            ),
            Ask(quiet(gained("sentinel_config_reloads_total", "result")), "{{result}}"),
            width=8,
        ),
        timeline(
            "Crashes",
            "Supervised tasks that crashed and were restarted in the last hour: a fault of Sentinel's.",
            "none",
            Ask(
                quiet(gained("sentinel_task_crashes_total", "component", "task")),
                "{{component}} {{task}}",
            ),
            width=8,
        ),
        timeline(
            "Up for",
            "Since when the process runs; a saw shows restarts.",
            "s",
            Ask(f"time() - {own('sentinel_start_time_seconds')}", "{{instance}}"),
            width=8,
        ),
        timeline(
            "HTTP",
            "Requests of people, tools and probes by status, and those refused for want of a token.",
            "reqps",
            Ask(per_second("sentinel_http_requests_total", "code"), "{{code}}"),
            Ask(
                quiet(per_second("sentinel_access_refused_total", "listener", "reason")),
                "refused: {{listener}} {{reason}}",
            ),
            width=12,
        ),
        timeline(
            "Connections",
            "Open now by listener, and closed by Sentinel in the last hour by reason.",
            "none",
            Ask(f"sum by (listener) ({own('sentinel_http_connections')})", "{{listener}}"),
            Ask(
                quiet(gained("sentinel_http_connections_closed_total", "listener", "reason")),
                "{{listener}} closed: {{reason}}",
            ),
            width=12,
        ),
    ]
