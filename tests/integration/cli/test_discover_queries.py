"""Goal: what a Prometheus has is recognised by the names that are usual, and every query that is written gives what it says.

Method: Debian's Prometheus scrapes pages as instrumentations and exporters show them; the command is run against it, what it prints is
loaded, and each query is asked of the same Prometheus and its answers named as the sidecar names them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.core.model import SeriesKey
from sentinel.core.normalise.promql.rules import QueryRule
from sentinel.runtime.promql.client import PromqlClient
from tests.integration.cli.test_discover import TEXT, loaded, run, serving
from tests.support.servers import PrometheusServer, prometheus_server, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def histogram(name: str, labels: str, *, bounds: tuple[str, ...] = ("0.1", "1", "+Inf")) -> str:
    """A histogram of ten calls."""
    inner = f"{labels}," if labels else ""
    lines = [f'{name}_bucket{{{inner}le="{bound}"}} 10' for bound in bounds]
    return "\n".join(
        [
            f"# TYPE {name} histogram",
            *lines,
            f"{name}_sum{{{labels}}} 1",
            f"{name}_count{{{labels}}} 10",
        ]
    )


SHOP = "\n".join(
    [
        "# TYPE http_requests_total counter",
        'http_requests_total{code="200",handler="/cart",method="post"} 10',
        'http_requests_total{code="503",handler="/cart",method="post"} 1',
        histogram("http_request_duration_seconds", 'handler="/cart",method="post"'),
        "# TYPE go_goroutines gauge",
        "go_goroutines 7",
        "# TYPE prometheus_http_requests_total counter",
        'prometheus_http_requests_total{code="200",handler="/metrics"} 3',
    ]
)
OTEL = histogram(
    "http_server_request_duration_seconds",
    'http_request_method="GET",http_route="/items/{id}",http_response_status_code="500"',
)
MANY = "\n".join(
    ["# TYPE shop_http_requests_total counter"]
    + [f'shop_http_requests_total{{code="200",path="/items/{number}"}} 1' for number in range(300)]
)
GRPC = "\n".join(
    [
        "# TYPE grpc_server_handled_total counter",
        'grpc_server_handled_total{grpc_service="bank.Pay",grpc_method="Do",grpc_code="OK",grpc_type="unary"} 9',
        'grpc_server_handled_total{grpc_service="bank.Pay",grpc_method="Do",grpc_code="Internal",grpc_type="unary"} 1',
        histogram(
            "grpc_server_handling_seconds",
            'grpc_service="bank.Pay",grpc_method="Do",grpc_type="unary"',
        ),
    ]
)
KONG = "\n".join(
    [
        "# TYPE kong_http_requests_total counter",
        'kong_http_requests_total{service="pay",route="transfers",code="200",source="service",workspace="default",consumer=""} 9',
        histogram(
            "kong_request_latency_ms",
            'service="pay",route="transfers",workspace="default"',
            bounds=("25", "100", "+Inf"),
        ),
    ]
)
NATS = "\n".join(
    f'jetstream_consumer_{name}{{stream_name="orders",consumer_name="poster",is_consumer_leader="{leader}"}} {value}'
    for name in ("num_pending", "num_ack_pending", "num_redelivered")
    for leader, value in (("true", 5), ("false", 900))
)
POSTGRES = "\n".join(
    [
        "pg_settings_max_connections 100",
        *(
            f'pg_stat_database_{name}{{datid="{number}",datname="{datname}"}} {10 * (number + 1)}'
            for name in (
                "numbackends",
                "xact_commit",
                "xact_rollback",
                "blks_hit",
                "blks_read",
                "deadlocks",
            )
            for number, datname in enumerate(("app", "template0"))
        ),
        'pg_stat_activity_max_tx_duration{datname="app",state="active"} 3',
        "pg_replication_lag_seconds 0",
    ]
)
SUMMARY = "\n".join(
    [
        "# TYPE legacy_http_request_duration_seconds summary",
        'legacy_http_request_duration_seconds{quantile="0.5",code="200"} 0.1',
        'legacy_http_request_duration_seconds_sum{code="200"} 1',
        'legacy_http_request_duration_seconds_count{code="200"} 10',
    ]
)
PAGES = {
    "shop": SHOP,
    "items": OTEL,
    "many": MANY,
    "bank": GRPC,
    "edge": KONG,
    "nats": NATS,
    "postgres": POSTGRES,
    "legacy": SUMMARY,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that has scraped each page a few times."""
    pages = {f"/{name}": (200, TEXT, f"{page}\n") for name, page in PAGES.items()}
    with serving(pages) as url:
        jobs = "\n".join(
            f"- job_name: {name}\n  metrics_path: /{name}\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{url.removeprefix('http://')}']}}]"
            for name in PAGES
        )
        with prometheus_server(
            f"scrape_configs:\n{jobs}\n", tmp_path_factory.mktemp("prometheus")
        ) as started:
            wait_until(
                lambda: len(started.query("count_over_time(up[1m]) > 2")) == len(PAGES),
                what="three scrapes of each",
            )
            yield started


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")


def rules_of(text: str, folder: Path) -> tuple[QueryRule, ...]:
    [found] = loaded(text, folder).scrapers.prometheus_queries
    return found.rules()


def keys_of(server: PrometheusServer, text: str, folder: Path) -> dict[str, list[SeriesKey]]:
    """What each query gives now, as the sidecar names it."""
    path = folder / "found.yaml"
    path.write_text(text)
    [found] = load_config(path, environment={}).config.scrapers.prometheus_queries
    [newest] = server.query("max(timestamp(up))")
    at_ns = int(float(newest["value"][1]) * 1000) * 10**6

    async def ask() -> dict[str, list[SeriesKey]]:
        client = PromqlClient(found)
        try:
            return {
                rule.name: [
                    rule.key_of(one.labels)
                    for one in (await client.instant(rule.query, at_ns=at_ns)).series
                ]
                for rule in found.rules()
            }
        finally:
            await client.close()

    return asyncio.run(ask())


def test_every_query_that_is_written_gives_the_series_it_is_for(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--prometheus", server.url) == 0
    given = keys_of(server, capsys.readouterr().out, tmp_path)
    cart = "post /cart"
    item = "GET /items/{id}"
    assert {name: [tuple(key) for key in keys] for name, keys in given.items()} == {
        "kong-traffic": [("kong", "edge", "pay transfers", "traffic")],
        "kong-errors": [],
        "kong-latency": [("kong", "edge", "pay transfers", "latency")],
        "grpc-traffic": [("bank", "edge", "bank.Pay Do", "traffic")],
        "grpc-errors": [("bank", "edge", "bank.Pay Do", "errors")],
        "grpc-latency": [("bank", "edge", "bank.Pay Do", "latency")],
        "http-traffic": [("shop", "edge", cart, "traffic")],
        "http-errors": [("shop", "edge", cart, "errors")],
        "http-latency": [("shop", "edge", cart, "latency")],
        "http-2-traffic": [("items", "edge", item, "traffic")],
        "http-2-errors": [("items", "edge", item, "errors")],
        "http-2-latency": [("items", "edge", item, "latency")],
        "legacy-traffic": [("legacy", "edge", "all", "traffic")],
        "legacy-errors": [],
        "shop-traffic": [("many", "edge", "all", "traffic")],
        "shop-errors": [],
        "nats-consumer-pending-count": [
            ("nats", "queue", "orders/poster", "consumer_pending_count")
        ],
        "nats-consumer-ack-pending-count": [
            ("nats", "queue", "orders/poster", "consumer_ack_pending_count")
        ],
        "nats-consumer-redelivered-count": [
            ("nats", "queue", "orders/poster", "consumer_redelivered_count")
        ],
        **{
            f"postgres-{signal.replace('_', '-')}": [
                ("postgres", "database", f"{database}{address_of(server)}", signal)
            ]
            for signal, database in (
                ("connections_used_ratio", ""),
                ("commits_per_s", "app,"),
                ("rollback_ratio", "app,"),
                ("cache_hit_ratio", "app,"),
                ("deadlocks_per_s", "app,"),
                ("oldest_transaction_s", "app,"),
                ("standby_delay_s", ""),
            )
        },
    }


def address_of(server: PrometheusServer) -> str:
    [found] = server.query('up{job="postgres"}')
    return str(found["metric"]["instance"])


def test_what_was_not_taken_is_said_with_the_reason(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--prometheus", server.url, "-o", "json") == 0
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    said = " ".join(finding["advice"])
    assert "shop_http_requests_total has 300 series by job, path, more than 200" in said
    assert "legacy_http_request_duration_seconds is a summary" in said
    assert "prometheus_http_requests_total: of what watches" in said
    assert "1 other metrics have no name" in said
    assert "data of less than a day" in finding["sentence"]


def test_narrower_windows_are_written_on_demand(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is scraped by the second: five of those, four scrapes at least, and half of it for what comes late."""
    assert run("--prometheus", server.url, "--interval", "5s") == 0
    text = capsys.readouterr().out
    rules = rules_of(text, tmp_path)
    assert {"[6s]" in rule.query or "[5s]" in rule.query for rule in rules} == {True}
    file = tmp_path / "narrow.yaml"
    file.write_text(text)
    config = load_config(file, environment={}).config
    [asked] = config.scrapers.prometheus_queries
    assert (float(asked.interval), float(asked.lag)) == (5, 2)
    assert (float(config.series.window), float(config.series.lateness)) == (5, 7)


def test_widths_that_make_no_five_minutes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("7s", "2m", "0s", "soon"):
        with pytest.raises(SystemExit) as ended:
            run("--prometheus", "http://127.0.0.1:9", "--interval", wrong)
        assert ended.value.code == 2
        assert "--interval" in capsys.readouterr().err


def test_ranges_follow_how_often_is_scraped(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the second: each window and one scrape more."""
    assert run("--prometheus", server.url) == 0
    rules = rules_of(capsys.readouterr().out, tmp_path)
    assert {rule.query.count("[61s]") > 0 or "[60s]" in rule.query for rule in rules} == {True}
