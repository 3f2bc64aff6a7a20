"""Gauges whose meaning is known: on which side a value is bad, and how far off it must be to matter.

A gauge may be strange on both sides unless somebody says otherwise, so a backlog that was worked off, or an age that
fell to nothing, would page. Here the names that Sentinel's own scrapers give are said once. What a user sets in
`scoring.series` comes first, setting by setting; a gauge that is not listed is judged as its kind is.

A name is known at its stage alone: another's metric of the same name, at stage `metrics`, is none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sentinel.core.model.series import SeriesKey


class Direction(StrEnum):
    """On which side of what is expected a value can be strange."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class KnownGauge:
    """What is asked of a gauge by its name.

    Attributes:
        direction: on which side a value can be strange.
        deviation_min: smallest distance from what is expected, in the gauge's own unit.
    """

    direction: Direction
    deviation_min: float = 0.0


def known_gauge(key: SeriesKey) -> KnownGauge | None:
    """What is known of a series by its stage and signal, or None.

    >>> known_gauge(SeriesKey("nats", "queue", "orders/poster", "consumer_backlog_count")).direction.value
    'high'
    >>> known_gauge(SeriesKey("shop", "metrics", "all", "consumer_backlog_count"))
    """
    of_stage = KNOWN_GAUGES.get(key.stage)
    return None if of_stage is None else of_stage.get(key.signal)


def _high(deviation_min: float = 0.0) -> KnownGauge:
    return KnownGauge(Direction.HIGH, deviation_min)


def _low(deviation_min: float = 0.0) -> KnownGauge:
    return KnownGauge(Direction.LOW, deviation_min)


_MIB = 2.0**20

_QUEUE = {
    # A server.
    "server_cpu_ratio": _high(0.2),
    "server_memory_bytes": _high(64 * _MIB),
    "server_slow_consumers_per_s": _high(),
    "server_stale_connections_per_s": _high(),
    "server_stalled_clients_per_s": _high(),
    "server_connection_limit_ratio": _high(0.05),
    "server_pending_bytes": _high(_MIB),
    "server_unhealthy_count": _high(),
    "server_store_ratio": _high(0.05),
    "server_store_reserved_ratio": _high(0.05),
    "server_store_memory_ratio": _high(0.05),
    "server_api_errors_per_s": _high(0.1),
    "server_api_inflight_count": _high(20.0),
    # The cluster.
    "cluster_leaderless_count": _high(),
    "cluster_leader_changes_per_s": _high(),
    "cluster_offline_count": _high(),
    "cluster_behind_count": _high(),
    "cluster_unanswered_count": _high(),
    "cluster_lag_count": _high(20.0),
    # A stream.
    "stream_limit_ratio": _high(0.05),
    "stream_deleted_count": _high(100.0),
    "stream_lost_count": _high(),
    "stream_oldest_message_age_s": _high(10.0),
    "stream_last_message_age_s": _high(10.0),
    "stream_source_lag_count": _high(20.0),
    "stream_replica_lag_count": _high(20.0),
    "stream_replicas_offline_count": _high(),
    "stream_replicas_behind_count": _high(),
    "stream_leaderless_count": _high(),
    "stream_leader_changes_per_s": _high(),
    # A consumer.
    "consumer_backlog_count": _high(20.0),
    "consumer_pending_count": _high(20.0),
    "consumer_ack_pending_count": _high(20.0),
    "consumer_ack_pending_ratio": _high(0.1),
    "consumer_ack_floor_lag_count": _high(20.0),
    "consumer_oldest_unacked_age_s": _high(5.0),
    "consumer_last_delivery_age_s": _high(10.0),
    "consumer_redelivered_count": _high(5.0),
    "consumer_redelivered_per_s": _high(0.2),
    # No open pull request for long means that no worker asks.
    "consumer_waiting_count": _low(),
    "consumer_leaderless_count": _high(),
    "consumer_leader_changes_per_s": _high(),
    # What JetStream tells of by itself.
    "events_max_deliveries_per_s": _high(),
    "events_terminated_per_s": _high(),
    "events_refused_per_s": _high(0.2),
    "events_stream_leader_elected_per_s": _high(),
    "events_consumer_leader_elected_per_s": _high(),
    "events_meta_leader_elected_per_s": _high(),
    "events_quorum_lost_per_s": _high(),
    "events_deleted_per_s": _high(),
    "events_out_of_storage_per_s": _high(),
    "events_server_removed_per_s": _high(),
    "events_api_limit_reached_per_s": _high(),
    "events_batch_abandoned_per_s": _high(),
}

_REFUSALS = {
    # What a gateway answers itself, and what goes wrong behind it; fewer of them is no trouble.
    "rate_limited_per_s": _high(0.5),
    "denied_per_s": _high(0.5),
    "unauthenticated_per_s": _high(0.5),
    "refused_per_s": _high(0.5),
}
_EDGE = {
    **_REFUSALS,
    "gateway_errors_per_s": _high(0.2),
    "upstream_errors_per_s": _high(0.2),
    "failed_tries_per_s": _high(0.2),
    "kong_latency_p95_s": _high(0.01),
    "upstream_latency_p95_s": _high(0.05),
}
_UPSTREAM = {"healthy_targets_ratio": _low(0.2), "unhealthy_targets_count": _high()}
_GATEWAY = {
    "datastore_reachable": _low(0.5),
    "control_plane_connected": _low(0.5),
    "shared_dict_used_ratio": _high(0.05),
    "timers_pending_count": _high(20.0),
    "metric_errors_per_s": _high(),
    "lua_vm_bytes": _high(16 * _MIB),
}

_GIB = 2.0**30

_DATABASE = {
    # Sessions and what they wait for.
    "connections_used_ratio": _high(0.1),
    "connections_used_count": _high(5.0),
    "clients_refused_count": _high(),
    "role_connections_used_ratio": _high(0.1),
    "database_connections_used_ratio": _high(0.1),
    "backends_count": _high(5.0),
    "sessions_active_count": _high(5.0),
    "sessions_idle_count": _high(10.0),
    "sessions_running_count": _high(5.0),
    "sessions_idle_in_transaction_count": _high(3.0),
    "sessions_aborted_count": _high(2.0),
    "sessions_waiting_lock_count": _high(2.0),
    "sessions_waiting_lwlock_count": _high(5.0),
    "sessions_waiting_io_count": _high(5.0),
    "sessions_waiting_ipc_count": _high(5.0),
    "sessions_waiting_client_count": _high(5.0),
    "sessions_waiting_bufferpin_count": _high(1.0),
    "sessions_waiting_extension_count": _high(5.0),
    "sessions_waiting_timeout_count": _high(5.0),
    "sessions_blocked_count": _high(2.0),
    "sessions_blocking_count": _high(2.0),
    "sessions_lost_per_s": _high(0.1),
    "lock_wait_max_s": _high(5.0),
    "locks_held_count": _high(50.0),
    "locks_waited_count": _high(2.0),
    "oldest_transaction_s": _high(60.0),
    "idle_in_transaction_max_s": _high(30.0),
    "longest_query_s": _high(30.0),
    "horizon_age_count": _high(1e6),
    "prepared_transactions_count": _high(2.0),
    "prepared_transaction_max_s": _high(60.0),
    # Transactions and reads.
    "rollback_ratio": _high(0.05),
    "cache_hit_ratio": _low(0.05),
    "deadlocks_per_s": _high(0.05),
    "conflicts_per_s": _high(0.05),
    "checksum_failures_count": _high(),
    "temp_bytes_per_s": _high(_MIB),
    "temp_files_per_s": _high(1.0),
    "blocks_read_per_s": _high(500.0),
    "active_time_ratio": _high(0.5),
    "idle_in_transaction_time_ratio": _high(0.5),
    "block_read_time_ratio": _high(0.1),
    "block_write_time_ratio": _high(0.1),
    "parallel_workers_got_ratio": _low(0.2),
    # Statements.
    "mean_time_s": _high(0.005),
    "exec_time_ratio": _high(0.2),
    "temp_blocks_per_s": _high(100.0),
    "statements_evicted_per_s": _high(1.0),
    "statements_kept_ratio": _high(0.2),
    # Replicas and the log.
    "replica_lag_bytes": _high(16 * _MIB),
    "replica_unsent_bytes": _high(16 * _MIB),
    "replica_lag_s": _high(5.0),
    "replica_flush_lag_s": _high(5.0),
    "replica_streaming_count": _low(),
    "replicas_count": _low(),
    "replicas_lag_max_bytes": _high(16 * _MIB),
    "replicas_lag_max_s": _high(5.0),
    "standby_lag_bytes": _high(16 * _MIB),
    "standby_delay_s": _high(10.0),
    "receivers_streaming_count": _low(),
    "standby_conflicts_per_s": _high(0.05),
    "slots_count": _low(),
    "slots_inactive_count": _high(),
    "slots_at_risk_count": _high(),
    "inactive_slot_retained_bytes": _high(_GIB),
    "slot_active_count": _low(),
    "slot_retained_bytes": _high(_GIB),
    "slot_safe_bytes": _low(_GIB),
    "slot_inactive_s": _high(60.0),
    "wal_bytes_per_s": _high(_MIB),
    "wal_records_per_s": _high(1000.0),
    "wal_full_pages_per_s": _high(100.0),
    "wal_buffers_full_per_s": _high(10.0),
    "wal_files_bytes": _high(_GIB),
    "wal_files_count": _high(64.0),
    "archive_ready_count": _high(10.0),
    "archiver_failing_count": _high(),
    "archiver_failures_per_s": _high(),
    # Buffers and files.
    "checkpoints_requested_per_s": _high(0.01),
    "checkpoint_write_time_ratio": _high(0.2),
    "checkpoint_sync_time_ratio": _high(0.05),
    "checkpoint_buffers_per_s": _high(500.0),
    "cleaned_buffers_per_s": _high(500.0),
    "cleaner_stops_per_s": _high(1.0),
    "allocated_buffers_per_s": _high(1000.0),
    "backend_buffers_per_s": _high(100.0),
    "io_hit_ratio": _low(0.05),
    "io_read_bytes_per_s": _high(4 * _MIB),
    "io_written_bytes_per_s": _high(4 * _MIB),
    "io_extended_bytes_per_s": _high(4 * _MIB),
    "io_evictions_per_s": _high(1000.0),
    "io_syncs_per_s": _high(20.0),
    "io_read_time_ratio": _high(0.1),
    "io_write_time_ratio": _high(0.1),
    "io_sync_time_ratio": _high(0.1),
    # Rows that are dead, and who clears them away.
    "xid_age_ratio": _high(0.1),
    "mxid_age_ratio": _high(0.1),
    "freeze_due_ratio": _high(0.2),
    "dead_rows_ratio": _high(0.1),
    "dead_rows_count": _high(10_000.0),
    "vacuum_age_s": _high(6 * 3600.0),
    "analyze_age_s": _high(6 * 3600.0),
    "hot_update_ratio": _low(0.2),
    "seq_scans_per_s": _high(1.0),
    "seq_rows_read_per_s": _high(10_000.0),
    "autovacuum_time_ratio": _high(0.2),
    "vacuums_running_count": _high(3.0),
    "vacuum_longest_s": _high(600.0),
    "vacuum_progress_min_ratio": _low(1.0),
    "autovacuum_workers_used_ratio": _high(0.5),
    "size_bytes": _high(_GIB),
    "unused_indexes_bytes": _high(_GIB),
    "unused_indexes_count": _high(5.0),
    "invalid_indexes_count": _high(),
    "bloat_ratio": _high(0.1),
    "bloat_bytes": _high(_GIB),
}

KNOWN_GAUGES: Mapping[str, Mapping[str, KnownGauge]] = MappingProxyType(
    {
        "queue": MappingProxyType(_QUEUE),
        "edge": MappingProxyType(_EDGE),
        "tier": MappingProxyType(_REFUSALS),
        "upstream": MappingProxyType(_UPSTREAM),
        "gateway": MappingProxyType(_GATEWAY),
        "database": MappingProxyType(_DATABASE),
    }
)
"""By stage, then by signal."""
