"""Goal: whatever a server of PromQL answers, a window has the values that it gave whole, and nothing that it did not give.

Method: a small server that answers as Prometheus, Thanos and proxies do when they are ill; one target asks it under a clock set by hand.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from sentinel.core.model import MeasuredColumns, RejectReason, SeriesKey
from sentinel.core.series import SeriesSettings
from sentinel.errors import UnreachableError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.promql import QueryConfig, QueryServerConfig
from sentinel.runtime.settings import Duration
from sentinel.scrapers.prometheus_queries.target import ENOUGH_CALLS, QueryTarget
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

SECOND_NS = 10**9
START_NS = 1_790_000_040 * SECOND_NS
WINDOWS = SeriesSettings(window_ns=60 * SECOND_NS, lateness_ns=50 * SECOND_NS)
TRAFFIC = QueryConfig(signal="traffic", query="traffic")
ERRORS = QueryConfig(signal="errors", query="errors", absent_is_zero=True)
BACKLOG = QueryConfig(signal="backlog_count", query="backlog", service="queue")

Given = dict[str, float]
"""Values by route."""


def told(values: Given, at_s: float, **more: Any) -> dict[str, Any]:
    result = [
        {"metric": {"service": "shop", "route": route}, "value": [at_s, str(value)]}
        for route, value in values.items()
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


@dataclass
class Ill:
    """A server of PromQL.

    Attributes:
        values: what each query gives.
        ills: by query, what is answered instead: status, body; the first of the list each time, and none when it is empty.
        more: what else stands in each answer to a query.
        asked: how often each query was asked.
        most: how many questions were under way at once.
    """

    values: dict[str, Given] = field(default_factory=dict)
    ills: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    most: int = 0
    under_way: int = 0
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """As it is told to."""
        query, at_s = request.query["query"], float(request.query["time"])
        self.asked[query] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.005)
            for name in (query, "*"):
                if self.ills.get(name):
                    status, body = self.ills[name].pop(0)
                    return web.json_response(body, status=status)
            body = told(self.values.get(query, {}), at_s, **self.more.get(query, {}))
            return web.Response(text=json.dumps(body), content_type="application/json")
        finally:
            self.under_way -= 1


@asynccontextmanager
async def serving(*servers: Ill) -> AsyncIterator[None]:
    runners = []
    try:
        for one in servers:
            runner = web.ServerRunner(web.Server(one.answer), shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            one.url = "http://{}:{}".format(*runner.addresses[0][:2])
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


class Scene:
    """A target that is asked window after window."""

    def __init__(self, ill: Ill, *queries: QueryConfig, replicas: tuple[str, ...] = ()) -> None:
        self.clock = ManualClock(START_NS)
        self.surroundings = make_surroundings(clock=self.clock)
        config = QueryServerConfig(
            name="main",
            url=ill.url,
            replica_urls=replicas,
            queries=queries,
            parallel=2,
            client=ClientConfig(connect_timeout=Duration(1.0), timeout=Duration(2.0)),
        )
        self.target = QueryTarget(config, WINDOWS, self.surroundings)

    async def first(self) -> None:
        """The look at what was over before."""
        await self.target.poll(self.clock.now_ns())

    async def window(self) -> dict[SeriesKey, tuple[float, float]]:
        """The next window's values and weights; moving the clock while it waits to ask again."""
        await self.clock.advance(60.0)
        polling = asyncio.ensure_future(self.target.poll(self.clock.now_ns()))
        while not polling.done():
            await asyncio.wait({polling}, timeout=0.05)
            if not polling.done():
                await self.clock.advance(1.0)
        self.polled = polling.result()
        self.measured: tuple[MeasuredColumns, ...] = self.polled.batch.measured
        return {
            key: (value, weight)
            for columns in self.measured
            for key, value, weight in zip(
                columns.keys, columns.value.tolist(), columns.weight.tolist(), strict=True
            )
        }

    def results(self) -> dict[str, float]:
        """How questions ended, by the counter."""
        return {
            sample.labels["result"]: sample.value
            for metric in self.surroundings.metrics.registry.collect()
            if metric.name == "sentinel_queries"
            for sample in metric.samples
            if sample.name.endswith("_total")
        }


def key(route: str, signal: str, service: str = "shop", stage: str = "edge") -> SeriesKey:
    return SeriesKey(service, stage, route, signal)


SHOP = {"traffic": {"/cart": 5.0, "/pay": 2.0}, "errors": {"/pay": 0.25}, "backlog": {"/q": 7.0}}


async def test_each_window_has_its_values_their_calls_and_its_time() -> None:
    ill = Ill(values=SHOP)
    async with serving(ill):
        scene = Scene(ill, TRAFFIC, ERRORS, BACKLOG)
        await scene.first()
        found = await scene.window()
        assert found == {
            key("/cart", "traffic"): (5.0, 300.0),
            key("/pay", "traffic"): (2.0, 120.0),
            key("/cart", "errors"): (0.0, 300.0),
            key("/pay", "errors"): (0.25, 120.0),
            key("/q", "backlog_count", "queue", "metrics"): (7.0, 1.0),
        }
        # A lag of half a minute after the end of the window: at a whole minute the one before is due.
        assert {one.start_ns for one in scene.measured} == {START_NS - 60 * SECOND_NS}
        assert scene.polled.batch.services == {"shop", "queue"}
        await scene.target.close()


async def test_a_query_that_is_refused_costs_its_own_series_and_is_not_asked_again() -> None:
    ill = Ill(values=SHOP)
    refusal = {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}
    ill.ills["errors"] = [(400, refusal)] * 2
    async with serving(ill):
        scene = Scene(ill, TRAFFIC, ERRORS)
        await scene.first()
        found = await scene.window()
        assert {one.signal for one in found} == {"traffic"}
        assert [one.source for one in scene.measured] == ["main traffic"]
        assert "parse error" in scene.polled.notes[0]
        assert ill.asked["errors"] == 2
        assert scene.results() == {"ok": 2, "refused": 2}
        await scene.target.close()


@pytest.mark.parametrize(
    "said",
    [
        {"warnings": ["No StoreAPIs matched; store eu-1: connection refused"]},
        {"isPartial": True},
    ],
    ids=["Thanos", "VictoriaMetrics"],
)
async def test_an_answer_that_lacks_a_part_is_none_and_an_annotation_is_no_lack(
    said: dict[str, Any],
) -> None:
    """They answer without a store that is away, and say so; a sum of what is left would be a fall."""
    ill = Ill(values=SHOP, more={"backlog": {"warnings": ["PromQL warning: bucket label"]}})
    async with serving(ill):
        scene = Scene(ill, TRAFFIC, BACKLOG)
        await scene.first()
        ill.more["traffic"] = said
        found = await scene.window()
        assert {one.signal for one in found} == {"backlog_count"}
        assert "lacks a part" in scene.polled.notes[0]
        await scene.target.close()


async def test_a_server_that_is_starting_is_asked_again_while_the_window_is_open() -> None:
    ill = Ill(values=SHOP)
    async with serving(ill):
        scene = Scene(ill, TRAFFIC)
        await scene.first()
        ill.ills["*"] = [(503, {"status": "error", "error": "Service Unavailable"})] * 3
        assert len(await scene.window()) == 2
        assert scene.clock.now_ns() - START_NS < (60 + 20) * SECOND_NS
        await scene.target.close()


async def test_a_server_that_stays_away_is_an_error_in_time_and_no_value() -> None:
    ill = Ill(values=SHOP)
    async with serving(ill):
        scene = Scene(ill, TRAFFIC, ERRORS)
        await scene.first()
        ill.ills["*"] = [(503, {})] * 100
        with pytest.raises((UnreachableError, TimeoutError)):
            await scene.window()
        waited_s = (scene.clock.now_ns() - START_NS) / 1e9 - 60
        assert waited_s <= WINDOWS.lateness_ns / 1e9 - 30
        # Only whether it is there was asked, and not each query again and again.
        assert ill.asked["traffic"] == 1
        ill.ills.clear()
        assert len(await scene.window()) == 4
        await scene.target.close()


async def test_a_replica_is_asked_while_the_first_is_away_and_kept_while_it_answers() -> None:
    away, other = Ill(values=SHOP), Ill(values=SHOP)
    async with serving(away, other):
        scene = Scene(away, TRAFFIC, replicas=(other.url,))
        await scene.first()
        assert other.asked.total() == 0
        away.ills["*"] = [(503, {})] * 100
        assert len(await scene.window()) == 2
        assert len(await scene.window()) == 2
        assert away.asked["vector(1)"] == 2
        assert other.asked["traffic"] == 2
        await scene.target.close()


async def test_no_more_are_asked_at_once_than_may_be() -> None:
    ill = Ill(values={f"q{number}": {"/a": 1.0} for number in range(12)})
    queries = [
        QueryConfig(signal=f"gauge_{number}", query=f"q{number}", service="shop")
        for number in range(12)
    ]
    async with serving(ill):
        scene = Scene(ill, *queries)
        await scene.first()
        assert len(await scene.window()) == 12
        assert ill.most == 2
        await scene.target.close()


async def test_what_cannot_be_is_left_out_and_counted() -> None:
    ill = Ill(values={"traffic": {"/a": -1.0, "/b": float("inf"), "/c": float("nan"), "/d": 1.0}})
    async with serving(ill):
        scene = Scene(ill, TRAFFIC)
        await scene.first()
        assert list(await scene.window()) == [key("/d", "traffic")]
        rejected = scene.polled.batch.rejected
        assert rejected == {RejectReason.NOT_FINITE: 1, RejectReason.BAD_SHAPE: 1}
        # A quotient without calls is no value, and its source was heard.
        assert scene.polled.batch.services == {"shop"}
        await scene.target.close()


async def test_series_over_the_bound_are_left_out_counted_and_said() -> None:
    ill = Ill(values=SHOP)
    async with serving(ill):
        scene = Scene(ill, replace(TRAFFIC, series_max=1))
        await scene.first()
        assert list(await scene.window()) == [key("/cart", "traffic")]
        assert scene.polled.batch.rejected == {RejectReason.LIMIT: 1}
        assert "series_max" in scene.polled.notes[0]
        await scene.target.close()


async def test_a_share_of_unknown_calls_counts_as_one_of_many_and_not_where_calls_are_lost() -> (
    None
):
    ill = Ill(values=SHOP)
    async with serving(ill):
        alone = Scene(ill, ERRORS)
        await alone.first()
        assert await alone.window() == {key("/pay", "errors"): (0.25, ENOUGH_CALLS)}
        await alone.target.close()
        beside = Scene(ill, TRAFFIC, ERRORS)
        await beside.first()
        ill.ills["traffic"] = [(422, {"status": "error", "errorType": "execution", "error": "no"})]
        assert await beside.window() == {}
        await beside.target.close()


async def test_reach_says_what_each_query_gives_and_what_is_wrong() -> None:
    ill = Ill(values={"traffic": SHOP["traffic"]})
    refusal = {"status": "error", "errorType": "bad_data", "error": "unknown function"}
    ill.ills["broken"] = [(400, refusal)]
    async with serving(ill):
        broken = QueryConfig(signal="depth", query="broken")
        scene = Scene(ill, TRAFFIC, ERRORS, BACKLOG, broken)
        found = {one.what.rpartition(" ")[2]: one for one in await scene.target.reach()}
        assert found["traffic"].status is ReachStatus.OK
        assert "2 series, such as shop edge /cart traffic" in found["traffic"].sentence
        assert found["errors"].status is ReachStatus.OK
        assert found["backlog_count"].status is ReachStatus.DEGRADED
        assert "scrape intervals" in found["backlog_count"].remedy
        assert found["depth"].status is ReachStatus.FAILING
        assert "unknown function" in found["depth"].sentence
        await scene.target.close()
    alone = Scene(replace(ill, url="http://127.0.0.1:1"), TRAFFIC)
    # Once, for a person waits.
    [gone] = await alone.target.reach()
    assert gone.status is ReachStatus.FAILING
    await alone.target.close()


async def test_an_absent_amount_is_zero_once_it_was_known() -> None:
    refused = QueryConfig(signal="refused_per_s", query="refused", absent_is_zero=True)
    ill = Ill(values={**SHOP, "refused": {"/cart": 3.0}})
    async with serving(ill):
        scene = Scene(ill, TRAFFIC, refused)
        await scene.first()
        ill.values["refused"] = {}
        name = key("/cart", "refused_per_s", stage="metrics")
        assert (await scene.window())[name] == (0.0, 1.0)
        ill.values["traffic"] = {}
        # Of a server that gives nothing nothing is known.
        assert await scene.window() == {}
        await scene.target.close()
