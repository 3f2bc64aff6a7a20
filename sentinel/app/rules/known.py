"""Names that rules may ask for: Sentinel's own, its verdicts, and those of exporters that the shipped rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import MetricType
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from sentinel.web.metrics import LATENCY_METRIC, LEFT_TO_RULES_METRIC
from sentinel.web.told import TOLD_METRICS

SCRAPE_LABELS: Final = frozenset({"job", "instance"})
"""What Prometheus puts on every series."""

_VERDICT_LABELS: Final = frozenset({"service", "stage", "route", "signal", "horizon"})


def _own() -> dict[str, frozenset[str]]:
    found = dict.fromkeys(SERIES_METRICS, _VERDICT_LABELS)
    found[LATENCY_METRIC] = (_VERDICT_LABELS - {"horizon"}) | {"quantile"}
    found[LEFT_TO_RULES_METRIC] = frozenset()
    found |= {name: frozenset(one.labels) for name, one in TOLD_METRICS.items()}
    for spec in CATALOGUE:
        labels = frozenset(spec.labels)
        if spec.type is MetricType.HISTOGRAM:
            found[f"{spec.name}_bucket"] = labels | {"le"}
            found[f"{spec.name}_sum"] = found[f"{spec.name}_count"] = labels
        else:
            found[spec.name] = labels
    return found


OWN: Final[Mapping[str, frozenset[str]]] = MappingProxyType(_own())
"""Every metric of Sentinel with its labels."""

OF_PROMETHEUS: Final = frozenset(
    {
        *("up", "ALERTS", "ALERTS_FOR_STATE"),
        *("scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added"),
        "scrape_samples_post_metric_relabeling",
    }
)

_KONG: Final = frozenset(
    {
        *("kong_http_requests_total", "kong_stream_sessions_total", "kong_bandwidth_bytes"),
        *("kong_upstream_target_health", "kong_nginx_connections_total"),
        *("kong_nginx_requests_total", "kong_nginx_timers", "kong_datastore_reachable"),
        *("kong_control_plane_connected", "kong_data_plane_cluster_cert_expiry_timestamp"),
        *("kong_data_plane_last_seen", "kong_data_plane_config_hash", "kong_node_info"),
        *("kong_data_plane_version_compatible", "kong_memory_lua_shared_dict_bytes"),
        *("kong_memory_lua_shared_dict_total_bytes", "kong_memory_workers_lua_vms_bytes"),
        "kong_nginx_metric_errors_total",
        *(
            f"kong_{what}_ms_{part}"
            for what in ("kong_latency", "upstream_latency", "request_latency", "session_duration")
            for part in ("bucket", "sum", "count")
        ),
    }
)
# The reference ledger's, named apart from its code, which nothing here may import: they meet on the wire.
_LEDGER: Final = frozenset(
    {
        *(f"ledger_transfer_age_seconds_{part}" for part in ("bucket", "sum", "count")),
        *(f"ledger_webhooks_age_seconds_{part}" for part in ("bucket", "sum", "count")),
        *(
            f"ledger_transfers_{what}_total"
            for what in ("accepted", "posted", "rejected", "repeated", "dead_lettered")
        ),
        *(
            "ledger_edge_refused_total",
            "ledger_edge_connections",
            "ledger_edge_connections_closed_total",
            "ledger_transfers_lost_total",
            "ledger_edge_malformed_total",
            "ledger_edge_limited_total",
            "ledger_edge_address_refused_total",
            "ledger_edge_limits_forgotten_total",
            "ledger_edge_limits_unlocked_total",
            "ledger_consumer_pending",
            "ledger_consumer_ack_pending",
            "ledger_audit_entries_total",
            "ledger_audit_checkpoints_total",
            "ledger_audit_refused_total",
            "ledger_audit_lag_seconds",
            "ledger_audit_unwitnessed",
            "ledger_audit_unwitnessed_age_seconds",
            "ledger_audit_slot_lag_bytes",
            "ledger_audit_slot_retained_bytes",
            "ledger_audit_slot_safe_bytes",
            "ledger_audit_slot_lost",
            "ledger_audit_checkpoints_stored_total",
            "ledger_audit_checkpoints_failed_total",
            "ledger_audit_unstored",
            "ledger_audit_unstored_age_seconds",
            "ledger_witness_answers_total",
            *(f"ledger_backup_{what}_total" for what in ("taken", "failed", "removed")),
            "ledger_backup_age_seconds",
            "ledger_backup_every_seconds",
            "ledger_backup_kept",
            *(f"ledger_exports_{what}_total" for what in ("requested", "refused", "ended")),
            "ledger_exports_open",
            "ledger_exports_oldest_seconds",
            "ledger_drift_count",
            "ledger_drift_value_minor",
            "ledger_reconcile_age_seconds",
            "ledger_reconcile_failed_total",
            "ledger_reconcile_messages",
            "ledger_edge_tenants",
            "ledger_analytics_pending",
            "ledger_analytics_missed_total",
            "ledger_disbursements_asked_total",
            "ledger_disbursements_moved_total",
            "ledger_disbursements_overdue_seconds",
            "ledger_auth_certificate_expiry_seconds",
            "ledger_auth_crl_expiry_seconds",
            "ledger_auth_refused_total",
            "ledger_events_published_total",
            "ledger_outbox_depth",
            "ledger_outbox_lag_seconds",
            "ledger_outbox_dropped_total",
            "ledger_webhooks_attempts_total",
            "ledger_webhooks_dropped_total",
            "ledger_webhooks_forgotten_total",
            "ledger_webhooks_endpoints_disabled_total",
            "ledger_webhooks_waiting",
            "ledger_webhooks_oldest_seconds",
            "ledger_webhooks_in_flight",
            "ledger_webhooks_endpoints",
            "ledger_webhooks_events_pending",
            "ledger_webhooks_lookups",
            "ledger_webhooks_missed_total",
            "ledger_webhooks_tenants",
            "ledger_webhooks_tenants_failing",
            "ledger_webhooks_receivers_failing",
            "ledger_events_unread_ratio",
            "ledger_telemetry_lost_total",
            "ledger_replica_up_ratio",
            "ledger_auth_accepted_total",
            "ledger_archive_failed_total",
        ),
    }
)
_OTEL_HTTP: Final = "http_server_request_duration_"

FOREIGN: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "kong_": _KONG,
        "ledger_": _LEDGER,
        _OTEL_HTTP: frozenset(
            f"{_OTEL_HTTP}seconds_{part}" for part in ("bucket", "sum", "count")
        ),
    }
)
"""All names of a source by how they begin: Kong's prometheus plugin 3.x, the reference ledger and HTTP servers over OTLP."""
