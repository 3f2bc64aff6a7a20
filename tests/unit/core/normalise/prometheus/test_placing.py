"""Goal: any exporter's series are placed where their calls are, or under their own name with bounded, readable routes.

Method: series as instrumentations in use name them, and rules as a user sets them.
"""

from __future__ import annotations

import pytest

from sentinel.core.model import Placed, Reading, Scope
from sentinel.core.normalise.labels import LABEL_CHARS_MAX
from sentinel.core.normalise.prometheus import (
    CallRule,
    DefaultPlacing,
    MetricType,
    PlacingRules,
    SeriesName,
)


def placed_of(
    name: str,
    kind: MetricType,
    labels: dict[str, str],
    *,
    rules: PlacingRules | None = None,
    target_labels: dict[str, str] | None = None,
) -> Placed | None:
    placing = DefaultPlacing(rules or PlacingRules(service="shop"), labels=target_labels)
    return placing.place(SeriesName(name, kind, labels))


def place(
    name: str,
    kind: MetricType = MetricType.HISTOGRAM,
    *,
    rules: PlacingRules | None = None,
    **labels: str,
) -> Placed | None:
    return placed_of(name, kind, labels, rules=rules)


@pytest.mark.parametrize(
    ("name", "labels", "stage", "route", "error", "scale"),
    [
        ("http_request_duration_seconds", {"method": "GET", "handler": "/x", "code": "200"}, "edge", "GET /x", False, 1.0),
        ("http_request_duration_seconds", {"method": "GET", "path": "/x/12345", "status": "5xx"}, "edge", "GET /x/{id}", True, 1.0),
        ("http_request_duration_seconds", {}, "edge", "other", False, 1.0),
        ("app_http_request_duration_milliseconds", {"method": "PUT", "route": "/y", "status_code": "404"}, "edge", "PUT /y", False, 1e-3),
        ("flask_http_request_duration_seconds", {"method": "GET", "path": "/", "status": "503"}, "edge", "GET /", True, 1.0),
        ("http_server_requests_seconds", {"method": "GET", "uri": "/a/{b}", "status": "500"}, "edge", "GET /a/{b}", True, 1.0),
        ("alertmanager_http_request_duration_seconds", {"handler": "/alerts", "method": "post", "code": "200"}, "edge", "post /alerts", False, 1.0),
        ("grpc_server_handling_seconds", {"grpc_service": "a.B", "grpc_method": "C", "grpc_type": "unary"}, "edge", "a.B C", False, 1.0),
        ("grpc_server_handling_seconds", {"grpc_service": "a.B", "grpc_method": "C", "grpc_code": "Unavailable"}, "edge", "a.B C", True, 1.0),
        ("grpc_server_handling_seconds", {"grpc_service": "a.B", "grpc_method": "C", "grpc_code": "NotFound"}, "edge", "a.B C", False, 1.0),
        ("http_client_requests_seconds", {"method": "GET", "client_name": "bank", "uri": "/pay", "status": "404"}, "client", "GET bank /pay", True, 1.0),
        ("http_server_request_duration_seconds", {"http_request_method": "GET", "http_route": "/z", "http_response_status_code": "502"}, "edge", "GET /z", True, 1.0),
        ("http_server_duration_milliseconds", {"http_method": "GET", "http_route": "/z", "http_status_code": "200"}, "edge", "GET /z", False, 1e-3),
        ("http.server.request.duration", {"http.request.method": "GET", "http.route": "/z"}, "edge", "GET /z", False, 1.0),
        ("db_client_operation_duration_seconds", {"db_system_name": "postgresql", "db_operation_name": "INSERT", "db_collection_name": "p", "error_type": "x"}, "database", "INSERT p", True, 1.0),
        ("rpc_server_duration_milliseconds", {"rpc_service": "s", "rpc_method": "m", "rpc_grpc_status_code": "14"}, "edge", "s/m", True, 1e-3),
        ("messaging_process_duration_seconds", {"messaging_destination_name": "q"}, "consumer", "process q", False, 1.0),
    ],
)  # fmt: skip
def test_durations_of_calls_are_where_the_calls_are(
    *, name: str, labels: dict[str, str], stage: str, route: str, error: bool, scale: float
) -> None:
    placed = placed_of(name, MetricType.HISTOGRAM, labels)
    assert placed is not None
    assert placed.reading is Reading.CALLS
    assert placed.scope == Scope("shop", stage, route)
    assert (placed.error, placed.scale) == (error, scale)


def test_a_name_that_was_superseded_says_so() -> None:
    old, new = place("http_server_duration_milliseconds"), place("http_server_request_duration_seconds")  # fmt: skip
    assert old is not None
    assert new is not None
    assert old.newer_signal == new.signal


@pytest.mark.parametrize(
    ("name", "kind", "reading"),
    [
        ("http_request_size_bytes", MetricType.HISTOGRAM, Reading.DISTRIBUTION),
        ("http_request_duration_size_bytes", MetricType.HISTOGRAM, Reading.DISTRIBUTION),
        ("http_request_duration_seconds", MetricType.GAUGE, Reading.LEVEL),
        ("http_request_duration_seconds", MetricType.SUMMARY, Reading.CALLS),
        ("lag_seconds", MetricType.HISTOGRAM, Reading.DISTRIBUTION),
        ("lag_seconds", MetricType.SUMMARY, Reading.RATE),
        ("jobs_total", MetricType.COUNTER, Reading.RATE),
        ("jobs_total", MetricType.UNKNOWN, Reading.RATE),
        ("jobs_count", MetricType.UNKNOWN, Reading.RATE),
        ("jobs", MetricType.UNKNOWN, Reading.LEVEL),
        ("mode", MetricType.STATESET, Reading.LEVEL),
    ],
)
def test_other_metrics_are_read_by_their_type(
    name: str, kind: MetricType, reading: Reading
) -> None:
    placed = place(name, kind)
    assert placed is not None
    assert placed.reading is reading


def test_routes_are_labels_without_those_of_replicas() -> None:
    placed = place(
        "depth", MetricType.GAUGE, topic="pay", instance="10.0.0.1:80", pod="p-1", a="b"
    )
    assert placed == Placed(
        scope=Scope("shop", "metrics", "a=b,topic=pay"), signal="depth", reading=Reading.LEVEL
    )


def test_labels_name_service_stage_and_route() -> None:
    placed = place(
        "depth", MetricType.GAUGE, service="bank", stage="queue", route="in", job="x", n="1"
    )
    assert placed is not None
    assert placed.scope == Scope("bank", "queue", "in,job=x,n=1")
    rules = PlacingRules(
        service="shop", service_labels=("app",), stage_labels=(), route_labels=("topic", "n")
    )
    placed = place("depth", MetricType.GAUGE, rules=rules, app="a", topic="t", n="1", service="s")
    assert placed is not None
    assert placed.scope == Scope("a", "metrics", "t,1,service=s")


def test_labels_of_the_target_are_those_of_its_series_unless_they_say_otherwise() -> None:
    labels = {"job": "bank", "env": "prod", "topic": "none"}
    placed = placed_of("depth", MetricType.GAUGE, {"topic": "t"}, target_labels=labels)
    assert placed is not None
    assert placed.scope == Scope("bank", "metrics", "env=prod,topic=t")


def test_long_routes_are_cut_and_told_apart() -> None:
    routes = set()
    for number in range(3):
        placed = place("depth", MetricType.GAUGE, a="x" * 100, b="y" * 100, c=f"{number}")
        assert placed is not None
        routes.add(placed.scope.route)
        assert len(placed.scope.route) <= LABEL_CHARS_MAX
    assert len(routes) == 3


def test_what_is_denied_or_not_allowed_is_not_taken() -> None:
    rules = PlacingRules(service="shop", allow=("app_*", "http_*"), deny=("*_debug", "http_?"))
    taken = [
        name
        for name in ("app_x", "app_x_debug", "go_x", "http_a", "http_ab", "http.a")
        if place(name, MetricType.GAUGE, rules=rules) is not None
    ]
    assert taken == ["app_x", "http_ab"]
    assert place("up_info", MetricType.GAUGE) is None
    assert place("up_created", MetricType.GAUGE) is None
    assert place("x", MetricType.INFO) is None
    denied = PlacingRules(service="shop", deny=("http_server_request_duration_seconds",))
    assert place("http_server_request_duration_seconds", rules=denied) is None


def test_rules_of_the_user_come_first_and_count_counters() -> None:
    rules = PlacingRules(
        service="shop",
        calls=(
            CallRule(
                metric="bank_calls_total",
                stage="client",
                route=("op",),
                status=("how",),
                failed="bad.*",
            ),
            CallRule(metric="wait", route=("op",), scale=1e-6),
        ),
    )
    placed = place("bank_calls_total", MetricType.COUNTER, rules=rules, op="pay", how="bad-luck")
    assert placed is not None
    assert placed.scope == Scope("shop", "client", "pay")
    assert placed.reading is Reading.CALLS
    assert placed.error
    placed = place("wait", rules=rules, op="pay", how="bad")
    assert placed is not None
    assert (placed.scale, placed.error) == (1e-6, False)
    with pytest.raises(ValueError, match="no regular expression"):
        CallRule(metric="x", failed="(")
