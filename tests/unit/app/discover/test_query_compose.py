"""Goal: queries follow from the names and labels that a server has, whatever those are; a hostile server's names stand nowhere.

Method: facts made by hand, composed; and a server that answers with what no Prometheus would.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sentinel.app.discover.queries.compose import (
    plans_of,
    queries_of_calls,
    queries_of_gauges,
    range_of,
    window_of,
)
from sentinel.app.discover.queries.facts import MetricFacts, ServerFacts, facts_of
from sentinel.app.discover.queries.look import look_at_metrics_of


def facts(interval_s: float = 15.0, **metrics: str) -> ServerFacts:
    """Metrics of one job with these labels."""
    return ServerFacts(
        metrics={
            name: MetricFacts(
                name=name, jobs=frozenset({"shop"}), labels=frozenset(labels.split())
            )
            for name, labels in metrics.items()
        },
        interval_s={"shop": interval_s},
        other_count=0,
        of_watchers=(),
        left_out=(),
        history_days=7,
    )


def queries(found: ServerFacts) -> dict[str, str]:
    plans, _ = plans_of(found)
    made = [
        query
        for plan in plans
        for query in queries_of_calls(plan, found, window_s=window_of(found))
    ]
    made += queries_of_gauges(found, window_s=window_of(found))
    return {query.name: query.query for query in made}


def test_a_histogram_that_knows_the_status_tells_all_three() -> None:
    found = facts(
        http_server_request_duration_seconds_count="job http_route http_response_status_code",
        http_server_request_duration_seconds_bucket="job http_route http_response_status_code le",
    )
    base = "http_server_request_duration_seconds"
    total = f"sum by (job, http_route) (rate({base}_count[75s]))"
    assert queries(found) == {
        "http-traffic": total,
        "http-errors": f'sum by (job, http_route) (rate({base}_count{{http_response_status_code=~"5.."}}[75s])) / {total}',
        "http-latency": f"histogram_quantile(0.95, sum by (job, http_route, le) (rate({base}_bucket[75s])))",
    }


def test_a_counter_beside_a_histogram_without_status_tells_of_errors() -> None:
    found = facts(
        http_requests_total="service code handler method",
        http_request_duration_seconds_count="service handler",
        http_request_duration_seconds_bucket="service handler le",
    )
    made = queries(found)
    assert (
        made["http-traffic"]
        == "sum by (service, method, handler) (rate(http_requests_total[75s]))"
    )
    assert "sum by (service, handler, le)" in made["http-latency"]
    _, said = plans_of(found)
    assert said == ["http_request_duration_seconds has no method: its latency is told without."]


@pytest.mark.parametrize(
    ("interval_s", "window_s", "width"),
    [
        (5.0, 60.0, "65s"),
        (15.0, 60.0, "75s"),
        (30.0, 60.0, "2m"),
        (60.0, 60.0, "4m"),
        (120.0, 150.0, "8m"),
    ],
)
def test_ranges_and_windows_follow_the_scrape_interval(
    interval_s: float, window_s: float, width: str
) -> None:
    found = facts(interval_s, http_requests_total="job code")
    assert window_of(found) == window_s
    assert range_of(interval_s, window_s=window_s) == width
    assert f"[{width}]" in queries(found)["http-traffic"]


@pytest.mark.parametrize(
    ("wished_s", "interval_s", "window_s", "width"),
    [
        (5.0, 5.0, 5.0, "20s"),
        (10.0, 5.0, 10.0, "20s"),
        (10.0, 15.0, 15.0, "1m"),
        (10.0, 60.0, 60.0, "4m"),
        (60.0, 120.0, 150.0, "8m"),
    ],
)
def test_narrow_windows_are_as_narrow_as_the_scrapes_allow(
    wished_s: float, interval_s: float, window_s: float, width: str
) -> None:
    found = facts(interval_s, http_requests_total="job code")
    assert window_of(found, wished_s=wished_s) == window_s
    assert range_of(interval_s, window_s=window_s) == width


def test_two_databases_are_told_apart_by_their_address() -> None:
    found = facts(
        pg_stat_database_numbackends="instance job datname datid",
        pg_settings_max_connections="instance job",
    )
    assert queries(found) == {
        "postgres-connections-used-ratio": "sum by (instance) (avg_over_time(pg_stat_database_numbackends[60s]))"
        " / max by (instance) (avg_over_time(pg_settings_max_connections[60s]))"
    }


class Hostile:
    """Answers every question with the same."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    async def json(self, _url: str) -> dict[str, Any]:
        """As it was made."""
        return self._document


NAMES = ['http_requests_total"}) or vector(1', "http_\x1b[31mrequests_total", "a\nb: c", 7, None]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"data": {"result": [7, {"metric": 7, "value": [1, "x"]}, {"value": "no"}]}},
        {
            "data": {
                "result": [
                    {"metric": {"__name__": name, "job": "j\n"}, "value": [1, "3"]}
                    for name in NAMES
                ]
            }
        },
        {"data": NAMES},
    ],
    ids=["nothing", "no data", "no numbers", "names that would be obeyed", "a list"],
)
def test_what_no_prometheus_says_becomes_no_query(document: dict[str, Any]) -> None:
    asking: Any = Hostile(document)
    found = asyncio.run(facts_of(asking, "http://x", [{"scrapeInterval": 7, "labels": "no"}]))
    assert found.metrics == {}
    told = asyncio.run(look_at_metrics_of(asking, "http://x", name="main", targets=[]))
    assert told.entry is None
    assert all(one.isprintable() for one in told.said)


def test_a_scrape_interval_that_cannot_be_is_not_believed() -> None:
    """A range of 345599999999999965889369735168 s stood in the queries."""
    asking: Any = Hostile({})
    targets = [
        {"labels": {"job": job}, "scrapeInterval": interval}
        for job, interval in (("a", "9" * 30 + "d"), ("b", "0s"), ("c", "1m"))
    ]
    assert asyncio.run(facts_of(asking, "http://x", targets)).interval_s == {"c": 60.0}
