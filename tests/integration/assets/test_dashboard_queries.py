"""Goal: no panel of a shipped board is empty or broken on a real Prometheus.

Method: Sentinel's own web pages, with the whole catalogue and a few series on them, are scraped by Debian's Prometheus;
every variable is filled by its own query, every expression is run as Grafana would send it.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sentinel.core.model import SeriesKey
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import Metrics, MetricType
from tests.support.dashboards import BOARDS, Board, substitute
from tests.support.latest_verdicts import make_latest
from tests.support.servers import PrometheusServer, prometheus_server, wait_until
from tests.support.surroundings import make_surroundings
from tests.support.web_pages import Pages, serve_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KEYS = [
    SeriesKey("ledger-edge", "edge", 'GET /v1/"quoted"\\{id}', "latency"),
    SeriesKey("ledger-edge", "edge", "POST /v1/transfers", "traffic"),
    SeriesKey("ledger-poster", "database", "COMMIT transactions", "errors"),
]
CONFIG = """
global: {{scrape_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: sentinel
    static_configs: [{{targets: ["{target}"]}}]
  - job_name: sentinel-series
    metrics_path: /metrics/series
    static_configs: [{{targets: ["{target}"]}}]
"""
RULES = """
groups:
  - name: always
    interval: 1s
    rules: [{alert: SentinelExample, expr: vector(1)}]
"""


@pytest.mark.parametrize("board", BOARDS, ids=[board.path.stem for board in BOARDS])
async def test_every_query_runs_and_finds_something(board: Board, tmp_path: Path) -> None:
    surroundings = make_surroundings()
    pages = Pages()
    pages.latest = make_latest(KEYS, values=[5.0, 30.0, 0.2], scores=[0.5, 1.5, 2.5])
    _touch_everything(surroundings.metrics)
    async with serve_pages(pages, surroundings=surroundings) as web:
        target = urlsplit(web.url).netloc
        empty = await asyncio.to_thread(_empty_queries, board, target, tmp_path)
    assert empty == []


def _empty_queries(board: Board, target: str, directory: Path) -> list[str]:
    (directory / "rules.yaml").write_text(RULES)
    with prometheus_server(CONFIG.format(target=target), directory) as server:
        # A rate needs two scrapes of the same counter.
        wait_until(
            lambda: (
                bool(server.query("count_over_time(sentinel_ticks_total[1m]) >= 2"))
                and bool(server.query("sentinel_score"))
                and bool(server.query("ALERTS"))
            ),
            what="two scrapes",
        )
        values = {"__rate_interval": "1m", **_variables(board, server)}
        expressions = [
            *board.queries(),
            *(("annotation", note["expr"]) for note in board.document["annotations"]["list"]),
        ]
        return [
            f"{title}: {expression}"
            for title, expression in expressions
            if not server.query(substitute(expression, values))
        ]


def _variables(board: Board, server: PrometheusServer) -> dict[str, str]:
    """The first choice of each variable, found the way Grafana finds it, each with those before it filled in."""
    values: dict[str, str] = {}
    for variable in board.document["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked is not None, variable
        # Grafana escapes what it puts between quotes.
        escaped = {
            name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()
        }
        choices = server.get(
            f"/api/v1/label/{asked[2]}/values", **{"match[]": substitute(asked[1], escaped)}
        )
        assert choices, variable["name"]
        values[variable["name"]] = choices[0]
    return {
        name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()
    }


def _touch_everything(metrics: Metrics) -> None:
    """Give every metric of the catalogue one child, so that a panel can only be empty by its own fault."""
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
