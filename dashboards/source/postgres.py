"""Is PostgreSQL well: does anybody wait, does anything run full, and what does it work at?"""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import timeseries as lines

from dashboards.source.fleet import TO_SERIES
from dashboards.source.frame import Board
from dashboards.source.kit import (
    ANY_IS_BAD,
    ONE_IS_STRANGE,
    Ask,
    Panel,
    number,
    rows,
    timeline,
    with_pattern,
)
from dashboards.source.queries import window
from dashboards.source.series import band


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-postgres",
        "Sentinel: PostgreSQL",
        "Sessions, locks, transactions, storage and replication as scrapers.postgres sees them.",
        range_from="now-3h",
    )
    made.choice(
        "postgres",
        "Server",
        'label_values(sentinel_value{stage="database", signal="connections_used_ratio"}, service)',
    )
    made.choice(
        "database",
        "Database",
        'label_values(sentinel_value{service="$postgres", signal="traffic"}, route)',
    )
    made.runbooks().runbooks_of("PostgreSQL", "Sentinel's pages").incidents()
    made.events().alerts("Alerts of PostgreSQL", "Postgres.*")
    made.row("Now").panels(*_now())
    made.row("Work").panels(*_work())
    made.row("Sessions and locks").panels(*_sessions())
    made.row("Storage, log and replicas").panels(*_storage())
    made.row("What stands out, and what asking costs").panels(*_outside())
    return made


def _now() -> list[Panel]:
    return [
        number(
            "Connections used",
            "Of what clients can have; when all are, clients are refused.",
            "percentunit",
            Ask(f"max({_of('connections_used_ratio')})"),
            steps=((None, "green"), (0.8, "orange"), (0.95, "red")),
            decimals=1,
        ),
        number(
            "Blocked sessions",
            "Sessions that wait for a lock another session holds.",
            "none",
            Ask(f"max({_of('sessions_blocked_count')})"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Longest wait for a lock",
            "The longest of any session, by PostgreSQL's own word.",
            "s",
            Ask(f"max({_of('lock_wait_max_s')})"),
            steps=((None, "green"), (1.0, "orange"), (10.0, "red")),
        ),
        number(
            "Oldest transaction",
            "It keeps dead rows from being removed, and locks from being given.",
            "s",
            Ask(f"max({_of('oldest_transaction_s')})"),
        ),
        number(
            "Transaction ids used",
            "Age of the oldest transaction id of any database against the most there can be; long before 1 vacuum must have run.",
            "percentunit",
            Ask(f"max({_of('xid_age_ratio')})"),
            steps=((None, "green"), (0.5, "orange"), (0.8, "red")),
            decimals=1,
        ),
        number(
            "Slots at risk, archive failing",
            "Replication slots that are lost or about to be, and whether archiving fails.",
            "none",
            Ask(f"sum({_of('~slots_at_risk_count|archiver_failing_count')})"),
            steps=ANY_IS_BAD,
        ),
    ]


def _work() -> list[Panel]:
    return [
        band(
            "Transactions of the chosen database, and the band",
            "Ended transactions a second against what is usual for this hour of this weekday; Sentinel's own are taken off.",
            {
                "service": "$postgres",
                "stage": "database",
                "route": "$database",
                "signal": "traffic",
            },
            unit="cps",
            width=12,
        ),
        _lines(
            "Rolled back",
            "Share of each database's transactions. Where a fifth of all ever were, that is how its clients read, and it is no error.",
            "percentunit",
            ["errors", "rollback_ratio"],
            width=12,
            height=11,
        ),
        _lines(
            "Found in memory",
            "Share of the blocks that were read that were in PostgreSQL's own cache.",
            "percentunit",
            ["cache_hit_ratio"],
            high=1.0,
        ),
        _lines(
            "Rows",
            "Read and written a second, by database.",
            "cps",
            ["rows_read_per_s", "rows_written_per_s"],
        ),
        _lines(
            "Time at work",
            "Seconds a second that sessions of a database execute, or sit in a transaction and do nothing.",
            "none",
            ["active_time_ratio", "idle_in_transaction_time_ratio"],
        ),
        _lines(
            "Deadlocks, conflicts, lost sessions",
            "A second, by database.",
            "cps",
            ["deadlocks_per_s", "conflicts_per_s", "sessions_lost_per_s"],
        ),
        _lines(
            "Temporary files",
            "Bytes a second of queries whose work did not fit work_mem.",
            "Bps",
            ["temp_bytes_per_s"],
        ),
        rows(
            "Statements that take most of the time",
            "Seconds a second of each; empty where pg_stat_statements is not installed. The number after # is to_hex(queryid).",
            "none",
            Ask(
                f"topk(15, {_of('exec_time_ratio')})",
            ),
            columns=["route"],
            value="seconds a second",
            width=8,
            height=8,
        ),
    ]


def _sessions() -> list[Panel]:
    return [
        _lines(
            "Sessions",
            "By state; idle in transaction holds what it has locked.",
            "none",
            [
                "sessions_active_count",
                "sessions_idle_count",
                "sessions_idle_in_transaction_count",
                "sessions_aborted_count",
            ],
            by_route=False,
        ),
        _lines(
            "What sessions wait for",
            "By class of wait: lock is another session, io the disk, lwlock the server's own structures.",
            "none",
            ["sessions_waiting_.+_count"],
            by_route=False,
            pattern=True,
        ),
        _lines(
            "Blocked and blocking",
            "Sessions that wait for another, and those they wait for.",
            "none",
            ["sessions_blocked_count", "sessions_blocking_count"],
            by_route=False,
        ),
        _lines(
            "Longest of each",
            "The longest wait for a lock, query, transaction, and time idle in a transaction.",
            "s",
            [
                "lock_wait_max_s",
                "longest_query_s",
                "oldest_transaction_s",
                "idle_in_transaction_max_s",
            ],
            by_route=False,
        ),
        _lines(
            "Connections against limits",
            "Of what clients can have, and of roles and databases that have a limit of their own.",
            "percentunit",
            [
                "connections_used_ratio",
                "role_connections_used_ratio",
                "database_connections_used_ratio",
            ],
            limit=0.9,
            high=1.0,
        ),
        _lines(
            "Locks waited for",
            "By mode; AccessExclusiveLock is a change of the schema or an explicit lock.",
            "none",
            ["locks_waited_count"],
        ),
    ]


def _storage() -> list[Panel]:
    return [
        _lines("Size", "Size of each database on disk.", "bytes", ["size_bytes"]),
        _lines(
            "Dead rows",
            "Share of rows that vacuum has yet to remove, of databases and of the tables with most of them.",
            "percentunit",
            ["dead_rows_ratio"],
        ),
        _lines(
            "Until freezing must run",
            "Age of the oldest transaction id against the age at which autovacuum freezes by force; at 1 it does.",
            "percentunit",
            ["freeze_due_ratio"],
            limit=1.0,
        ),
        _lines(
            "Write-ahead log",
            "Bytes a second that are written to it.",
            "Bps",
            ["wal_bytes_per_s"],
        ),
        _lines(
            "Log on disk",
            "Files of the write-ahead log, and what a slot that nobody reads keeps.",
            "bytes",
            ["wal_files_bytes", "inactive_slot_retained_bytes"],
            by_route=False,
        ),
        _lines(
            "Checkpoints and full pages",
            "A second: checkpoints that came early, pages written whole, and buffers that were full.",
            "cps",
            ["checkpoints_requested_per_s", "wal_full_pages_per_s", "wal_buffers_full_per_s"],
            by_route=False,
        ),
        _lines(
            "Replicas",
            "How many stream, and how many slots there are, in use and not.",
            "none",
            ["replicas_count", "slots_count", "slots_inactive_count"],
            by_route=False,
        ),
        _lines(
            "Lag of the worst replica",
            "In seconds, by its own word.",
            "s",
            ["replicas_lag_max_s"],
            by_route=False,
        ),
        _vacuum(),
    ]


def _vacuum() -> Panel:
    panel = _lines(
        "Vacuum",
        "How many run, how long the longest has, and the share of workers in use.",
        "none",
        ["vacuums_running_count", "vacuum_longest_s", "autovacuum_workers_used_ratio"],
        by_route=False,
    )
    with_pattern(panel, "_s$", unit="s", custom__axisPlacement="right")
    return with_pattern(panel, "_ratio$", unit="percentunit", custom__axisPlacement="right")


def _outside() -> list[Panel]:
    return [
        rows(
            "Strangest series of PostgreSQL",
            "By score, over any horizon; a click opens one on its own board.",
            "none",
            Ask('topk(15, max without (horizon) (sentinel_score{service="$postgres"}))'),
            columns=["instance", "service", "stage", "route", "signal"],
            value="score",
            width=16,
            steps=ONE_IS_STRANGE,
            links=[TO_SERIES],
        ),
        timeline(
            "What Sentinel's questions cost",
            "Seconds a second that the server spends on them, of every target; cost_ratio_max keeps it low.",
            "percentunit",
            Ask("max by (target) (sentinel_postgres_cost_ratio)", "{{target}}"),
            width=8,
            height=9,
        ),
    ]


def _lines(
    title: str,
    why: str,
    unit: str,
    signals: Sequence[str],
    *,
    width: int = 8,
    height: int = 8,
    limit: float | None = None,
    high: float | None = None,
    by_route: bool = True,
    pattern: bool = False,
) -> lines.Panel:
    """Some signals of every route, or the worst of all routes."""
    several = pattern or len(signals) > 1
    signal = f"~{'|'.join(signals)}" if several else signals[0]
    labels = [*(["route"] if by_route else []), *(["signal"] if several else [])]
    legend = " ".join(f"{{{{{label}}}}}" for label in labels) or signals[0]
    by = f" by ({', '.join(labels)})" if labels else ""
    return timeline(
        title,
        why,
        unit,
        Ask(f"max{by} ({_of(signal)})", legend),
        width=width,
        height=height,
        limit=limit,
        high=high,
    )


def _of(signal: str) -> str:
    return window("sentinel_value", service="$postgres", stage="database", signal=signal)
