"""Goal: a server that limits, stumbles or is away costs time and nothing else, and what is wrong for good is said at once.

Method: the reader and the real client against a server that does as it is told, under a clock that waits for nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sentinel.errors import (
    MalformedInputError,
    QueryRefusedError,
    TooMuchAskedError,
    UnreachableError,
)
from sentinel.history.promql.cutting import ROWS_MAX, Grid
from sentinel.history.promql.reader import PATIENCE_S, PromqlHistory, SliceRead
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.promql.client import PromqlClient
from sentinel.runtime.promql.config import QueryConfig, QueryServerConfig
from sentinel.runtime.settings import Duration
from tests.support.query_api import Fault, QueryApi, serving

NS = 1_000_000_000
BIN_S, CHUNK_S = 300, 14_400
FIRST_S = 120_000 * CHUNK_S
TRAFFIC = QueryConfig(signal="traffic", query="rate")
ERRORS = QueryConfig(signal="errors", query="failed")


class _Clock:
    """Time passes by waiting alone."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def now_ns(self) -> int:
        return round(self.now_s * NS)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds


def api() -> QueryApi:
    place = (("route", "/a"), ("service", "shop"))
    late = (("route", "/late"), ("service", "shop"))
    return QueryApi(
        queries={
            "rate": {
                place: lambda at: at % 100 + 1,
                late: lambda at: 1.0 if at > FIRST_S + CHUNK_S else None,
            },
            "failed": {place: lambda at: math.nan if at % 600 == 0 else 0.25},
        }
    )


class _Reading:
    """A reader of a server, with what it read."""

    def __init__(self, running: QueryApi, *queries: QueryConfig, step_s: int = 300) -> None:
        client = ClientConfig(timeout=Duration(5.0))
        server = QueryServerConfig(
            name="main", url=running.url, client=client, queries=queries or (TRAFFIC, ERRORS)
        )
        self.client = PromqlClient(server)
        self.clock = _Clock()
        self.said: list[str] = []
        self.slices: list[SliceRead] = []
        self.history = PromqlHistory(
            self.client,
            server.rules(),
            grid=Grid(step_ns=step_s * NS, bin_ns=BIN_S * NS, chunk_ns=CHUNK_S * NS),
            parallel=3,
            clock=self.clock,
            on_wait=self.said.append,
        )

    async def __aenter__(self) -> _Reading:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def take(self, one: SliceRead) -> None:
        self.slices.append(one)

    async def read(self, days: int = 3) -> dict[tuple[str, int], tuple[float, float]]:
        end_ns = (FIRST_S + days * 86_400) * NS
        await self.history.look(start_ns=(FIRST_S + 300) * NS, end_ns=end_ns)
        await self.history.read([(FIRST_S * NS, end_ns)], self.take)
        assert [one.span[0] for one in self.slices[1:]] == [
            one.span[1] for one in self.slices[:-1]
        ]
        found: dict[tuple[str, int], tuple[float, float]] = {}
        for one in self.slices:
            for rows in one.rows:
                for key, time_ns, value, weight in zip(
                    rows.key_index.tolist(),
                    rows.time_ns.tolist(),
                    rows.value.tolist(),
                    rows.weight.tolist(),
                    strict=True,
                ):
                    place = (str(rows.keys[key]), time_ns // NS)
                    assert place not in found
                    found[place] = (value, weight)
        return found


def same(
    left: Mapping[Any, tuple[float, float]], right: Mapping[Any, tuple[float, float]]
) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[at], right[at], equal_nan=True) for at in left
    )


async def good() -> dict[tuple[str, int], tuple[float, float]]:
    async with serving(api()) as running, _Reading(running) as reading:
        return await reading.read()


async def test_every_window_is_read_once_with_its_calls() -> None:
    found = await good()
    assert len([at for name, at in found if name == "shop edge /a traffic"]) == 3 * 288
    assert len([at for name, at in found if name == "shop edge /late traffic"]) == 3 * 288 - 48
    assert found["shop edge /a traffic", FIRST_S] == (1.0, 300.0)
    value, weight = found["shop edge /a errors", FIRST_S + 300]
    assert math.isnan(value)
    assert weight == 300.0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(422, "execution", "query processing would load too many samples into memory"),
        Fault(503, "timeout", "query timed out in expression evaluation"),
    ],
)
async def test_what_is_too_much_is_asked_for_in_parts(fault: Fault) -> None:
    running = api()

    def limited(given: Mapping[str, str]) -> Fault | None:
        points = (float(given.get("end", 0)) - float(given.get("start", 0))) / 300
        return fault if given["query"] == "rate" and points > 50 else None

    running.fault_of = limited
    async with serving(running), _Reading(running) as reading:
        assert same(await reading.read(), await good())
        assert reading.clock.waits == []


async def test_a_stumble_is_waited_out_as_long_as_the_server_asks() -> None:
    running = api()
    left = [
        Fault(429, "", "slow down", {"Retry-After": "90"}),
        Fault(503, "unavailable", "starting"),
        Fault(500, "internal", "oops"),
        Fault(502, "", ""),
    ]
    running.fault_of = lambda given: left.pop(0) if "start" in given and left else None
    async with serving(running), _Reading(running) as reading:
        assert same(await reading.read(), await good())
        assert max(reading.clock.waits) == 90.0
        assert len(reading.clock.waits) == 4
        assert any("slow down" in one and "asked again" in one for one in reading.said)


async def test_a_server_that_stays_away_ends_it() -> None:
    running = api()
    running.fault_of = lambda given: (
        Fault(503, "unavailable", "down") if "start" in given else None
    )
    async with serving(running), _Reading(running) as reading:
        with pytest.raises(UnreachableError, match="down"):
            await reading.read()
        assert reading.clock.now_s == pytest.approx(PATIENCE_S, rel=0.2)


async def test_a_server_that_is_not_there_is_not_waited_for_for_long() -> None:
    running = api()
    async with serving(running):
        pass
    async with _Reading(running) as reading:
        with pytest.raises(UnreachableError):
            await reading.read()
        assert reading.clock.now_s <= 12.0


async def test_what_is_too_much_in_its_smallest_part_is_said() -> None:
    running = api()
    running.fault_of = lambda given: (
        Fault(422, "execution", "too many series") if "start" in given else None
    )
    async with serving(running), _Reading(running) as reading:
        with pytest.raises(TooMuchAskedError, match="too many series"):
            await reading.read()


async def test_a_wrong_query_ends_it_before_anything_is_read() -> None:
    async with serving(api()) as running:
        wrong = QueryConfig(signal="depth", query="rate(")
        async with _Reading(running, TRAFFIC, wrong) as reading:
            with pytest.raises(QueryRefusedError, match="parse error"):
                await reading.read()
            assert reading.slices == []


async def test_series_that_cannot_be_told_apart_end_it_before_anything_is_read() -> None:
    running = api()
    running.queries["twice"] = {(("pod", str(one)),): lambda at: 1.0 for one in range(3)}
    async with serving(running):
        twice = QueryConfig(signal="depth", query="twice")
        copy = QueryConfig(name="copy", signal="traffic", query="rate")
        async with _Reading(running, TRAFFIC, twice, copy) as reading:
            with pytest.raises(MalformedInputError) as caught:
                await reading.read()
    first, second = str(caught.value).splitlines()
    assert "differ in pod" in first
    assert second == "queries traffic and copy both give shop edge /a traffic"


async def test_warnings_are_told_once_and_a_silent_query_is_named() -> None:
    running = api()
    running.warnings = ("PromQL warning: no label le",)
    running.queries["nothing"] = {}
    async with serving(running):
        silent = QueryConfig(signal="depth", query="nothing")
        async with _Reading(running, TRAFFIC, silent) as reading:
            await reading.read()
            outlook = await reading.history.look(
                start_ns=(FIRST_S + 300) * NS, end_ns=(FIRST_S + 600) * NS
            )
            assert outlook.silent == ("depth",)
            assert list(reading.history.remarks.said) == [
                "the server says: PromQL warning: no label le"
            ]


async def test_an_answer_that_lacks_a_part_is_none() -> None:
    """What a Thanos without one of its stores gave was learned as the past: half the traffic, and every day above it."""
    running = api()
    running.warnings = ("store-2 did not answer",)
    async with serving(running), _Reading(running) as reading:
        with pytest.raises(UnreachableError, match="lacks a part: store-2 did not answer"):
            await reading.read()


async def test_absent_series_count_nothing_wherever_reading_begins_again() -> None:
    """What had a value within a day was known within a slice alone: after a kill, zeros lay elsewhere."""
    running = api()
    place = (("code", "500"),)
    running.queries["seldom"] = {place: lambda at: 1.0 if at % 200_000 < 300 else None}
    seldom = QueryConfig(signal="depth", query="seldom", absent_is_zero=True)
    end_ns = (FIRST_S + 5 * 86_400) * NS
    middle_ns = (FIRST_S + 2 * 86_400 + 7 * CHUNK_S) * NS

    async def depths(*spans: tuple[int, int], series: int = 1) -> dict[int, float]:
        async with _Reading(running, TRAFFIC, seldom) as reading:
            reading.history._series_count = series
            await reading.history.read(spans, reading.take)
        return {
            time_ns: value
            for one in reading.slices
            for time_ns, value in zip(
                one.rows[1].time_ns.tolist(), one.rows[1].value.tolist(), strict=True
            )
        }

    async with serving(running):
        whole = await depths((FIRST_S * NS, end_ns))
        assert 0.0 in whole.values()
        assert len(whole) < 5 * 288
        for series in (1, 3_000, 200_000):
            rest = await depths((middle_ns, end_ns), series=series)
            assert rest == {at: value for at, value in whole.items() if at >= middle_ns}
        split = await depths((FIRST_S * NS, middle_ns), (middle_ns, end_ns))
        assert split == whole


def test_slices_stay_within_what_fits() -> None:
    fine = Grid(step_ns=10 * NS, bin_ns=BIN_S * NS, chunk_ns=CHUNK_S * NS)
    for series in (1, 100, 10_000):
        bins = fine.bins_max(series)
        assert bins * 30 <= 11_000
        assert bins == 1 or bins * 30 * series <= ROWS_MAX
    with pytest.raises(ValueError, match="divide"):
        Grid(step_ns=7 * NS, bin_ns=BIN_S * NS, chunk_ns=CHUNK_S * NS)
    assert fine.halves((0, BIN_S * NS)) is None
    assert fine.halves((0, 3 * BIN_S * NS)) == ((0, BIN_S * NS), (BIN_S * NS, 3 * BIN_S * NS))
