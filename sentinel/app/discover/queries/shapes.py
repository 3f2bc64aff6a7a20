"""The metrics that are recognised, as data: what counts calls, what measures them, and which gauges tell of queues and databases.

A shape names metrics; which labels they have is asked of the server, because the same name has others from every library. The first
shape that knows a metric takes it. What watches itself (Prometheus, Alertmanager, Grafana, Sentinel) is nobody's service and is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SERVICE = ("service_name", "exported_service", "service", "app", "application", "job")
METHOD = ("http_request_method", "http_method", "method", "verb")
ROUTE = (
    "http_route",
    "route",
    "handler",
    "path_template",
    "endpoint",
    "uri",
    "path",
    "view",
)
STATUS = (
    "http_response_status_code",
    "http_status_code",
    "status_code",
    "response_code",
    "code",
    "status",
)
HTTP_FAILED = "5.."
GRPC_FAILED = "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
GRPC_FAILED_BY_NUMBER = "2|4|12|13|14|15"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallShape:
    """Metrics that measure calls.

    Attributes:
        name: what it is, for people and for the names of queries.
        counter: regular expression over the name of a counter of calls, or "".
        histogram: over that of a histogram of their durations, without `_bucket`, or "".
        service: labels that name the service, the first that is there counts; or a fixed name with `fixed_service`.
        fixed_service: the service, where no label names it.
        route: labels that make the route, each the first that is there of its alternatives.
        status: labels that tell how a call ended.
        failed: regular expression over that label's values.
        scale: seconds a unit of the histogram's boundaries.
    """

    name: str
    counter: str = ""
    histogram: str = ""
    service: tuple[str, ...] = SERVICE
    fixed_service: str = ""
    route: tuple[tuple[str, ...], ...] = (METHOD, ROUTE)
    status: tuple[str, ...] = STATUS
    failed: str = HTTP_FAILED
    scale: float = 1.0


CALLS: tuple[CallShape, ...] = (
    CallShape(
        name="kong",
        counter="kong_http_requests_total",
        histogram="kong_request_latency_ms",
        fixed_service="kong",
        route=(("service",), ("route",)),
        status=("code",),
        scale=1e-3,
    ),
    CallShape(
        name="istio",
        counter="istio_requests_total",
        histogram="istio_request_duration_milliseconds",
        service=(
            "destination_canonical_service",
            "destination_service_name",
            "destination_workload",
        ),
        route=(),
        status=("response_code",),
        scale=1e-3,
    ),
    CallShape(
        name="ingress-nginx",
        counter="nginx_ingress_controller_requests",
        histogram="nginx_ingress_controller_request_duration_seconds",
        service=("exported_service", "service", "ingress"),
        route=(("host",), ("path",)),
        status=("status",),
    ),
    CallShape(
        name="traefik",
        counter="traefik_service_requests_total",
        histogram="traefik_service_request_duration_seconds",
        service=("exported_service", "service"),
        route=(METHOD,),
        status=("code",),
    ),
    CallShape(
        name="grpc",
        counter="grpc_server_handled_total",
        histogram="grpc_server_handling_seconds",
        route=(("grpc_service",), ("grpc_method",)),
        status=("grpc_code",),
        failed=GRPC_FAILED,
    ),
    CallShape(
        name="rpc",
        histogram="rpc_server(?:_call)?_duration_seconds",
        route=(("rpc_service",), ("rpc_method",)),
        status=("rpc_grpc_status_code", "rpc_response_status_code"),
        failed=f"{GRPC_FAILED_BY_NUMBER}|{GRPC_FAILED}",
    ),
    CallShape(
        name="rpc-ms",
        histogram="rpc_server_duration_milliseconds",
        route=(("rpc_service",), ("rpc_method",)),
        status=("rpc_grpc_status_code", "rpc_response_status_code"),
        failed=f"{GRPC_FAILED_BY_NUMBER}|{GRPC_FAILED}",
        scale=1e-3,
    ),
    CallShape(
        name="http-ms",
        histogram="(?:[a-z0-9_]+_)?http_(?:server_)?requests?_(?:duration|latency)_(?:milliseconds|ms)|http_server_duration_milliseconds",
        scale=1e-3,
    ),
    CallShape(
        name="http",
        counter="(?:[a-z0-9_]+_)?http_(?:server_)?requests?_total",
        histogram="(?:[a-z0-9_]+_)?http_(?:server_)?requests?(?:_(?:duration|latency))?_seconds",
    ),
    CallShape(name="http-plain", counter="requests_total", histogram="request_duration_seconds"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeShape:
    """Metrics of a queue or a database, and the gauge that they make.

    Attributes:
        signal: the gauge's name; Sentinel knows those of its own scrapers and on which side they are bad.
        stage: `queue` or `database`.
        service: its service.
        needs: the metrics the query reads.
        query: PromQL; `{by}` is replaced by the labels that tell several servers apart, `{range}` by the range of a rate, `{window}`
            by the width of a window.
        labels: labels that tell its series apart, of which those that are there become the route.
        why: what it tells, in a clause.
    """

    signal: str
    stage: str
    service: str
    needs: tuple[str, ...]
    query: str
    labels: tuple[str, ...] = ()
    why: str = ""


_CONSUMER = ("stream_name", "consumer_name")
_LEADER = '{{is_consumer_leader!="false"}}'

GAUGES: tuple[GaugeShape, ...] = (
    GaugeShape(
        signal="consumer_pending_count",
        stage="queue",
        service="nats",
        needs=("jetstream_consumer_num_pending",),
        query=f"max by ({{by}}) (avg_over_time(jetstream_consumer_num_pending{_LEADER}[{{window}}]))",
        labels=_CONSUMER,
        why="messages that wait for a consumer",
    ),
    GaugeShape(
        signal="consumer_ack_pending_count",
        stage="queue",
        service="nats",
        needs=("jetstream_consumer_num_ack_pending",),
        query=f"max by ({{by}}) (avg_over_time(jetstream_consumer_num_ack_pending{_LEADER}[{{window}}]))",
        labels=_CONSUMER,
        why="messages delivered and not acknowledged",
    ),
    GaugeShape(
        signal="consumer_redelivered_count",
        stage="queue",
        service="nats",
        needs=("jetstream_consumer_num_redelivered",),
        query=f"max by ({{by}}) (avg_over_time(jetstream_consumer_num_redelivered{_LEADER}[{{window}}]))",
        labels=_CONSUMER,
        why="messages delivered more than once",
    ),
    GaugeShape(
        signal="connections_used_ratio",
        stage="database",
        service="postgres",
        needs=("pg_stat_database_numbackends", "pg_settings_max_connections"),
        query="sum by ({by}) (avg_over_time(pg_stat_database_numbackends[{window}]))"
        " / max by ({by}) (avg_over_time(pg_settings_max_connections[{window}]))",
        why="at 1 new clients are refused",
    ),
    GaugeShape(
        signal="commits_per_s",
        stage="database",
        service="postgres",
        needs=("pg_stat_database_xact_commit",),
        query='sum by ({by}) (rate(pg_stat_database_xact_commit{{datname!~"template.*|"}}[{range}]))',
        labels=("datname",),
        why="transactions that were committed",
    ),
    GaugeShape(
        signal="rollback_ratio",
        stage="database",
        service="postgres",
        needs=("pg_stat_database_xact_rollback", "pg_stat_database_xact_commit"),
        query='sum by ({by}) (rate(pg_stat_database_xact_rollback{{datname!~"template.*|"}}[{range}])) / (sum by ({by}) '
        '(rate(pg_stat_database_xact_commit{{datname!~"template.*|"}}[{range}])) + sum by ({by}) '
        '(rate(pg_stat_database_xact_rollback{{datname!~"template.*|"}}[{range}])))',
        labels=("datname",),
        why="transactions that were not",
    ),
    GaugeShape(
        signal="cache_hit_ratio",
        stage="database",
        service="postgres",
        needs=("pg_stat_database_blks_hit", "pg_stat_database_blks_read"),
        query='sum by ({by}) (rate(pg_stat_database_blks_hit{{datname!~"template.*|"}}[{range}])) / (sum by ({by}) '
        '(rate(pg_stat_database_blks_hit{{datname!~"template.*|"}}[{range}])) + sum by ({by}) '
        '(rate(pg_stat_database_blks_read{{datname!~"template.*|"}}[{range}])))',
        labels=("datname",),
        why="blocks that were in memory",
    ),
    GaugeShape(
        signal="deadlocks_per_s",
        stage="database",
        service="postgres",
        needs=("pg_stat_database_deadlocks",),
        query='sum by ({by}) (rate(pg_stat_database_deadlocks{{datname!~"template.*|"}}[{range}]))',
        labels=("datname",),
        why="transactions that waited for each other",
    ),
    GaugeShape(
        signal="oldest_transaction_s",
        stage="database",
        service="postgres",
        needs=("pg_stat_activity_max_tx_duration",),
        query='max by ({by}) (max_over_time(pg_stat_activity_max_tx_duration{{datname!~"template.*|"}}[{window}]))',
        labels=("datname",),
        why="a transaction that stays open keeps locks and dead rows",
    ),
    GaugeShape(
        signal="standby_delay_s",
        stage="database",
        service="postgres",
        needs=("pg_replication_lag_seconds",),
        query="max by ({by}) (avg_over_time(pg_replication_lag_seconds[{window}]))",
        why="how far a standby is behind",
    ),
)

OF_WATCHERS = re.compile(
    r"(?:prometheus|alertmanager|grafana|sentinel|promhttp|thanos|loki|tempo|cortex|mimir|vm|otelcol|net_conntrack)_.*"
)
"""Metrics of what watches others."""

SUFFIXES = ("_bucket", "_count", "_sum")


def recognised() -> str:
    """One regular expression, as PromQL takes it, over every name that any shape knows."""
    names: list[str] = []
    for shape in CALLS:
        if shape.counter:
            names.append(f"(?:{shape.counter})")
        if shape.histogram:
            names.append(f"(?:{shape.histogram})(?:_bucket|_count)?")
    names += sorted({need for gauge in GAUGES for need in gauge.needs})
    return "|".join(names)
