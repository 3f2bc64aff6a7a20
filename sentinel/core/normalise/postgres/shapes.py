"""What the columns of each answer are: levels, counters, times, shares; as data.

A column has the name of the signal that it becomes, so that the queries of all versions give the same columns and only
the table of queries knows versions. What needs more than a look at one row is in `subjects`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Share(NamedTuple):
    """A signal that is the gain of one column as a share of the gain of several: 0-1, none while nothing was gained."""

    signal: str
    part: str
    whole: tuple[str, ...]


class Mean(NamedTuple):
    """A signal that is the gain of one column over that of another, such as time a call; none without calls."""

    signal: str
    total: str
    calls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the rows of one answer are.

    Attributes:
        route: where its series are, with columns in braces; the same for every row of a name.
        levels: columns taken as they are.
        rates: signals a second, from columns that count.
        ratios: signals that are seconds a second, from columns that count milliseconds.
        shares, means: see there.
        since: the column that says when the row's statistics began, "" for none.
        zeros: names that have 0 while no row has them, by the one column that `route` names.
    """

    route: str
    levels: tuple[str, ...] = ()
    rates: dict[str, str] = field(default_factory=dict)
    ratios: dict[str, str] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    means: tuple[Mean, ...] = ()
    since: str = ""
    zeros: dict[str, tuple[str, ...]] = field(default_factory=dict)


WAIT_CLASSES = ("lock", "lwlock", "io", "ipc", "client", "bufferpin", "extension", "timeout")
LOCK_MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)

SHAPES: dict[str, Shape] = {
    "activity": Shape(
        route="activity",
        levels=(
            "sessions_active_count",
            "sessions_idle_count",
            "sessions_idle_in_transaction_count",
            "sessions_aborted_count",
            "sessions_running_count",
            *(f"sessions_waiting_{name}_count" for name in WAIT_CLASSES),
            "oldest_transaction_s",
            "idle_in_transaction_max_s",
            "longest_query_s",
            "horizon_age_count",
            "prepared_transactions_count",
            "prepared_transaction_max_s",
        ),
    ),
    "blocking": Shape(
        route="locks",
        levels=("sessions_blocked_count", "sessions_blocking_count", "lock_wait_max_s"),
    ),
    "locks": Shape(
        route="locks {mode}",
        levels=("locks_held_count", "locks_waited_count"),
        zeros={"mode": LOCK_MODES},
    ),
    "standby": Shape(
        route="standby",
        levels=("standby_lag_bytes", "standby_delay_s", "receivers_streaming_count"),
        rates={"standby_conflicts_per_s": "standby_conflicts"},
    ),
    "wal": Shape(
        route="wal",
        rates={
            "wal_bytes_per_s": "wal_bytes",
            "wal_records_per_s": "wal_records",
            "wal_full_pages_per_s": "wal_fpi",
            "wal_buffers_full_per_s": "wal_buffers_full",
        },
        since="since",
    ),
    "wal_files": Shape(
        route="wal", levels=("wal_files_bytes", "wal_files_count", "archive_ready_count")
    ),
    "archiver": Shape(
        route="archiver",
        levels=("archiver_failing_count",),
        rates={
            "archived_files_per_s": "archived_count",
            "archiver_failures_per_s": "failed_count",
        },
        since="since",
    ),
    "checkpoints": Shape(
        route="checkpoints",
        rates={
            "checkpoints_timed_per_s": "checkpoints_timed",
            "checkpoints_requested_per_s": "checkpoints_requested",
            "checkpoint_buffers_per_s": "checkpoint_buffers",
            "cleaned_buffers_per_s": "cleaned_buffers",
            "cleaner_stops_per_s": "cleaner_stops",
            "allocated_buffers_per_s": "allocated_buffers",
            "backend_buffers_per_s": "backend_buffers",
        },
        ratios={
            "checkpoint_write_time_ratio": "checkpoint_write_ms",
            "checkpoint_sync_time_ratio": "checkpoint_sync_ms",
        },
        since="since",
    ),
    "io": Shape(
        route="io {backend}",
        rates={
            "io_read_bytes_per_s": "read_bytes",
            "io_written_bytes_per_s": "written_bytes",
            "io_extended_bytes_per_s": "extended_bytes",
            "io_evictions_per_s": "evictions",
            "io_syncs_per_s": "fsyncs",
        },
        ratios={
            "io_read_time_ratio": "read_ms",
            "io_write_time_ratio": "write_ms",
            "io_sync_time_ratio": "fsync_ms",
        },
        shares=(Share("io_hit_ratio", "hits", ("hits", "reads")),),
        since="since",
    ),
    "freeze": Shape(
        route="{datname}", levels=("xid_age_ratio", "mxid_age_ratio", "freeze_due_ratio")
    ),
    "vacuums": Shape(
        route="vacuum",
        levels=(
            "vacuums_running_count",
            "vacuum_longest_s",
            "vacuum_progress_min_ratio",
            "autovacuum_workers_used_ratio",
        ),
    ),
    "sizes": Shape(route="{datname}", levels=("size_bytes",)),
    "indexes": Shape(
        route="{datname}",
        levels=("unused_indexes_bytes", "unused_indexes_count", "invalid_indexes_count"),
    ),
    "index_use": Shape(
        route="{datname} {name}",
        rates={"index_scans_per_s": "index_scans", "index_rows_per_s": "index_rows"},
    ),
    "bloat": Shape(route="{datname} {name}", levels=("bloat_ratio", "bloat_bytes")),
    "bloat_measured": Shape(route="{datname} {name}", levels=("bloat_ratio", "bloat_bytes")),
}

DATABASE = Shape(
    route="{datname}",
    levels=("backends_count", "checksum_failures_count"),
    rates={
        "temp_bytes_per_s": "temp_bytes",
        "temp_files_per_s": "temp_files",
        "deadlocks_per_s": "deadlocks",
        "conflicts_per_s": "conflicts",
        "rows_read_per_s": "rows_read",
        "rows_written_per_s": "rows_written",
        "blocks_read_per_s": "blks_read",
        "sessions_lost_per_s": "sessions_lost",
    },
    ratios={
        "active_time_ratio": "active_ms",
        "idle_in_transaction_time_ratio": "idle_in_transaction_ms",
        "block_read_time_ratio": "blk_read_ms",
        "block_write_time_ratio": "blk_write_ms",
    },
    shares=(
        Share("cache_hit_ratio", "blks_hit", ("blks_hit", "blks_read")),
        Share("parallel_workers_got_ratio", "workers_launched", ("workers_wanted",)),
    ),
    since="since",
)
REPLICA = Shape(
    route="replica {name}",
    levels=(
        "replica_lag_bytes",
        "replica_unsent_bytes",
        "replica_lag_s",
        "replica_flush_lag_s",
        "replica_streaming_count",
    ),
)
SLOT = Shape(
    route="slot {name}",
    levels=("slot_active_count", "slot_retained_bytes", "slot_safe_bytes", "slot_inactive_s"),
)
TABLE = Shape(
    route="{datname} {name}",
    levels=("dead_rows_ratio", "dead_rows_count", "vacuum_age_s", "analyze_age_s"),
    rates={
        "rows_changed_per_s": "rows_changed",
        "seq_scans_per_s": "seq_scans",
        "seq_rows_read_per_s": "seq_rows",
        "index_scans_per_s": "index_scans",
    },
    ratios={"autovacuum_time_ratio": "autovacuum_ms"},
    shares=(Share("hot_update_ratio", "hot_updates", ("updates",)),),
)
STATEMENT = Shape(
    route="{key}",
    rates={"calls_per_s": "calls", "rows_per_s": "rows", "temp_blocks_per_s": "temp_blocks"},
    ratios={"exec_time_ratio": "exec_ms", "block_read_time_ratio": "block_read_ms"},
    means=(Mean("mean_time_s", "exec_ms", "calls"),),
)
STATEMENTS = Shape(
    route="statements",
    levels=("statements_kept_ratio",),
    rates={"calls_per_s": "all_calls", "statements_evicted_per_s": "evicted"},
    ratios={"exec_time_ratio": "all_exec_ms"},
    means=(Mean("mean_time_s", "all_exec_ms", "all_calls"),),
    since="since",
)
XID_END = 2**31
"""So many transactions after a row was written it would lie in the future; `xid_age_ratio` is a share of that."""
