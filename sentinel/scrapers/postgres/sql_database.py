"""Questions about one database, to be asked in it, by the least version that each form is for.

Sizes are what the catalogue says (`relpages`), because the functions that measure a file lock its relation first.
"""

from __future__ import annotations

_TABLES = """
WITH t AS MATERIALIZED (
  SELECT *, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del AS used,
    sum(n_live_tup) OVER () AS all_live, sum(n_dead_tup) OVER () AS all_dead FROM pg_stat_user_tables
), top AS (
  (SELECT relid FROM t ORDER BY n_dead_tup DESC, relid LIMIT $1) UNION (SELECT relid FROM t ORDER BY used DESC, relid LIMIT $1)
)
SELECT current_database()::text AS datname, schemaname || '.' || relname AS name,
  all_live::float8, all_dead::float8, n_dead_tup AS dead_rows_count,
  CASE WHEN n_live_tup + n_dead_tup >= 1000 THEN n_dead_tup::float8 / (n_live_tup + n_dead_tup) END AS dead_rows_ratio,
  extract(epoch FROM now() - greatest(last_vacuum, last_autovacuum))::float8 AS vacuum_age_s,
  extract(epoch FROM now() - greatest(last_analyze, last_autoanalyze))::float8 AS analyze_age_s,
  n_tup_ins + n_tup_upd + n_tup_del AS rows_changed, n_tup_upd AS updates, n_tup_hot_upd AS hot_updates,
  coalesce(seq_scan, 0) AS seq_scans, coalesce(seq_tup_read, 0) AS seq_rows, coalesce(idx_scan, 0) AS index_scans{more}
FROM t JOIN top USING (relid) ORDER BY n_dead_tup DESC, relid
"""
TABLES = {
    150_000: _TABLES.format(more=""),
    180_000: _TABLES.format(more=", total_autovacuum_time AS autovacuum_ms"),
}

INDEXES = """
SELECT current_database()::text AS datname,
  coalesce(sum(c.relpages::float8 * current_setting('block_size')::int8)
    FILTER (WHERE s.idx_scan = 0 AND NOT i.indisunique), 0)::float8 AS unused_indexes_bytes,
  count(*) FILTER (WHERE s.idx_scan = 0 AND NOT i.indisunique)::int8 AS unused_indexes_count,
  count(*) FILTER (WHERE NOT i.indisvalid)::int8 AS invalid_indexes_count
FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid) JOIN pg_class c ON c.oid = s.indexrelid
"""

INDEX_USE = """
SELECT current_database()::text AS datname, schemaname || '.' || indexrelname AS name, idx_scan AS index_scans,
  idx_tup_read AS index_rows
FROM pg_stat_user_indexes WHERE idx_scan > 0 ORDER BY idx_scan DESC, indexrelid LIMIT $1
"""

# A row has a header of 23 bytes and a bit a column where some are NULL, is aligned to 8, and is pointed to by 4 bytes.
# Tables whose columns are not all to be seen in `pg_stats` have no value: `pg_stats` shows what one may read.
BLOAT = """
WITH c AS (
  SELECT c.oid, n.nspname, c.relname, c.relpages, c.reltuples,
    coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100)
      / 100 AS fill
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND c.relpages >= 128 AND c.reltuples > 0
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  ORDER BY c.relpages DESC LIMIT $1
), w AS (
  SELECT c.oid, count(*) AS seen, sum((1 - s.null_frac) * s.avg_width) AS width, max(s.null_frac) > 0 AS has_nulls
  FROM c JOIN pg_stats s ON s.schemaname = c.nspname AND s.tablename = c.relname AND NOT s.inherited GROUP BY c.oid
), e AS (
  SELECT c.oid, ceil(c.reltuples * (4
      + 8 * ceil((23 + CASE WHEN w.has_nulls THEN (w.seen + 7) / 8 ELSE 0 END) / 8.0) + 8 * ceil(w.width / 8.0))
    / ((current_setting('block_size')::int8 - 24) * c.fill)) AS needed
  FROM c JOIN w USING (oid)
  WHERE w.seen = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
)
SELECT current_database()::text AS datname, nspname || '.' || relname AS name,
  (CASE WHEN needed IS NOT NULL THEN greatest(0, 1 - needed / relpages) END)::float8 AS bloat_ratio,
  (CASE WHEN needed IS NOT NULL THEN greatest(0, relpages - needed) END * current_setting('block_size')::int8)::float8
    AS bloat_bytes FROM c LEFT JOIN e USING (oid)
"""

# It reads the pages that are not all visible, so only tables of 1 MiB to 1 GiB are looked at, and none that is locked now.
BLOAT_MEASURED = """
WITH c AS MATERIALIZED (
  SELECT s.relid, s.schemaname || '.' || s.relname AS name FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
  WHERE c.relkind = 'r' AND c.relpages BETWEEN 128 AND 131072 AND NOT EXISTS (
    SELECT FROM pg_locks l WHERE l.relation = s.relid AND l.mode = 'AccessExclusiveLock')
  ORDER BY s.n_dead_tup DESC, s.relid LIMIT 3
)
SELECT current_database()::text AS datname, c.name,
  ((a.approx_free_space + a.dead_tuple_len) / nullif(a.table_len, 0)::float8) AS bloat_ratio,
  (a.approx_free_space + a.dead_tuple_len)::float8 AS bloat_bytes
FROM c, {schema}.pgstattuple_approx(c.relid) a
"""

EXTENSIONS = """
SELECT e.extname::text, quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname IN ('pg_stat_statements', 'pgstattuple')
"""
