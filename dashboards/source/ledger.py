"""Does the ledger keep its service levels, and where in edge, NATS, posting and PostgreSQL does it not?"""

from __future__ import annotations

from dashboards.source import ledger_beside, ledger_told
from dashboards.source.frame import Board
from dashboards.source.kit import Ask, Panel, timeline
from dashboards.source.ledger_levels import service_levels
from dashboards.source.queries import window
from dashboards.source.series import band, calls_with_traces

_TRANSFERS = {"service": "ledger-edge", "stage": "edge", "route": "POST /v1/transfers"}
_PROCESS = {
    "service": "ledger-poster",
    "stage": "consumer",
    "route": "process ledger.transfers",
}


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-ledger",
        "Ledger: the pipeline and its service levels",
        "A transfer's way from the edge over NATS and the poster to PostgreSQL, with the service levels of accepting and posting as alert_rules/slo.yaml records them.",
        range_from="now-3h",
    )
    made.pick(
        "slow",
        "Slow from",
        "Seconds from which accepting a transfer is too slow, by the 95th percentile of a window.",
        ("0.25", "0.1", "0.5", "1"),
    )
    made.choice(
        "nats",
        "NATS",
        'label_values(sentinel_value{stage="queue", signal="consumer_backlog_count"}, service)',
    )
    made.choice(
        "postgres",
        "PostgreSQL",
        'label_values(sentinel_value{stage="database", signal="connections_used_ratio"}, service)',
    )
    made.choice(
        "consumer",
        "Consumer",
        'label_values(sentinel_value{service="$nats", stage="queue", signal="consumer_backlog_count", route=~"LEDGER.*"}, route)',
    )
    made.choice(
        "call",
        "Database call",
        'label_values(sentinel_value{service="ledger-poster", stage="database", signal="traffic"}, route)',
    )
    made.runbooks().runbooks_of(
        *("the ledger", "its edge", "its webhooks", "its payouts", "its audit"),
        *("service levels", "the gateway", "NATS", "PostgreSQL"),
    )
    made.incidents()
    made.events("ledger-.*|$nats|$postgres")
    made.alerts("Alerts of the pipeline", "Ledger.*|ServiceLevel.*|Gateway.*|Nats.*|Postgres.*")
    made.row("Service levels").panels(*service_levels(_TRANSFERS, _PROCESS))
    made.row("Edge").panels(*_edge())
    made.row("NATS").panels(*_queue())
    made.row("Posting").panels(*_posting())
    made.row("PostgreSQL").panels(*_database())
    made.row("Who may come in").panels(*ledger_beside.admittance())
    made.row("Who is answered, and who is refused").panels(*ledger_told.answered())
    made.row("What is told").panels(*ledger_told.told())
    made.row("Webhooks").panels(*ledger_beside.webhooks())
    made.row("Payouts and analytics").panels(*ledger_beside.payouts())
    made.row("Audit").panels(*ledger_beside.audit())
    made.row("Reconciliation").panels(*ledger_beside.reconciliation())
    made.row("What moves on by itself").panels(*ledger_told.kept())
    return made


def _edge() -> list[Panel]:
    of = {"service": "ledger-edge", "stage": "edge"}
    return [
        band(
            "Transfers asked for, and the band",
            "POST /v1/transfers a second against what is usual for this hour of this weekday.",
            {**_TRANSFERS, "signal": "traffic"},
            unit="reqps",
            width=12,
        ),
        calls_with_traces('service="ledger-edge", stage="edge"', width=12, height=11),
        band(
            "Failed transfers, and the band",
            "Share of POST /v1/transfers that was answered with 5xx, against what is usual.",
            {**_TRANSFERS, "signal": "errors"},
            unit="percentunit",
            width=12,
        ),
        band(
            "95th percentile of transfers, and the band",
            "Seconds until POST /v1/transfers was answered, against what is usual for this hour of this weekday.",
            {**_TRANSFERS, "signal": "latency"},
            unit="s",
            width=12,
        ),
        timeline(
            "Requests",
            "Requests a second, by route.",
            "reqps",
            Ask(
                f"sum by (route) ({window('sentinel_value', **of, signal='traffic')})", "{{route}}"
            ),
            width=8,
        ),
        timeline(
            "Failed requests",
            "Share of each route's requests that were answered with 5xx.",
            "percentunit",
            Ask(
                f"max by (route) ({window('sentinel_value', **of, signal='errors')})", "{{route}}"
            ),
            width=8,
        ),
        timeline(
            "95th percentile of answers",
            "By route; a transfer is answered once NATS has acknowledged it.",
            "s",
            Ask(
                'max by (route) (sentinel_latency_seconds{service="ledger-edge", stage="edge",'
                ' quantile="0.95"})',
                "{{route}}",
            ),
            width=8,
        ),
    ]


def _queue() -> list[Panel]:
    consumer = {"service": "$nats", "route": "~LEDGER(_C[0-9]+)?/.*"}
    return [
        band(
            "Backlog of the chosen consumer, and the band",
            "Messages that are not delivered or not acknowledged, of one cohort's stream, against what is usual for this hour of this weekday.",
            {
                "service": "$nats",
                "stage": "queue",
                "route": "$consumer",
                "signal": "consumer_backlog_count",
            },
            unit="none",
        ),
        timeline(
            "Published",
            "Messages that the edge handed to JetStream a second, and the share that failed.",
            "cps",
            Ask(
                f"sum({window('sentinel_value', service='ledger-edge', stage='queue', signal='traffic')})",
                "published",
            ),
            Ask(
                f"max({window('sentinel_value', service='ledger-edge', stage='queue', signal='errors')})",
                "failed share",
                unit="percentunit",
            ),
            width=8,
        ),
        timeline(
            "Waiting",
            "Messages that are not delivered or not acknowledged, as NATS counts them, and as the poster does.",
            "none",
            Ask(
                f"max by (route) ({window('sentinel_value', **consumer, signal='consumer_backlog_count')})",
                "{{route}} backlog",
            ),
            Ask(
                "max by (signal) ("
                + window(
                    "sentinel_value",
                    service="ledger-poster",
                    stage="metrics",
                    signal="~ledger[.]consumer[.]pending|ledger[.]consumer[.]ack_pending",
                )
                + ")",
                "{{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Oldest not acknowledged",
            "Age of the oldest message of the poster's that is not acknowledged: how late the last transfer in the line is.",
            "s",
            Ask(
                f"max by (route) ({window('sentinel_value', **consumer, signal='consumer_oldest_unacked_age_s')})",
                "{{route}}",
            ),
            width=8,
        ),
    ]


def _posting() -> list[Panel]:
    process = {**_PROCESS}
    return [
        band(
            "Attempts, and the band",
            "Messages the poster worked on a second, against what is usual for this hour of this weekday.",
            {**_PROCESS, "signal": "traffic"},
            unit="cps",
            width=8,
        ),
        band(
            "Failed attempts, and the band",
            "Share of attempts that did not commit, against what is usual.",
            {**_PROCESS, "signal": "errors"},
            unit="percentunit",
            width=8,
        ),
        band(
            "95th percentile of attempts, and the band",
            "From a message's delivery to its acknowledgement, against what is usual for this hour of this weekday.",
            {**_PROCESS, "signal": "latency"},
            unit="s",
            width=8,
        ),
        timeline(
            "Attempts",
            "Messages the poster worked on a second, each attempt counted.",
            "cps",
            Ask(f"sum({window('sentinel_value', **process, signal='traffic')})", "attempts"),
            Ask(
                "sum by (signal) ("
                + window(
                    "sentinel_value",
                    service="ledger-poster",
                    stage="metrics",
                    signal="~ledger[.]transfers[.].*",
                )
                + ")",
                "{{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Failed attempts",
            "Share of attempts that did not commit; they are tried again, and dead-lettered after five for good reasons only.",
            "percentunit",
            Ask(f"max({window('sentinel_value', **process, signal='errors')})", "failed"),
            width=8,
        ),
        timeline(
            "Time of an attempt",
            "Quantiles of the time from the message's delivery to its acknowledgement.",
            "s",
            Ask(
                f"max by (quantile) (sentinel_latency_seconds{{{_labels(_PROCESS)}}})",
                "{{quantile}}",
            ),
            width=8,
        ),
        timeline(
            "Lines in the logs",
            "Lines a second of edge and poster, by event: why something failed stands in them.",
            "cps",
            Ask(
                "sum by (service, route, signal) ("
                + window("sentinel_value", service="~ledger-(edge|poster)", stage="logs")
                + ")",
                "{{service}} {{route}} {{signal}}",
            ),
            width=24,
        ),
    ]


def _database() -> list[Panel]:
    activity = {"service": "$postgres", "stage": "database"}
    called = {"service": "ledger-poster", "stage": "database", "route": "$call"}
    return [
        band(
            "The poster's chosen calls, and the band",
            "Calls of the database a second, against what is usual for this hour of this weekday.",
            {**called, "signal": "traffic"},
            unit="cps",
            width=8,
        ),
        band(
            "95th percentile of the chosen calls, and the band",
            "How long the database takes, seen from the poster, against what is usual for this hour of this weekday.",
            {**called, "signal": "latency"},
            unit="s",
            width=8,
        ),
        band(
            "Connections in use, and the band",
            "Share of the connections that PostgreSQL allows, against what is usual for this hour of this weekday.",
            {**activity, "route": "connections", "signal": "connections_used_ratio"},
            unit="percentunit",
            width=8,
        ),
        timeline(
            "Commits and reads",
            "Calls of the database a second, by who makes them.",
            "cps",
            Ask(
                "sum by (service, route) ("
                + window(
                    "sentinel_value",
                    service="~ledger-(edge|poster)",
                    stage="database",
                    signal="traffic",
                )
                + ")",
                "{{service}} {{route}}",
            ),
            width=8,
        ),
        timeline(
            "95th percentile of calls",
            "How long the database takes, seen from the services.",
            "s",
            Ask(
                'max by (service, route) (sentinel_latency_seconds{service=~"ledger-(edge|poster)",'
                ' stage="database", quantile="0.95"})',
                "{{service}} {{route}}",
            ),
            width=8,
        ),
        timeline(
            "Failed calls",
            "Share of the services' calls of the database that failed.",
            "percentunit",
            Ask(
                "max by (service, route) ("
                + window(
                    "sentinel_value",
                    service="~ledger-(edge|poster)",
                    stage="database",
                    signal="errors",
                )
                + ")",
                "{{service}} {{route}}",
            ),
            width=8,
        ),
        timeline(
            "Sessions that wait for others",
            "Blocked and blocking sessions, as PostgreSQL tells: a lock shows here first.",
            "none",
            Ask(
                f"max by (signal) ({window('sentinel_value', **activity, signal='~sessions_blocked_count|sessions_blocking_count')})",
                "{{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Longest wait, longest transaction",
            "Of any session, as PostgreSQL tells.",
            "s",
            Ask(
                f"max by (signal) ({window('sentinel_value', **activity, signal='~lock_wait_max_s|oldest_transaction_s')})",
                "{{signal}}",
            ),
            width=8,
        ),
        timeline(
            "Pools",
            "Connections of the services' pools, by state; all used and none idle is a pool that is too small, or waits.",
            "none",
            Ask(
                "sum by (service, route) ("
                + window(
                    "sentinel_value",
                    service="~ledger-(edge|poster)",
                    stage="metrics",
                    signal="db.client.connection.count",
                )
                + ")",
                "{{service}} {{route}}",
            ),
            width=8,
        ),
    ]


def _labels(place: dict[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in place.items())
