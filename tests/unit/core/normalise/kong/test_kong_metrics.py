"""Goal: a page of Kong's metrics becomes calls, outcomes and gauges by route, whatever is on it yet and in which order.

Method: pages of tests/data/kong, whole, bent and one after another through windows.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from sentinel.core.model import Direction, SampleBatch, Scope, SeriesKey, known_gauge
from sentinel.core.normalise.kong import names as kong_names
from sentinel.core.normalise.kong.metrics import KongMetricsSettings, KongParser
from sentinel.core.normalise.kong.tiers import TierRule, Tiers
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.core.stats import log_linear
from tests.support.batches import START_NS, at
from tests.support.kong_status import KongStatus

DATA = Path(__file__).parents[4] / "data" / "kong"
TEXT = "text/plain; charset=UTF-8"
ORDERS = Scope("kong", "edge", "orders-v1")
TIERS = Tiers(
    [TierRule(tier="free", usernames=("trial-*",)), TierRule(tier="gold", usernames=("acme-*",))]
)


def _parse(body: bytes, *, parser: KongParser | None = None, time_s: float = 0.0) -> SampleBatch:
    parser = parser or _parser()
    return parser.parse(body, content_type=TEXT, time_ns=at(time_s)).batch


def _parser(tiers: Tiers | None = None) -> KongParser:
    return KongParser(KongMetricsSettings(target="kong/main", tiers=tiers or Tiers()))


def _numbers(batch: SampleBatch, scope: Scope) -> dict[str, float]:
    return {point.signal: point.value for point in batch.numbers if point.scope == scope}


def _calls(batch: SampleBatch, scope: Scope) -> dict[tuple[bool, bool], int]:
    """How many calls each point counts, by whether it only times them and whether they failed."""
    return {
        (point.times_only, point.error): int(point.count.sum())
        for point in batch.distributions
        if point.is_calls and point.scope == scope
    }


def _by_stream(batch: SampleBatch) -> dict[object, tuple[list[int], list[int]]]:
    return {
        point.stream: (point.bucket.tolist(), point.count.tolist())
        for point in batch.distributions
    }


def test_a_page_is_calls_and_outcomes_by_route() -> None:
    batch = _parse((DATA / "metrics_3x.txt").read_bytes())
    assert _calls(batch, ORDERS) == {(False, False): 989, (False, True): 11, (True, False): 1000}
    assert _numbers(batch, ORDERS) == {
        "rate_limited_per_s": 12,
        "denied_per_s": 3,
        "unauthenticated_per_s": 4,
        "refused_per_s": 0,
        "gateway_errors_per_s": 5,
        "upstream_errors_per_s": 6,
    }
    # A route without a name has its id; it has all outcomes, none of which came.
    unnamed = Scope("kong", "edge", "7b2a4c0d-1f3e-4a5b-8c7d-9e0f1a2b3c4d")
    assert set(_numbers(batch, unnamed).values()) == {0.0}
    assert _calls(batch, Scope("kong", "stream", "db")) == {
        (False, False): 30,
        (False, True): 2,
        (True, False): 32,
    }
    assert batch.services == {"kong"}


def test_latencies_are_seconds() -> None:
    batch = _parse((DATA / "metrics_3x.txt").read_bytes())
    (upstream,) = [
        point for point in batch.distributions if point.signal == "upstream_latency_p95_s"
    ]
    assert upstream.bare
    assert not upstream.is_calls
    value = log_linear.quantile(upstream.bucket, upstream.count, 0.95)
    assert value == pytest.approx(0.0375, rel=0.02)


def test_the_gateway_itself_has_gauges() -> None:
    batch = _parse((DATA / "metrics_3x.txt").read_bytes())
    assert _numbers(batch, Scope("kong", "upstream", "orders")) == {
        "healthy_targets_ratio": 0.5,
        "unhealthy_targets_count": 2,
    }
    used = _numbers(batch, Scope("kong", "gateway", "kong_db_cache"))["shared_dict_used_ratio"]
    assert used == pytest.approx(802816 / 134217728)
    (columns,) = batch.scraped
    found = {}
    for cell, value in zip(columns.cell.tolist(), columns.value.tolist(), strict=True):
        placed = columns.table.placed[int(columns.table.stream_of_cell[cell])]
        found[placed.scope.route, placed.signal] = value
    assert found["all", "datastore_reachable"] == 1
    assert found["http", "connections_active_count"] == 7
    assert found["orders-v1", "egress_bytes_per_s"] == 1183000
    # What is put together of many series is none by itself.
    assert not any(route == "parts" for route, _ in found)


def test_tiers_come_of_the_names_of_consumers() -> None:
    batch = _parse((DATA / "metrics_3x.txt").read_bytes(), parser=_parser(TIERS))
    tiers = {
        point.scope.route: point.value
        for point in batch.numbers
        if point.scope.stage == "tier" and point.signal == "requests_per_s"
    }
    assert tiers == {"anonymous": 948, "gold": 50, "free": 12}
    assert _numbers(batch, Scope("kong", "tier", "free")) == {
        "requests_per_s": 12,
        "rate_limited_per_s": 12,
    }
    assert _numbers(batch, Scope("kong", "tier", "gold"))["rate_limited_per_s"] == 0
    assert _numbers(batch, Scope("kong", "tier", "free orders-v1")) == {"rate_limited_per_s": 12}


def test_the_order_of_lines_says_nothing() -> None:
    """Kong does not keep the samples of one metric together."""
    text = (DATA / "metrics_3x.txt").read_text()
    lines = text.splitlines()
    described = [line for line in lines if line.startswith("#")]
    samples = [line for line in lines if not line.startswith("#")]
    random.Random(3).shuffle(samples)
    mixed = _parse("\n".join([*described, *samples, ""]).encode())
    straight = _parse(text.encode())
    assert _by_stream(mixed) == _by_stream(straight)
    assert {(point.stream, point.value) for point in mixed.numbers} == {
        (point.stream, point.value) for point in straight.numbers
    }


def test_what_the_gateway_refuses_is_strange_when_there_is_more_of_it() -> None:
    for signal in kong_names.OUTCOMES:
        known = known_gauge(SeriesKey(*ORDERS, signal))
        assert known is not None
        assert known.direction is Direction.HIGH


def test_switches_that_are_off_leave_the_gateway_itself() -> None:
    batch = _parse((DATA / "metrics_3x_switches_off.txt").read_bytes())
    assert not batch.distributions
    assert {point.signal for point in batch.numbers} == {"shared_dict_used_ratio"}


def test_kong_2_is_read_with_what_it_has() -> None:
    parser = _parser()
    batch = _parse((DATA / "metrics_2x.txt").read_bytes(), parser=parser)
    assert not parser.has_source
    assert _calls(batch, ORDERS) == {(False, False): 962, (False, True): 11, (True, False): 973}
    # Who answered 429 is not said, so it is not called a refusal of Kong's.
    assert _numbers(batch, ORDERS) == {}
    assert {point.signal for point in batch.distributions if not point.is_calls} == {
        "kong_latency_p95_s",
        "upstream_latency_p95_s",
    }


@pytest.mark.parametrize(
    "line",
    [
        'kong_http_requests_total{route="a",code="x",source="kong"} 5',
        'kong_http_requests_total{route="a",code="²",source="kong"} 5',
        'kong_http_requests_total{route="a"} NaN',
        'kong_http_requests_total{route="a",code="200",source="service"} -3',
        'kong_http_requests_total{route="a",code="200",source="service"} 1e300',
        "kong_http_requests_total 5",
        'kong_upstream_target_health{upstream="a",state="odd"} 1',
        'kong_nginx_connections_total{state="a b"} 1',
        'kong_bandwidth_bytes{direction="sideways"} 1',
        'kong_ai_llm_requests_total{ai_provider="x"} 1',
        'other_total{route="a"} 1',
    ],
)
def test_what_is_odd_on_a_page_costs_nothing_else(line: str) -> None:
    text = (DATA / "metrics_3x.txt").read_text()
    batch = _parse((text + line + "\n").encode())
    assert _calls(batch, ORDERS)[False, True] == 11
    for point in batch.distributions:
        assert int(point.count.min()) >= 0


class Windows:
    """Pages of a Kong, a window apart, through the aggregator."""

    def __init__(self, kong: KongStatus) -> None:
        self.kong = kong
        self._parser = _parser()
        self._aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
        self._number = 0
        self.values: dict[SeriesKey, float] = {}

    def window(self) -> dict[str, float]:
        """What the route's series are in the next window."""
        time_s = 10.0 * self._number + 5
        page = self._parser.parse(self.kong.page().encode(), content_type=TEXT, time_ns=at(time_s))
        self._aggregator.add(page.batch, at(time_s))
        self._number += 1
        (closed,) = self._aggregator.close(at(10.0 * self._number + 5)).windows
        self.values = dict(zip(closed.keys, closed.value.tolist(), strict=True))
        return {key.signal: value for key, value in self.values.items() if key.scope == ORDERS}


def test_pages_become_windows_of_calls() -> None:
    kong = KongStatus()
    windows = Windows(kong)
    kong.serve(100)
    windows.window()
    kong.serve(80)
    kong.serve(20, code=502, source="kong", request_ms=2000.0)
    found = windows.window()
    assert found["traffic"] == 10.0
    assert found["errors"] == pytest.approx(0.2)
    assert found["gateway_errors_per_s"] == pytest.approx(2.0)
    assert found["upstream_errors_per_s"] == 0.0
    # 95 of 100 calls took no longer than those that failed: between one and two seconds.
    assert found["latency"] == pytest.approx(1.5, rel=0.02)
    assert found["upstream_latency_p95_s"] == pytest.approx(0.0375, rel=0.02)
    assert windows.window()["traffic"] == 0.0


def test_a_bucket_that_comes_late_makes_no_calls() -> None:
    """A bucket is not on the page before something fell into it; with it its neighbours' places changed, and all was counted anew."""
    kong = KongStatus()
    windows = Windows(kong)
    kong.serve(1000, request_ms=90.0)
    windows.window()
    kong.serve(100, request_ms=90.0)
    assert windows.window()["traffic"] == 10.0
    kong.serve(90, request_ms=90.0)
    kong.serve(10, request_ms=20.0)
    found = windows.window()
    assert found["traffic"] == 10.0
    assert found["latency"] == pytest.approx(0.09, rel=0.02)


def test_the_first_failure_and_the_first_refusal_count() -> None:
    kong = KongStatus()
    windows = Windows(kong)
    kong.serve(100)
    windows.window()
    kong.serve(50)
    kong.serve(40, code=429, source="kong", request_ms=2.0)
    kong.serve(10, code=503)
    found = windows.window()
    assert found["rate_limited_per_s"] == pytest.approx(4.0)
    assert found["upstream_errors_per_s"] == pytest.approx(1.0)
    assert found["errors"] == pytest.approx(0.1)


def test_a_restart_of_kong_is_no_end_of_calls() -> None:
    kong = KongStatus()
    windows = Windows(kong)
    kong.serve(1000)
    windows.window()
    kong.serve(100)
    windows.window()
    kong.restart()
    kong.serve(60)
    found = windows.window()
    assert found["traffic"] == 6.0
    assert found["rate_limited_per_s"] == 0.0


@pytest.mark.parametrize(("status_code", "latency"), [(True, False), (False, True)])
def test_each_group_alone_gives_what_it_can(*, status_code: bool, latency: bool) -> None:
    kong = KongStatus()
    kong.status_code, kong.latency = status_code, latency
    windows = Windows(kong)
    kong.serve(100)
    windows.window()
    kong.serve(80)
    kong.serve(20, code=502, source="kong")
    found = windows.window()
    assert found["traffic"] == 10.0
    assert found["errors"] == pytest.approx(0.2 if status_code else 0.0)
    assert math.isnan(found["latency"]) == status_code
    assert ("rate_limited_per_s" in found) == status_code


def test_pages_that_say_the_same_are_not_looked_at_anew() -> None:
    parser = _parser()
    body = (DATA / "metrics_3x.txt").read_bytes()
    first = _parse(body, parser=parser).scraped[0]
    again = _parse(body, parser=parser, time_s=10.0).scraped[0]
    assert again.cell is first.cell
    assert again.bucket is first.bucket
    for number in range(40):
        more = f'kong_http_requests_total{{route="r{number}",code="200",source="service"}} 1\n'
        _parse(body + more.encode(), parser=parser)
    assert len(parser._splits) <= 16
