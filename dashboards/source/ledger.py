"""Does the ledger keep its service levels, and where in edge, NATS, posting and PostgreSQL does it not?"""

from __future__ import annotations

from dashboards.source import levels
from dashboards.source.frame import Board
from dashboards.source.kit import Ask, Panel, number, timeline
from dashboards.source.queries import window
from dashboards.source.series import band, calls_with_traces

_TRANSFERS = {"service": "ledger-edge", "stage": "edge", "route": "POST /v1/transfers"}
_PROCESS = {
    "service": "ledger-poster",
    "stage": "consumer",
    "route": "process ledger.transfers",
}
_ACCEPTING = {"slo": "availability", "service": "ledger-edge"}
_IN_TIME = {"slo": "posting", "service": "ledger-poster"}
_BURN = ((None, "green"), (levels.TICKETS_AT, "orange"), (levels.PAGES_AT, "red"))
_LEFT = ((None, "red"), (0.0, "orange"), (0.25, "green"))
_SHARE = ((None, "red"), (0.99, "orange"), (0.9999, "green"))


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-ledger",
        "Ledger: the pipeline and its service levels",
        "A transfer's way from the edge over NATS and the poster to PostgreSQL, with the service levels of accepting and posting.",
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
    made.runbooks().runbooks_of(
        "the ledger", "service levels", "the gateway", "NATS", "PostgreSQL"
    )
    made.incidents()
    made.events("ledger-.*|$nats|$postgres")
    made.alerts("Alerts of the pipeline", "Ledger.*|ServiceLevel.*|Gateway.*|Nats.*|Postgres.*")
    made.row("Service levels").panels(*_service_levels())
    made.row("Edge").panels(*_edge())
    made.row("NATS").panels(*_queue())
    made.row("Posting").panels(*_posting())
    made.row("PostgreSQL").panels(*_database())
    return made


def _service_levels() -> list[Panel]:
    return [
        number(
            "Accepted",
            "Share of requests that the edge answered without an error of its own, over the range that is shown.",
            "percentunit",
            Ask(levels.kept_share(**_ACCEPTING)),
            decimals=4,
            steps=_SHARE,
        ),
        number(
            "Error budget left, 30 days",
            "What 99.99 % allows to fail in 30 days, 4 min 19 s were everything to fail, minus what failed; below 0 it is overspent. The"
            " number that ServiceLevelMissed looks at.",
            "percentunit",
            Ask(levels.budget_left(**_ACCEPTING)),
            decimals=1,
            steps=_LEFT,
        ),
        number(
            "Burn rate, 1 h",
            "How many times as fast as allowed the budget is being spent; at 14.4 a month's budget is gone in two days. The number that"
            " ServiceLevelBurnsFast looks at.",
            "none",
            Ask(levels.burn_rate("1h", **_ACCEPTING)),
            decimals=1,
            steps=_BURN,
        ),
        number(
            "Burn rate, 5 min",
            "The same over five minutes: whether it is still going on.",
            "none",
            Ask(levels.burn_rate("5m", **_ACCEPTING)),
            decimals=1,
            steps=_BURN,
        ),
        number(
            "Posted within 30 s",
            "Share of transfers that were committed within 30 s of their acceptance, over the range that is shown.",
            "percentunit",
            Ask(levels.kept_share(**_IN_TIME)),
            decimals=4,
            steps=_SHARE,
        ),
        number(
            "Budget of posting left, 30 days",
            "The same as for accepting: of 10,000 transfers one may be posted later than 30 s.",
            "percentunit",
            Ask(levels.budget_left(**_IN_TIME)),
            decimals=1,
            steps=_LEFT,
        ),
        timeline(
            "Burn rates of accepting",
            "By the length of the window, as alerts compare them. A long and a short one high together is an alert: 1 h and 5 min from 14.4"
            " (dashed) and 6 h and 30 min from 6 page, 1 d and 2 h from 3 and 3 d and 6 h from 1 are tickets, if ten requests failed.",
            "none",
            *(Ask(levels.burn_rate(one, **_ACCEPTING), one) for one in levels.WINDOWS),
            width=12,
            limit=levels.PAGES_AT,
        ),
        timeline(
            "Burn rates of posting",
            "The same for transfers that are committed within 30 s of their acceptance.",
            "none",
            *(Ask(levels.burn_rate(one, **_IN_TIME), one) for one in levels.WINDOWS),
            width=12,
            limit=levels.PAGES_AT,
        ),
        number(
            "Windows answered in time",
            "Share of windows of the range in which the 95th percentile of accepting stayed below the bound chosen above. No alert looks at"
            " it.",
            "percentunit",
            Ask(
                "avg_over_time((max(sentinel_latency_seconds{quantile="
                f'"0.95", {_labels(_TRANSFERS)}}}) <= bool $slow)[$__range:])'
            ),
            decimals=2,
            steps=_SHARE,
            width=12,
        ),
        number(
            "Posted at the first attempt",
            "Share of attempts at posting that committed, over the range; the others are tried again, none is lost. No alert looks at it.",
            "percentunit",
            Ask(f"1 - {_failed_share(_PROCESS, '$__range')}"),
            decimals=3,
            steps=((None, "red"), (0.9, "orange"), (0.99, "green")),
            width=12,
        ),
    ]


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
    consumer = {"service": "$nats", "route": "~LEDGER/.*"}
    return [
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
    return [
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


def _failed_share(place: dict[str, str], length: str) -> str:
    """Failed of all calls of a place in a time: the windows' shares, each by its calls. Of service levels the rules tell.

    Both parts are subqueries, so that they have the same number of points; a window of which the share is not known counts in neither.
    """
    traffic = window("sentinel_value", **place, signal="traffic")
    errors = window("sentinel_value", **place, signal="errors")
    match = "on (instance, service, stage, route)"
    failed = f"sum(sum_over_time(({errors} * {match} {traffic})[{length}:]))"
    return f"({failed} / sum(sum_over_time(({traffic} and {match} {errors})[{length}:])))"


def _labels(place: dict[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in place.items())
