"""Questions about a whole server, by the least version that each form is for.

All of them read statistics and nothing of the tables; none takes a lock on a relation of a user. Ages are asked for as
numbers, so that no clock but the server's is in them. Everything is cast to plain types, which need no look-up.
"""

from __future__ import annotations

_WAIT = """
  count(*) FILTER (WHERE {client} AND state = 'active' AND wait_event_type = '{kind}')::int8
    AS sessions_waiting_{name}_count,"""
_WAIT_TYPES = ("Lock", "LWLock", "IO", "IPC", "Client", "BufferPin", "Extension", "Timeout")
_CLIENT = "backend_type = 'client backend'"

# The text of queries is not read: it holds what users put in.
ACTIVITY = """
SELECT
  count(*) FILTER (WHERE {client} AND state = 'active')::int8 AS sessions_active_count,
  count(*) FILTER (WHERE {client} AND state = 'idle')::int8 AS sessions_idle_count,
  count(*) FILTER (WHERE {client} AND state = 'idle in transaction')::int8 AS sessions_idle_in_transaction_count,
  count(*) FILTER (WHERE {client} AND state = 'idle in transaction (aborted)')::int8 AS sessions_aborted_count,
  count(*) FILTER (WHERE {client} AND state = 'active' AND wait_event_type IS NULL)::int8 AS sessions_running_count,
  {waits}
  coalesce(extract(epoch FROM max(now() - xact_start) FILTER (WHERE {client} AND state <> 'idle')), 0)::float8
    AS oldest_transaction_s,
  coalesce(extract(epoch FROM max(now() - state_change) FILTER (WHERE state LIKE 'idle in transaction%')), 0)::float8
    AS idle_in_transaction_max_s,
  coalesce(extract(epoch FROM max(now() - query_start) FILTER (WHERE {client} AND state = 'active')), 0)::float8
    AS longest_query_s,
  coalesce(max(age(backend_xmin)), 0)::int8 AS horizon_age_count,
  (SELECT count(*) FROM pg_prepared_xacts)::int8 AS prepared_transactions_count,
  coalesce((SELECT extract(epoch FROM max(now() - prepared)) FROM pg_prepared_xacts), 0)::float8
    AS prepared_transaction_max_s,
  pg_is_in_recovery() AS in_recovery,
  coalesce(bool_or(backend_type IS NULL), false) AS hidden
FROM pg_stat_activity WHERE pid <> pg_backend_pid()
""".format(  # noqa: S608  # every part is ours
    client=_CLIENT,
    waits="".join(
        _WAIT.format(client=_CLIENT, kind=kind, name=kind.lower()) for kind in _WAIT_TYPES
    ),
)

# Reserved connections are none that a client can have. Before 16 there is no such setting but the superusers'.
CONNECTIONS = """
WITH used AS (
  SELECT usesysid, datid FROM pg_stat_activity
  WHERE datid IS NOT NULL AND (backend_type = 'client backend' OR backend_type IS NULL)
)
SELECT 'server' AS kind, '' AS name, count(*)::int8 AS used,
  current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8
    - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int8 AS room
FROM used
UNION ALL (
  SELECT 'role', r.rolname::text, (SELECT count(*) FROM used WHERE usesysid = r.oid), r.rolconnlimit::int8
  FROM pg_roles r WHERE r.rolconnlimit > 0 AND r.rolname <> current_user ORDER BY 3 DESC, 2 LIMIT 20
)
UNION ALL (
  SELECT 'database', d.datname::text, (SELECT count(*) FROM used WHERE datid = d.oid), d.datconnlimit::int8
  FROM pg_database d WHERE d.datconnlimit > 0 ORDER BY 3 DESC, 2 LIMIT 20
)
"""

# `pg_blocking_pids` takes all locks of the lock manager: it is asked only of sessions that wait.
BLOCKING = """
WITH waiting AS MATERIALIZED (
  SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid() LIMIT 50
)
SELECT (SELECT count(*) FROM waiting)::int8 AS sessions_blocked_count,
  (SELECT count(DISTINCT blocker) FROM waiting, unnest(pg_blocking_pids(waiting.pid)) AS blocker)::int8
    AS sessions_blocking_count,
  CASE WHEN EXISTS (SELECT FROM waiting) THEN coalesce((
    SELECT extract(epoch FROM max(now() - waitstart)) FROM pg_locks
    WHERE NOT granted AND pid IN (SELECT pid FROM waiting)), 0)
  ELSE 0 END::float8 AS lock_wait_max_s
"""

LOCKS = """
SELECT mode, count(*) FILTER (WHERE granted)::int8 AS locks_held_count,
  count(*) FILTER (WHERE NOT granted)::int8 AS locks_waited_count
FROM pg_locks WHERE pid IS DISTINCT FROM pg_backend_pid() GROUP BY mode
"""

_DATABASES = """
SELECT datname::text, numbackends::int8 AS backends_count, xact_commit, xact_rollback, blks_hit, blks_read,
  tup_returned AS rows_read, tup_inserted + tup_updated + tup_deleted AS rows_written,
  conflicts, temp_files, temp_bytes, deadlocks, coalesce(checksum_failures, 0) AS checksum_failures_count,
  blk_read_time AS blk_read_ms, blk_write_time AS blk_write_ms, active_time AS active_ms,
  idle_in_transaction_time AS idle_in_transaction_ms,
  sessions_abandoned + sessions_fatal + sessions_killed AS sessions_lost,{more}
  coalesce(extract(epoch FROM stats_reset), 0)::float8 AS since
FROM pg_stat_database WHERE datid <> 0 AND datname NOT IN ('template0', 'template1')
ORDER BY datid LIMIT 50
"""
DATABASES = {
    150_000: _DATABASES.format(more=""),
    180_000: _DATABASES.format(
        more=" parallel_workers_to_launch AS workers_wanted, parallel_workers_launched AS workers_launched,"
    ),
}

# On a standby that others follow, what was received stands for what is there.
REPLICATION = """
SELECT application_name::text AS name,
  greatest(pg_wal_lsn_diff(here.lsn, r.replay_lsn), 0)::float8 AS replica_lag_bytes,
  greatest(pg_wal_lsn_diff(here.lsn, r.sent_lsn), 0)::float8 AS replica_unsent_bytes,
  coalesce(extract(epoch FROM r.replay_lag), 0)::float8 AS replica_lag_s,
  coalesce(extract(epoch FROM r.flush_lag), 0)::float8 AS replica_flush_lag_s,
  (r.state = 'streaming')::int::int8 AS replica_streaming_count
FROM pg_stat_replication r, (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn
) here
WHERE r.state IS NULL OR r.state <> 'backup' ORDER BY 2 DESC NULLS LAST LIMIT 50
"""

# While all that was received is replayed, the last transaction is old because the primary is idle.
STANDBY = """
SELECT greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::float8 AS standby_lag_bytes,
  CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END::float8 AS standby_delay_s,
  (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming')::int8 AS receivers_streaming_count,
  (SELECT sum(confl_tablespace + confl_lock + confl_snapshot + confl_bufferpin + confl_deadlock)
    FROM pg_stat_database_conflicts)::float8 AS standby_conflicts
"""

_SLOTS = """
SELECT slot_name::text AS name, active::int::int8 AS slot_active_count, wal_status::text,
  greatest(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
    restart_lsn), 0)::float8 AS slot_retained_bytes,
  safe_wal_size::float8 AS slot_safe_bytes{more}
FROM pg_replication_slots ORDER BY 4 DESC NULLS LAST LIMIT 50
"""
SLOTS = {
    150_000: _SLOTS.format(more=""),
    170_000: _SLOTS.format(
        more=", CASE WHEN active THEN 0 ELSE extract(epoch FROM now() - inactive_since) END::float8 AS slot_inactive_s"
    ),
}

WAL = """
SELECT wal_records, wal_fpi, wal_bytes::float8, wal_buffers_full,
  coalesce(extract(epoch FROM stats_reset), 0)::float8 AS since FROM pg_stat_wal
"""

WAL_FILES = """
SELECT coalesce(sum(size), 0)::float8 AS wal_files_bytes, count(*)::int8 AS wal_files_count,
  (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')::int8 AS archive_ready_count
FROM pg_ls_waldir()
"""

ARCHIVER = """
SELECT archived_count, failed_count,
  (current_setting('archive_mode') <> 'off'
    AND coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false))::int::int8
    AS archiver_failing_count,
  coalesce(extract(epoch FROM stats_reset), 0)::float8 AS since FROM pg_stat_archiver
"""

CHECKPOINTS = {
    150_000: """
SELECT checkpoints_timed, checkpoints_req AS checkpoints_requested, buffers_checkpoint AS checkpoint_buffers,
  buffers_clean AS cleaned_buffers, maxwritten_clean AS cleaner_stops, buffers_alloc AS allocated_buffers,
  buffers_backend AS backend_buffers, checkpoint_write_time AS checkpoint_write_ms,
  checkpoint_sync_time AS checkpoint_sync_ms, coalesce(extract(epoch FROM stats_reset), 0)::float8 AS since
FROM pg_stat_bgwriter
""",
    170_000: """
SELECT c.num_timed AS checkpoints_timed, c.num_requested AS checkpoints_requested,
  c.buffers_written AS checkpoint_buffers, b.buffers_clean AS cleaned_buffers, b.maxwritten_clean AS cleaner_stops,
  b.buffers_alloc AS allocated_buffers, c.write_time AS checkpoint_write_ms, c.sync_time AS checkpoint_sync_ms,
  coalesce(extract(epoch FROM c.stats_reset), 0)::float8 AS since
FROM pg_stat_checkpointer c, pg_stat_bgwriter b
""",
}

_IO = """
SELECT {backend} AS backend, coalesce(sum({read}), 0)::float8 AS read_bytes,
  coalesce(sum({written}), 0)::float8 AS written_bytes, coalesce(sum({extended}), 0)::float8 AS extended_bytes,
  coalesce(sum(hits), 0)::float8 AS hits, coalesce(sum(reads), 0)::float8 AS reads,
  coalesce(sum(evictions), 0)::float8 AS evictions, coalesce(sum(fsyncs), 0)::float8 AS fsyncs,
  coalesce(sum(read_time), 0)::float8 AS read_ms, coalesce(sum(write_time), 0)::float8 AS write_ms,
  coalesce(sum(fsync_time), 0)::float8 AS fsync_ms, coalesce(extract(epoch FROM max(stats_reset)), 0)::float8 AS since
FROM pg_stat_io GROUP BY 1 ORDER BY 1 LIMIT 30
"""
IO = {
    160_000: _IO.format(
        backend="backend_type",
        read="reads * op_bytes",
        written="writes * op_bytes",
        extended="extends * op_bytes",
    ),
    180_000: _IO.format(
        backend="CASE object WHEN 'wal' THEN 'wal' ELSE backend_type END",
        read="read_bytes",
        written="write_bytes",
        extended="extend_bytes",
    ),
}

FREEZE = """
SELECT datname::text, age(datfrozenxid) / 2147483648.0::float8 AS xid_age_ratio,
  mxid_age(datminmxid) / 2147483648.0::float8 AS mxid_age_ratio,
  age(datfrozenxid) / current_setting('autovacuum_freeze_max_age')::float8 AS freeze_due_ratio
FROM pg_database ORDER BY 2 DESC LIMIT 50
"""

VACUUMS = """
SELECT count(*)::int8 AS vacuums_running_count,
  coalesce(extract(epoch FROM max(now() - a.xact_start)), 0)::float8 AS vacuum_longest_s,
  min(p.heap_blks_scanned::float8 / nullif(p.heap_blks_total, 0)) AS vacuum_progress_min_ratio,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')
    / current_setting('autovacuum_max_workers')::float8 AS autovacuum_workers_used_ratio
FROM pg_stat_progress_vacuum p LEFT JOIN pg_stat_activity a USING (pid)
"""

SIZES = """
SELECT datname::text, pg_database_size(oid)::float8 AS size_bytes FROM pg_database
WHERE NOT datistemplate AND datallowconn
  AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))
ORDER BY oid LIMIT 50
"""

# Texts are not read here: the file they are in is read whole for each of them.
_STATEMENTS = """
WITH own AS (SELECT oid FROM pg_roles WHERE rolname = current_user),
s AS MATERIALIZED (SELECT * FROM {{schema}}.pg_stat_statements(false)),
i AS MATERIALIZED (SELECT dealloc, coalesce(extract(epoch FROM stats_reset), 0)::float8 AS since
  FROM {{schema}}.pg_stat_statements_info)
SELECT d.datname::text, s.queryid, sum(s.calls)::int8 AS calls, sum(s.total_exec_time)::float8 AS exec_ms,
  sum(s.rows)::int8 AS rows, sum(s.temp_blks_read + s.temp_blks_written)::int8 AS temp_blocks,
  sum(s.{block_read})::float8 AS block_read_ms,
  (sum(sum(s.calls)) OVER ())::float8 AS all_calls, (sum(sum(s.total_exec_time)) OVER ())::float8 AS all_exec_ms,
  (SELECT coalesce(sum(total_exec_time), 0) FROM s WHERE userid = (SELECT oid FROM own))::float8 AS own_ms,
  (SELECT count(*) FROM s) / nullif(current_setting('pg_stat_statements.max', true), '')::float8 AS statements_kept_ratio,
  (SELECT dealloc FROM i)::int8 AS evicted, (SELECT since FROM i) AS since
FROM s JOIN pg_database d ON d.oid = s.dbid WHERE s.userid <> (SELECT oid FROM own)
GROUP BY d.datname, s.queryid ORDER BY exec_ms DESC NULLS LAST LIMIT $1
"""
STATEMENTS = {
    150_000: _STATEMENTS.format(block_read="blk_read_time"),
    170_000: _STATEMENTS.format(block_read="shared_blk_read_time"),
}

STATEMENT_TEXTS = """
SELECT queryid, left(min(query), 4096) AS query FROM {schema}.pg_stat_statements(true)
WHERE queryid = ANY ($1::int8[]) GROUP BY queryid
"""
