"""Does Sentinel do its work: does it hear, keep up, learn and hand on?"""

from __future__ import annotations

from dashboards.source.frame import Board
from dashboards.source.health_flow import forwarding, intake, log_files, overload, scrapers
from dashboards.source.health_roles import collectors, injector
from dashboards.source.kit import (
    ANY_IS_BAD,
    HEALTH,
    Ask,
    Panel,
    number,
    states,
    timeline,
)
from dashboards.source.queries import gained, own, per_second, quiet


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-health",
        "Sentinel: its own health",
        "Whether Sentinel hears, keeps up, learns, keeps what it learned and hands on; what it gives up under overload; collectors, their scorer, and the injector.",
    )
    made.instances().runbooks()
    made.choice(
        "injector",
        "Injector",
        "label_values(sentinel_admission_build_info, instance)",
        many=True,
    )
    made.runbooks_of("Sentinel itself", "the injector").incidents()
    made.events().own_alerts()
    made.mark(
        "Given up",
        own("sentinel_overload_rung") + " > 0",
        title="Overload: {{rung}} given up",
        text="{{instance}}",
        color="red",
    )
    made.row("At a glance").panels(*_glance())
    made.row("Components").panels(*_components())
    made.row("Receivers and windows").panels(*intake())
    made.row("Collectors and their scorer").panels(*collectors())
    made.row("Scrapers").panels(*scrapers())
    made.row("Log files").panels(*log_files())
    made.row("Handing on").panels(*forwarding())
    made.row("Overload").panels(*overload())
    made.row("Learning and the store").panels(*_learning())
    made.row("The injector").panels(*injector())
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
            "Series that have no score now, for any reason: too little history, too few calls, late, blind, shed, or a collector that did not tell.",
            "none",
            Ask(
                f"sum({own('sentinel_series_state', state='~no_history|missing|blind|too_few|no_scale|late|shed|partial')})"
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
            "Of the last day, by result, and how long the last one took.",
            "none",
            Ask(gained("sentinel_fits_total", "result", over="1d"), "{{result}}"),
            Ask(own("sentinel_fit_duration_seconds"), "{{instance}} took", unit="s"),
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
