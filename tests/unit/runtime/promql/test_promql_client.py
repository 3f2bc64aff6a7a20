"""Goal: whatever a server of the query API says, its caller is told what can be done about it, and nothing that is secret.

Method: the client against a server that answers as it is told to.
"""

from __future__ import annotations

import pytest

from sentinel.errors import (
    QueryRefusedError,
    RefusedError,
    SentinelError,
    TooMuchAskedError,
    TooSlowError,
    UnreachableError,
)
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.promql.client import PromqlClient
from sentinel.runtime.promql.config import QueryServerConfig
from sentinel.runtime.settings import Duration, Secret
from tests.support.query_api import Fault, QueryApi, serving

S = 1_000_000_000
TOKEN = "tok-" + "e" * 20


def api() -> QueryApi:
    return QueryApi(queries={"up": {(("route", "/a"),): lambda at: at / 10}})


def server(url: str, **more: object) -> QueryServerConfig:
    client = ClientConfig(bearer_token=Secret(TOKEN), timeout=Duration(5.0))
    return QueryServerConfig(name="main", url=url, client=client, **more)  # type: ignore[arg-type]


async def test_a_range_is_asked_for_and_read() -> None:
    async with serving(api()) as running:
        client = PromqlClient(server(f"{running.url}/prefix/", tenant="team"))
        try:
            answer = await client.over_range("up", first_ns=10 * S, last_ns=30 * S, step_ns=10 * S)
            [one] = answer.series
            assert (one.labels, one.value.tolist()) == ({"route": "/a"}, [1.0, 2.0, 3.0])
            [now] = (await client.instant("up", at_ns=25 * S // 10)).series
            assert now.value.tolist() == [0.25]
        finally:
            await client.close()
    assert [given["path"] for given in running.asked] == [
        "/prefix/api/v1/query_range",
        "/prefix/api/v1/query",
    ]
    assert running.asked[0]["method"] == "GET"
    assert running.asked[0]["timeout"] == "4s"
    assert running.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert running.headers[0]["X-Scope-OrgID"] == "team"


async def test_a_query_too_long_for_a_url_is_posted() -> None:
    long = "up + " + " + ".join(["up"] * 800)
    running = QueryApi(queries={long: {(): lambda at: 1.0}})
    async with serving(running):
        client = PromqlClient(server(running.url))
        try:
            assert (await client.instant(long, at_ns=S)).value_count == 1
        finally:
            await client.close()
    assert running.asked[0]["method"] == "POST"


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Fault(400, "bad_data", "1:4: parse error"), QueryRefusedError, "parse error"),
        (Fault(422, "execution", "many-to-many matching"), QueryRefusedError, "many-to-many"),
        (
            Fault(422, "execution", "query processing would load too many samples into memory"),
            TooMuchAskedError,
            "too many samples",
        ),
        (
            Fault(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"),
            TooMuchAskedError,
            "maximum resolution",
        ),
        (
            Fault(422, "execution", "the query hit the max number of series limit (limit: 1000)"),
            TooMuchAskedError,
            "series limit",
        ),
        (Fault(413, "", ""), TooMuchAskedError, "413"),
        (Fault(503, "timeout", "query timed out"), TooSlowError, "timed out"),
        (Fault(504, "", ""), TooSlowError, "504"),
        (Fault(503, "unavailable", "TSDB not ready"), UnreachableError, "not ready"),
        (Fault(429, "", "slow down", {"Retry-After": "7"}), UnreachableError, "slow down"),
        (Fault(502, "", ""), UnreachableError, "502"),
        (Fault(401, "", ""), RefusedError, "bearer_token_file"),
        (Fault(404, "", ""), RefusedError, "prefix"),
        (Fault(302, "", "", {"Location": "/login"}), RefusedError, "redirect"),
        (Fault(400, "bad_data", f"you sent {TOKEN}\x1b[31m"), QueryRefusedError, "SECRET"),
    ],
)
async def test_each_way_it_can_end_says_what_to_do(
    fault: Fault, kind: type[SentinelError], said: str
) -> None:
    running = api()
    running.fault_of = lambda given: fault
    async with serving(running):
        client = PromqlClient(server(running.url))
        try:
            with pytest.raises(kind, match=said) as caught:
                await client.instant("up", at_ns=S)
        finally:
            await client.close()
    assert type(caught.value) is kind
    assert TOKEN not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    if isinstance(caught.value, UnreachableError) and fault.status == 429:
        assert caught.value.retry_after_s == 7.0
