"""Goal: every query of every board runs on a real Prometheus over real metrics and finds something.

Method: the demo's pipeline runs with all that watches it, an incident open, a deploy rolling out and a silence set; beside it a
collector with its scorer, and the injector. Debian's Prometheus scrapes them and has the rules of service levels; every variable is filled by its own query, every expression is run as Grafana would send it. Where no
event is the usual state a query ends with 0 for that; what stands before is asked of a Sentinel to which everything has
happened once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dashboards.source.queries import QUIET
from sentinel.core.model import (
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    SeriesKey,
    Severity,
)
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import Metrics, MetricType
from sentinel.web import Told
from tests.support.board_scene import Scene, board_scene
from tests.support.dashboards import BOARDS, Board, chosen, substitute
from tests.support.latest_verdicts import make_latest
from tests.support.servers import PrometheusServer, prometheus_server, wait_until
from tests.support.surroundings import make_surroundings
from tests.support.web_pages import Pages, serve_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]

MAY_BE_EMPTY = {
    (
        "sentinel-incident",
        "First mover",
    ): "stages that move within a window of one another have no first",
    ("sentinel-health", "Given up"): "nothing is given up while there is room",
    (
        "sentinel-postgres",
        "Statements that take most of the time",
    ): "the ledger's PostgreSQL comes without pg_stat_statements",
    ("sentinel-ledger", "The edge's certificate ends in"): "the demo's edge has no certificate",
    ("sentinel-ledger", "Newest base backup"): "nobody keeps backups of the demo",
    ("sentinel-ledger", "The replica"): "the demo's ledger has no replica",
    ("sentinel-ledger", "Not in the archive"): "the demo's audit has no archive",
}
"""Queries that real metrics need not answer, each with the reason; the second test sees them answered."""

NOT_THERE = {
    "events_.+_per_s": "no delivery was given up and no leader elected",
    "exec_time_ratio": "the ledger's PostgreSQL comes without pg_stat_statements",
    "rollback_ratio": "its clients end what they read with a commit, so rollbacks are errors",
    "role_connections_used_ratio": "its roles have no limit of connections",
    "database_connections_used_ratio": "nor has its database",
    "ledger.webhooks.attempts": "nobody has registered an endpoint",
    "ledger.webhooks.dropped": "so there is nothing to give up",
    "ledger.webhooks.endpoints.disabled": "nor to disable",
    "ledger.edge.limited": "its one tenant stays within its limit",
    "ledger.audit.unstored.age": "its audit has no archive",
    "ledger.backup.age": "so nobody keeps backups in one",
    "ledger.disbursements.asked": "nobody has asked to be paid out",
    "ledger.auth.certificate.expiry": "its edge has no certificate",
    **dict.fromkeys(
        ("ledger.replica.lag", "ledger.replica.up", "ledger.reads"),
        "it has no replica, and the load asks nothing",
    ),
    **dict.fromkeys(
        (
            *("ledger.outbox.dropped", "ledger.webhooks.missed", "ledger.analytics.missed"),
            *("ledger.edge.refused", "ledger.edge.malformed", "ledger.edge.address_refused"),
            *("ledger.edge.limits_forgotten", "ledger.edge.limits_unlocked"),
            *("ledger.auth.refused", "ledger.auth.keys.asked", "ledger.authorize.tokens.issued"),
            *("ledger.authorize.refused", "ledger.authorize.dropped"),
            *("ledger.reconcile.failed", "ledger.archive.failed", "ledger.telemetry.lost"),
        ),
        "nothing is lost and nobody refused in good times",
    ),
    **dict.fromkeys(
        (
            *("ledger.archive.stored", "ledger.witness.answers", "ledger.disbursements.moved"),
            *("ledger.exports.ended", "ledger.exports.refused"),
        ),
        "it has no archive and no witness, and nobody asks for payments or exports",
    ),
    "checkpoints_requested_per_s": "asked for every half minute, and a rate needs two answers",
}
"""Signals that a query names beside others and that the demo's pipeline need not have, each with the reason."""

BOTH_PAGES = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: ["{target}"]}}]
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{target}"]}}]
"""
EVENT = SeriesKey("nats", "queue", "LEDGER/poster", "events_max_deliveries_per_s")
STATEMENT = SeriesKey("postgres", "database", "ledger SELECT #1f3c", "exec_time_ratio")
MEMBER = SeriesKey("ledger-edge", "edge", "POST /v1/transfers", "latency")
_ATTEMPTS = "ledger.webhook.outcome=delivered,ledger.webhook.reason=ok"
BESIDE = [
    SeriesKey("ledger-webhooks", "metrics", _ATTEMPTS, "ledger.webhooks.attempts"),
    SeriesKey(
        "ledger-webhooks", "metrics", "ledger.webhook.reason=gone", "ledger.webhooks.dropped"
    ),
    SeriesKey("ledger-edge", "metrics", "ledger.tenant.tier=standard", "ledger.edge.limited"),
    SeriesKey("ledger-disburser", "metrics", "all", "ledger.disbursements.asked"),
    SeriesKey("ledger-audit", "metrics", "all", "ledger.audit.unstored.age"),
    SeriesKey("ledger-edge", "metrics", "all", "ledger.auth.certificate.expiry"),
    SeriesKey("ledger-backup", "metrics", "all", "ledger.backup.age"),
    SeriesKey("ledger-poster", "metrics", "all", "ledger.outbox.dropped"),
    SeriesKey("ledger-edge", "metrics", "ledger.read.source=replica", "ledger.reads"),
    SeriesKey("ledger-edge", "metrics", "all", "ledger.replica.lag"),
    SeriesKey("ledger-edge", "metrics", "all", "ledger.replica.up"),
    SeriesKey("ledger-edge", "metrics", "error.type=BadHttpMessage", "ledger.edge.malformed"),
    SeriesKey("ledger-edge", "metrics", "ledger.auth.reason=expired", "ledger.auth.refused"),
    SeriesKey("ledger-authorize", "metrics", "ledger.auth.reason=x", "ledger.authorize.refused"),
    SeriesKey("ledger-disburser", "metrics", "all", "ledger.disbursements.moved"),
    SeriesKey("ledger-exporter", "metrics", "all", "ledger.exports.ended"),
    SeriesKey("ledger-archive", "metrics", "all", "ledger.archive.stored"),
    SeriesKey("ledger-witness", "metrics", "all", "ledger.witness.answers"),
    SeriesKey("ledger-reconcile", "metrics", "all", "ledger.reconcile.failed"),
    SeriesKey("ledger-poster", "metrics", "all", "ledger.telemetry.lost"),
]
"""What the ledger tells when something has happened to those who use it."""
CHOSEN = {
    "own": ".*",
    "injector": ".*",
    "instance": ".*",
    "service": ".*",
    "nats": "nats",
    "postgres": "postgres",
    "incident": "one",
    "__rate_interval": "1m",
    "__range": "5m",
}


def test_every_query_finds_something_in_the_demos_pipeline(tmp_path: Path) -> None:
    with board_scene(tmp_path) as scene:
        empty = _never_answered(scene)
        signals = scene.prometheus.get("/api/v1/label/signal/values")
        traced = scene.prometheus.get(
            "/api/v1/query_exemplars",
            query="sentinel_named_calls_total",
            start="0",
            end="9999999999",
        )
    assert empty == []
    # A query that names many finds something where one of them is misspelt.
    unknown = {one for one in _signals() if not any(re.fullmatch(one, name) for name in signals)}
    assert unknown <= NOT_THERE.keys()
    traces = [exemplar for series in traced for exemplar in series["exemplars"]]
    assert traces
    assert all(re.fullmatch("[0-9a-f]{32}", one["labels"]["trace_id"]) for one in traces)


def _signals() -> set[str]:
    """Each signal that a board asks for by its name."""
    asked = (expression for board in BOARDS for expression in board.expressions())
    found = {one for text in asked for one in re.findall(r'signal=~?"([^"$]+)"', text)}
    return {signal for one in found for signal in one.split("|")}


def _never_answered(scene: Scene) -> list[str]:
    """Queries that find nothing however often they are asked for a while: on a busy machine a poll may have failed just now."""
    server = scene.prometheus
    shown = _to_show(server)
    waiting = [
        (f"{board.path.stem}: {title}", query)
        for board in BOARDS
        for title, query in _asked(board, chosen(board, server, shown.get(board.path.stem)))
        if server.query(query) == [] and (board.path.stem, title) not in MAY_BE_EMPTY
    ]

    def all_answered() -> bool:
        waiting[:] = [one for one in waiting if server.query(one[1]) == []]
        return not waiting

    with contextlib.suppress(AssertionError):
        wait_until(all_answered, what="an answer to each", timeout_s=30, every_s=0.5)
    return [f"{title}: {query}" for title, query in waiting]


def _asked(board: Board, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for title, expression in (*board.queries(), *board.marks()):
        yield title, substitute(expression, values)


def _to_show(server: PrometheusServer) -> dict[str, Mapping[str, str]]:
    """What a person would choose: a series outside its band whose service is being deployed, and the widest incident."""
    series = server.query(
        'topk(1, sentinel_score{horizon="", service="ledger-poster"} >= 1'
        " and sentinel_upper and on (service, stage, route) sentinel_latency_seconds"
        " and on (service, stage, route) rate(sentinel_named_calls_total[15s]))"
    )
    [widest] = server.query(
        "topk(1, count by (incident) (sentinel_incident_member_start_timestamp_seconds))"
    )
    names = ("instance", "service", "stage", "route", "signal")
    return {
        "sentinel-series": {name: series[0]["metric"][name] for name in names},
        "sentinel-incident": {"incident": widest["metric"]["incident"]},
    }


async def test_what_is_quiet_in_good_times_is_found_once_it_has_happened(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    pages = Pages()
    keys = [EVENT, STATEMENT, MEMBER, *BESIDE]
    pages.latest = make_latest(keys, values=[5.0] * len(keys), scores=[0.5] * len(keys))
    pages.beside = Told(calls={}, incidents=(_incident(),))
    _touch_everything(surroundings.metrics)
    async with serve_pages(pages, surroundings=surroundings) as web:
        target = urlsplit(web.url).netloc
        asked, empty = await asyncio.to_thread(_quiet_queries, target, tmp_path)
    assert asked > 20
    assert empty == []


def _quiet_queries(target: str, directory: Path) -> tuple[int, list[str]]:
    """How many queries may find nothing, and those that find nothing though it has happened."""
    quiet = [
        (board.path.stem, title, expression.removesuffix(QUIET))
        for board in BOARDS
        for title, expression in (*board.queries(), *board.marks())
        if expression.endswith(QUIET) or (board.path.stem, title) in MAY_BE_EMPTY
    ]
    with prometheus_server(BOTH_PAGES.format(target=target), directory) as server:
        # A rate needs two scrapes of the same counter.
        wait_until(
            lambda: (
                bool(server.query("count_over_time(sentinel_ticks_total[1m]) >= 2"))
                and bool(server.query("count_over_time(sentinel_value[1m]) >= 2"))
            ),
            what="two scrapes",
        )
        return len(quiet), [
            f"{stem}: {title}: {expression}"
            for stem, title, expression in quiet
            if not server.query(substitute(expression, CHOSEN))
        ]


def _incident() -> Incident:
    mover = FirstMover(**MEMBER._asdict(), at_ns=10**18, lead_s=12.0)
    return Incident(
        incident_id="one",
        group="ledger-edge",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=10**18,
        paged_ns=10**18,
        first_mover=mover,
    )


def _touch_everything(metrics: Metrics) -> None:
    """Give every metric of the catalogue one child, so that a query can only be empty by its own fault."""
    for spec in CATALOGUE:
        labels = dict.fromkeys(spec.labels, "example")
        match spec.type:
            case MetricType.COUNTER:
                metrics.count(spec.name, **labels)
            case MetricType.GAUGE:
                metrics.set(spec.name, 1.0, **labels)
            case MetricType.HISTOGRAM:
                metrics.observe(spec.name, 0.01, **labels)
    # What a board picks by a value that is always one of a few.
    metrics.count(
        "sentinel_component_errors_total", component="example", stage="read", reason="overloaded"
    )
