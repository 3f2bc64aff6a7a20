"""Goal: the pages say what is so, to those who may know, in the form that was asked for.

Method: the web component on a free port of loopback, asked with aiohttp's client.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math

import aiohttp
import numpy as np
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    SeriesKey,
    Severity,
)
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.http.server import ConnectionLimitsConfig
from sentinel.runtime.listen import ListenConfig
from sentinel.runtime.settings import Duration, Secret
from sentinel.web import WebConfig, WebListenConfig, words
from sentinel.web.index_page import PAGES
from tests.support.fetch import fetch
from tests.support.latest_verdicts import make_latest, many_keys
from tests.support.surroundings import make_surroundings
from tests.support.web_pages import Pages, serve_pages

HOSTILE = 'a"b\\c\nd}<script>{\u2028é'


async def test_probes_answer_get_and_head() -> None:
    pages = Pages()
    pages.ready = False
    async with serve_pages(pages) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/-/healthy") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with client.get(f"{server.url}/-/ready") as response:
            assert response.status == 503
            content = await response.json()
        assert content["waiting_for"] == ["the store is opening"]
        assert content["components"]["pipeline.ingest"]["sentence"] == "Queue is 90 % full"
        pages.ready = True
        async with client.head(f"{server.url}/-/ready") as response:
            assert (response.status, await response.read()) == (200, b"")


async def test_every_response_is_guarded_against_browsers() -> None:
    async with serve_pages(Pages()) as server, aiohttp.ClientSession() as client:
        for path in ("/metrics", "/metrics/series", "/api/v1/status", "/nothing"):
            async with client.get(f"{server.url}{path}") as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "no-store"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_a_foreign_host_header_is_refused() -> None:
    """A name on the Internet that resolves to 127.0.0.1 must not let a web page read verdicts."""
    async with serve_pages(Pages()) as server, aiohttp.ClientSession() as client:
        for host, status in (("evil.example", 421), ("localhost:1", 200), ("[::1]:9640", 200)):
            async with client.get(
                f"{server.url}/api/v1/status", headers={"Host": host}
            ) as response:
                assert response.status == status, host


async def test_wrong_method_and_unknown_path_are_json_errors() -> None:
    async with serve_pages(Pages()) as server, aiohttp.ClientSession() as client:
        async with client.post(f"{server.url}/api/v1/series") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET, HEAD"
        async with client.get(f"{server.url}/api/v1/serieses") as response:
            assert response.status == 404
            assert (await response.json())["error"]["status"] == 404


@pytest.mark.parametrize("openmetrics", [False, True])
async def test_series_page_parses_and_escapes(*, openmetrics: bool) -> None:
    pages = Pages()
    key = SeriesKey(HOSTILE, "edge", HOSTILE, "latency")
    pages.latest = make_latest([key, *many_keys(2)], [0.1, math.nan, 3.0], [1.5, math.nan, 0.25])
    accept = "application/openmetrics-text;version=1.0.0" if openmetrics else "text/plain"
    async with serve_pages(pages) as server:
        reply = await fetch(f"{server.url}/metrics/series", headers={"Accept": accept})
    assert reply.headers["Content-Type"].startswith(accept.partition(";")[0])
    parse = parse_openmetrics if openmetrics else parse_text
    families = {family.name: family for family in parse(reply.text)}
    names = (
        "value",
        "expected",
        "lower",
        "upper",
        "score",
        "incidents_left_out",
        "pages_left_to_rules",
    )
    assert set(families) == {f"sentinel_{name}" for name in names}
    values = {
        sample.labels["route"]: sample.value for sample in families["sentinel_value"].samples
    }
    # The value without a number is left out, not written as NaN.
    assert values == {HOSTILE: pytest.approx(0.1), "GET /r/1": 3.0}
    labels = families["sentinel_score"].samples[0].labels
    assert labels == {"service": HOSTILE, "stage": "edge", "route": HOSTILE, "signal": "latency"}


@pytest.mark.parametrize("left", [False, True])
async def test_series_page_says_whether_rules_are_to_page_before_there_is_a_verdict(
    *, left: bool
) -> None:
    pages = Pages()
    pages.pages_left_to_rules = left
    async with serve_pages(pages) as server:
        reply = await fetch(f"{server.url}/metrics/series")
    [family] = parse_text(reply.text)
    [sample] = family.samples
    assert (sample.name, sample.labels, sample.value) == (
        "sentinel_pages_left_to_rules",
        {},
        float(left),
    )


async def test_a_bound_that_does_not_exist_has_no_sample() -> None:
    """`-Inf` as the lower bound of errors and latency was drawn by boards as a line at the bottom of everything."""
    pages = Pages()
    latest = make_latest(many_keys(2), [0.1, 3.0], [0.5, math.inf])
    lower = np.array([[-math.inf, 1.0]], np.float32)
    pages.latest = dataclasses.replace(
        latest, verdicts=dataclasses.replace(latest.verdicts, lower=lower)
    )
    async with serve_pages(pages) as server:
        reply = await fetch(f"{server.url}/metrics/series")
    families = {family.name: family.samples for family in parse_text(reply.text)}
    assert [sample.value for sample in families["sentinel_lower"]] == [1.0]
    # A score without an end is the strangest there is, and stays.
    assert [sample.value for sample in families["sentinel_score"]] == [0.5, math.inf]


async def test_the_address_alone_shows_where_to_go_on() -> None:
    """It was a bare 404, which told whoever pasted the address that nothing is there."""
    async with serve_pages(Pages()) as server:
        reply = await fetch(f"{server.url}/")
        assert reply.headers["Content-Type"].startswith("text/plain")
        listed = [line.split()[0] for line in reply.text.splitlines() if line.startswith("/")]
        assert listed == list(PAGES)
        for path in listed:
            assert (await fetch(f"{server.url}{path}")).status == 200
    assert max(map(len, reply.text.splitlines())) <= 80


async def test_series_page_shows_asked_routes_and_the_strangest_others() -> None:
    pages = Pages()
    keys = many_keys(1000)
    pages.latest = make_latest(keys, [1.0] * 1000, [number / 1000 for number in range(1000)])
    config = WebConfig(
        listen=WebListenConfig(port=0),
        series_routes=("api edge GET /r/7",),
        series_strangest_count=3,
    )
    async with serve_pages(pages, config) as server:
        reply = await fetch(f"{server.url}/metrics/series")
    scores = next(family for family in parse_text(reply.text) if family.name == "sentinel_score")
    routes = [sample.labels["route"] for sample in scores.samples]
    assert routes == ["GET /r/7", "GET /r/997", "GET /r/998", "GET /r/999"]


async def test_ten_thousand_series_do_not_hold_the_loop() -> None:
    """While the page is written, other work gets its turn between slices."""
    pages = Pages()
    keys = many_keys(10_000)
    pages.latest = make_latest(keys, [1.0] * 10_000, [0.5] * 10_000)
    config = WebConfig(listen=WebListenConfig(port=0), series_routes=("*",))
    turns = 0
    done = asyncio.Event()

    async def take_turns() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async with serve_pages(pages, config) as server, aiohttp.ClientSession() as client:
        other = asyncio.create_task(take_turns())
        async with client.get(f"{server.url}/metrics/series") as response:
            text = await response.text()
        done.set()
        await other
    assert text.count("\nsentinel_upper{") == 10_000
    assert turns > 100


async def test_a_caller_that_does_not_read_is_disconnected() -> None:
    """A page of 50 MB does not fit into the sockets' buffers; others are answered meanwhile."""
    pages = Pages()
    keys = [key._replace(service="s" * 1000) for key in many_keys(10_000)]
    pages.latest = make_latest(keys, [1.0] * 10_000, [0.5] * 10_000)
    config = WebConfig(
        listen=WebListenConfig(port=0),
        series_routes=("*",),
        connections=ConnectionLimitsConfig(write_timeout=Duration(0.3)),
    )
    surroundings = make_surroundings()
    async with serve_pages(pages, config, surroundings) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET /metrics/series HTTP/1.1\r\nHost: localhost\r\n\r\n")
        labels = {"listener": "web", "reason": "slow_reader"}
        while not surroundings.metrics.value("sentinel_http_connections_closed_total", **labels):
            assert (await fetch(f"{server.url}/-/healthy")).status == 200
            await asyncio.sleep(0.02)
        writer.close()
        # What was on its way may still be there, the end of the page is not.
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = await reader.read()
        assert not rest.endswith(b"0\r\n\r\n")


async def test_a_word_that_comes_too_slowly_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_BODY", BodyLimitsConfig(grace=Duration(0.2)))
    async with serve_pages(Pages()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /api/v1/incidents/include HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        head = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")


async def test_head_of_a_long_page_has_no_body() -> None:
    pages = Pages()
    pages.latest = make_latest(many_keys(10), [1.0] * 10, [0.5] * 10)
    async with serve_pages(pages) as server:
        reply = await fetch(f"{server.url}/metrics/series", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")


async def test_api_lists_the_strangest_first_and_filters() -> None:
    pages = Pages()
    keys = [*many_keys(3), SeriesKey("bank", "database", "<b>", "errors")]
    pages.latest = make_latest(keys, [1.0, 2.0, 3.0, 0.5], [0.1, math.nan, 2.0, math.inf])
    async with serve_pages(pages) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/api/v1/series?limit=2") as response:
            raw = await response.text()
            content = await response.json()
        assert content["total"] == 4
        assert [row["route"] for row in content["series"]] == ["<b>", "GET /r/2"]
        assert content["series"][0]["score"] is None  # infinity is not JSON
        assert "<" not in raw
        async with client.get(
            f"{server.url}/api/v1/series?service=api&route=GET%20/r/1"
        ) as response:
            content = await response.json()
        assert [(row["score"], row["reason"]) for row in content["series"]] == [
            (None, "no_history")
        ]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=٣",
        "limit=1&limit=2",
        "services=api",
        "route=" + "x" * 513,
    ],
)
async def test_a_wrong_query_is_told_so(query: str) -> None:
    async with serve_pages(Pages()) as server:
        reply = await fetch(f"{server.url}/api/v1/series?{query}")
    assert reply.status == 400
    assert "parameter" in reply.json()["error"]["message"]


async def test_api_shows_incidents_and_status() -> None:
    pages = Pages()
    key = SeriesKey("api", "edge", "POST /v1/transfers", "errors")
    member = Member(
        series_id=1, key=key, direction=1, first_ns=10**9, last_ns=2 * 10**9, peak_score=3.5,
        value=0.5, expected=math.nan, lower=math.nan, upper=math.nan, why="half of the calls fail",
    )  # fmt: skip
    pages.found = [
        Incident(
            incident_id="i1",
            group="api",
            kind=IncidentKind.GUARD,
            severity=Severity.PAGE,
            state=IncidentState.OPEN,
            opened_ns=10**9,
            paged_ns=2 * 10**9,
            members=(member,),
        )
    ]
    async with serve_pages(pages) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/api/v1/incidents?state=open") as response:
            content = await response.json()
        assert content["incidents"][0]["members"][0]["expected"] is None
        assert content["incidents"][0]["opened"] == "1970-01-01T00:00:01.000Z"
        assert content["mode"] == "live"
        assert content["incidents"][0]["summary"].startswith("api: calls fail at edge POST")
        async with client.get(f"{server.url}/api/v1/status") as response:
            status = await response.json()
    assert (status["version"], status["uptime_s"], status["fit_version"]) == ("1.2.3", 90.0, 4)


async def test_tokens_guard_everything_but_probes() -> None:
    tokens = TokensConfig(
        read=Secret("read-token-0123456789"), ingest=Secret("ingest-token-0123456789")
    )
    config = WebConfig(listen=WebListenConfig(port=0, tokens=tokens))
    async with serve_pages(Pages(), config) as server, aiohttp.ClientSession() as client:
        expected = {
            "/": (200, 200, 200),
            "/-/healthy": (200, 200, 200),
            "/-/ready": (200, 200, 200),
            "/metrics": (200, 200, 200),
            "/metrics/series": (401, 403, 200),
            "/api/v1/series": (401, 403, 200),
            "/api/v1/incidents": (401, 403, 200),
            "/api/v1/status": (401, 403, 200),
        }
        for path, statuses in expected.items():
            found = []
            for token in (None, "ingest-token-0123456789", "read-token-0123456789"):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with client.get(f"{server.url}{path}", headers=headers) as response:
                    found.append(response.status)
            assert tuple(found) == statuses, path


async def test_probe_listener_shows_no_more_than_it_must() -> None:
    config = WebConfig(listen=WebListenConfig(port=0), probes=ListenConfig(address="0.0.0.0"))
    async with serve_pages(Pages(), config) as server, aiohttp.ClientSession() as client:
        base = f"http://127.0.0.1:{server.probes_port}"
        async with client.get(f"{base}/-/ready", headers={"Host": "10.1.2.3"}) as response:
            content = await response.json()
        assert content == {
            "ready": True,
            "components": {
                "pipeline.ingest": {"status": "degraded", "since": "1970-01-01T00:00:01.000Z"}
            },
        }
        async with client.get(f"{base}/api/v1/series") as response:
            assert response.status == 404


def test_an_exposed_listener_without_tls_and_token_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs tls and tokens\.read"):
        WebConfig(listen=WebListenConfig(address="0.0.0.0"))


async def test_a_taken_port_names_its_setting() -> None:
    """A second sidecar ended with the words of the event loop, and one looked for the setting."""
    async with serve_pages(Pages()) as first:
        free = WebListenConfig(port=0)
        for setting, config in (
            ("web.listen.port", WebConfig(listen=WebListenConfig(port=first.port))),
            ("web.probes.port", WebConfig(listen=free, probes=ListenConfig(port=first.port))),
        ):
            told = (
                rf"cannot listen on 127.0.0.1:{first.port} \({setting}\): the port is taken; "
                r"is another sentinel running\?$"
            )
            with pytest.raises(OSError, match=told):
                async with serve_pages(Pages(), config):
                    pytest.fail("a second server listens on the same port")
