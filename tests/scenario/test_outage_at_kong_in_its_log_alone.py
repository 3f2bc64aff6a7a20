"""Goal: what goes wrong at a gateway pages although only its http-log tells of it, and spans beside it change nothing.

Method: the whole program on a manual clock; Kong's records as its plugin posts them, each batch twice, some of the time with the
sampled spans of the same calls. What is rate limited is a series of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from sentinel.core.model import SeriesKey
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from tests.support.alertmanager_server import collector
from tests.support.kong_records import record
from tests.support.otlp_messages import CLIENT, span, traces
from tests.support.whole_app import (
    SECOND_NS,
    Sidecar,
    config_of,
    sidecar,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(60)

CALLS = 50
ROUTE = ("kong", "edge", "orders-v1")


class Gateway:
    """A Kong whose records and spans come window by window."""

    def __init__(self, side: Sidecar, client: aiohttp.ClientSession) -> None:
        self._side = side
        self._client = client
        self._url = side.app.addresses()["http_log_url"] + "/kong"
        self._number = 0

    async def windows(
        self,
        count: int,
        *,
        status: int = 200,
        of_calls: int = 0,
        by_kong: bool = False,
        logged: bool = True,
        traced: bool = False,
    ) -> None:
        """So many windows in each of which `of_calls` calls are answered with a status, the others with 200."""
        for _ in range(count):
            start_ns = self._side.next_ns
            await self._side.send()
            if logged:
                await self._log(start_ns // 10**6, status, of_calls, by_kong=by_kong)
            if traced:
                await self._trace(start_ns)
            await self._side.close()

    async def _log(self, start_ms: int, status: int, of_calls: int, *, by_kong: bool) -> None:
        records = []
        for at in range(CALLS):
            self._number += 1
            is_odd = at < of_calls
            records.append(
                record(
                    self._number,
                    started_ms=start_ms + 8000 * at // CALLS,
                    status=status if is_odd else 200,
                    by_kong=by_kong and is_odd,
                )
            )
        body = json.dumps(records).encode()
        # The answer to the first was lost on the way.
        for _ in range(2):
            headers = {"Content-Type": "application/json"}
            async with self._client.post(self._url, data=body, headers=headers) as reply:
                assert reply.status == 200

    async def _trace(self, start_ns: int) -> None:
        """One sampled call, as the opentelemetry plugin tells of it."""
        self._number += 1
        root = span(
            "kong",
            number=2**40 + self._number,
            end_ns=start_ns + 5 * SECOND_NS,
            http__method="GET",
            http__route="/v1/orders",
            http__status_code=200,
        )
        tried = span(
            "kong.balancer",
            kind=CLIENT,
            number=2**41 + self._number,
            end_ns=start_ns + 5 * SECOND_NS,
            net__peer__name="orders.svc",
        )
        body = traces(root, tried, service="kong").SerializeToString()
        assert await self._side.post("/v1/traces", body) == 200

    def value(self, *key: str) -> float:
        """What the last window says of a series."""
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return float(latest.block.value[0, latest.keys.index(SeriesKey(*key))])

    def has(self, *key: str) -> bool:
        """Whether there is such a series."""
        latest = self._side.app.evaluate.latest
        assert latest is not None
        return SeriesKey(*key) in latest.keys


@asynccontextmanager
async def gateway(folder: Path, webhook_url: str) -> AsyncIterator[tuple[Sidecar, Gateway]]:
    config = config_of(folder, webhook_url=webhook_url)
    http_log = HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0))
    config = replace(config, receivers=replace(config.receivers, http_log=http_log))
    async with sidecar(config) as side, aiohttp.ClientSession() as client:
        yield side, Gateway(side, client)


@pytest.mark.parametrize("by_kong", [True, False], ids=["by_kong", "by_upstream"])
async def test_failing_calls_page_and_resolve(tmp_path: Path, *, by_kong: bool) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url) as (side, kong):
            await kong.windows(6)
            assert hook.distinct() == []
            await kong.windows(3, status=502, of_calls=40, by_kong=by_kong)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["severity"] == "page"
            assert "orders-v1" in page["annotations"]["summary"]
            who = "gateway_errors_per_s" if by_kong else "upstream_errors_per_s"
            assert kong.value(*ROUTE, who) == pytest.approx(4.0)
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            # The trace of the first call that failed, and its line, are on the page.
            assert "GET /v1/orders/{id} answered 502" in json.dumps(page)
            await kong.windows(windows_until_resolved() + 2)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_a_storm_of_refusals_is_a_series_and_no_call_counts_twice(tmp_path: Path) -> None:
    """A tenth of the calls came by spans as well, under another route's name; the storm was hidden among ordinary answers."""
    with collector() as hook:
        async with gateway(tmp_path, hook.url) as (side, kong):
            await kong.windows(4, traced=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == 0.0
            await kong.windows(3, status=429, of_calls=40, by_kong=True, traced=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == pytest.approx(4.0)
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            # Refused as it should be: nothing failed.
            assert kong.value(*ROUTE, "errors") == 0.0
            assert not kong.has("kong", "edge", "GET /v1/orders", "traffic")
            assert kong.value("kong", "client", "balancer orders.svc", "traffic") == pytest.approx(
                0.1
            )
            await kong.windows(2, traced=True)
            assert kong.value(*ROUTE, "rate_limited_per_s") == 0.0
        twice = side.metrics.value("sentinel_calls_told_twice_total", signal="traces")
        assert twice == 9
        duplicates = side.metrics.value(
            "sentinel_component_dropped_total", component="receivers.http_log", reason="duplicate"
        )
        assert duplicates == 9 * CALLS


async def test_a_log_that_is_switched_off_and_on_pages_nobody(tmp_path: Path) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url) as (side, kong):
            await kong.windows(32, traced=True)
            await kong.windows(24, logged=False, traced=True)
            await kong.windows(10, traced=True)
            assert hook.distinct() == []
            assert await side.incidents() == []
