"""Goal: what goes wrong at a gateway pages, whichever of its ways tells of it, and no call counts twice.

Method: the whole program on a manual clock; records as Kong's http-log posts them, each batch twice; a status API that counts as its
prometheus plugin does, asked in each window; sampled spans of the same calls.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.alertmanager_server import collector
from tests.support.kong_gateway import CALLS, ROUTE, gateway
from tests.support.whole_app import windows_until_resolved

pytestmark = pytest.mark.timeout(60)

ALONE = [
    pytest.param(True, False, id="by_its_log"),
    pytest.param(False, True, id="by_its_metrics"),
]


@pytest.mark.parametrize(("logged", "scraped"), ALONE)
async def test_failing_calls_page_and_resolve(
    tmp_path: Path, *, logged: bool, scraped: bool
) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url, logged=logged, scraped=scraped) as (side, kong):
            await kong.windows(8)
            assert hook.distinct() == []
            await kong.windows(4, code=502, of_calls=40, by_kong=True)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["severity"] == "page"
            assert "orders-v1" in page["annotations"]["summary"]
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            assert kong.value(*ROUTE, "errors") == pytest.approx(0.8)
            assert kong.value(*ROUTE, "gateway_errors_per_s") == pytest.approx(4.0)
            assert kong.value(*ROUTE, "upstream_errors_per_s") == 0.0
            if logged:
                # The line of a call that failed is on the page.
                assert "GET /v1/orders/{id} answered 502 by kong" in json.dumps(page)
            await kong.windows(windows_until_resolved() + 2)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


@pytest.mark.parametrize(
    ("logged", "scraped"), [*ALONE, pytest.param(True, True, id="by_all_of_them")]
)
async def test_a_storm_of_refusals_is_a_series_and_no_call_counts_twice(
    tmp_path: Path, *, logged: bool, scraped: bool
) -> None:
    """Spans of a part of the calls came as well, under another route's name; the storm was hidden among ordinary answers."""
    with collector() as hook:
        async with gateway(tmp_path, hook.url, logged=logged, scraped=scraped) as (side, kong):
            kong.traced = True
            await kong.windows(6)
            assert kong.value(*ROUTE, "rate_limited_per_s") == 0.0
            await kong.windows(3, code=429, of_calls=40, by_kong=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == pytest.approx(4.0)
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            # Refused as it should be: nothing failed.
            assert kong.value(*ROUTE, "errors") == 0.0
            # Tries to reach an upstream are told of by spans alone.
            assert kong.value("kong", "client", "balancer orders.svc", "traffic") == pytest.approx(
                0.1
            )
            if logged:
                assert not kong.has("kong", "edge", "GET /v1/orders", "traffic")
                duplicates = side.metrics.value(
                    "sentinel_component_dropped_total",
                    component="receivers.http_log",
                    reason="duplicate",
                )
                assert duplicates == 9 * CALLS
            twice = side.metrics.value("sentinel_calls_told_twice_total", signal="traces")
            assert twice >= 7
            assert hook.distinct() == []


async def test_a_log_that_is_switched_off_and_on_pages_nobody(tmp_path: Path) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url, logged=True, scraped=False) as (side, kong):
            kong.traced = True
            await kong.windows(32)
            kong.logged = False
            await kong.windows(24)
            kong.logged = True
            await kong.windows(10)
            assert hook.distinct() == []
            assert await side.incidents() == []
