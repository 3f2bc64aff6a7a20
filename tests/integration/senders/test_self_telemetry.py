"""Goal: own traces and logs arrive when asked for, and an endpoint that does not take them disturbs nothing.

Method: the component alone, against a collector on an ephemeral loopback port that decodes with the published messages, and
against servers that hang, refuse, redirect and are not there.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sentinel.errors import ConfigError
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.log_bound import ALWAYS_WRITTEN
from sentinel.runtime.settings import Duration, Ratio
from sentinel.runtime.tracing import OwnSpan
from sentinel.senders import self_telemetry
from sentinel.senders.self_telemetry import SelfTelemetry, SelfTelemetryConfig
from tests.support.otlp_collector import OtlpCollector
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NAME = "senders.self_telemetry"


def config(url: str, **changes: Any) -> SelfTelemetryConfig:
    client = ClientConfig(connect_timeout=Duration(1.0), timeout=Duration(1.0))
    return SelfTelemetryConfig(endpoint=url, client=client, **changes)


def surroundings_with_logger(name: str) -> Surroundings:
    made = make_surroundings()
    logger = logging.getLogger(f"sentinel.tests.{name}")
    logger.setLevel(logging.INFO)
    return Surroundings(clock=made.clock, metrics=made.metrics, logger=logger)


def counted(surroundings: Surroundings, what: str, **labels: str) -> float:
    return surroundings.metrics.value(f"sentinel_component_{what}_total", component=NAME, **labels)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.02)
    message = "waited in vain"
    raise AssertionError(message)


@asynccontextmanager
async def collector() -> AsyncIterator[OtlpCollector]:
    made = OtlpCollector()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def answering(
    answer: Callable[[web.BaseRequest], Awaitable[web.Response]],
) -> AsyncIterator[str]:
    """A server that answers every request the same way."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_spans_and_lines_arrive_and_are_counted() -> None:
    surroundings = surroundings_with_logger("arrive")
    async with collector() as other:
        component = SelfTelemetry(config(other.url), surroundings)
        with component.span(OwnSpan.FIT):  # before the start there is none, and no error
            pass
        await component.start()
        with component.span(OwnSpan.EVALUATE, series_count=3) as outer:
            outer.note(page_count=1)
            with component.span(OwnSpan.DELIVER, destination="webhook:hook") as inner:
                inner.failed("timeout")
            surroundings.logger.warning(
                "Something happened",
                extra={"mail": "a@example.com", "url": "http://me:word@h/", **ALWAYS_WRITTEN},
            )
        with pytest.raises(KeyError), component.span(OwnSpan.SCRAPE):
            raise KeyError("4111111111111111")
        # What the exporter's own libraries say must not feed the exporter.
        logging.getLogger("opentelemetry.anything").critical("Not sent")
        await component.stop()
        await component.stop()
        surroundings.logger.warning("After the end")
    spans = {span.name: span for span in other.spans}
    assert set(spans) == {"sentinel.evaluate", "sentinel.deliver", "sentinel.scrape"}
    assert {span.service for span in other.spans} == {"sentinel"}
    evaluate, deliver = spans["sentinel.evaluate"], spans["sentinel.deliver"]
    assert evaluate.attributes == {"sentinel.series_count": 3, "sentinel.page_count": 1}
    assert deliver.parent_id == evaluate.span_id
    assert deliver.is_error
    assert not evaluate.is_error
    # Of an error its class alone, because what it says may be a secret.
    assert spans["sentinel.scrape"].attributes == {"error.type": "KeyError"}
    [line] = other.logs
    assert line.body == "Something happened"
    assert line.trace_id == evaluate.trace_id
    assert counted(surroundings, "received", signal="traces") == 3
    assert counted(surroundings, "sent", signal="traces") == 3
    assert counted(surroundings, "received", signal="logs") == 1
    assert counted(surroundings, "sent", signal="logs") == 1


async def test_the_attributes_of_a_line_are_redacted() -> None:
    surroundings = surroundings_with_logger("redacted")
    bodies: list[bytes] = []

    async def keep(request: web.BaseRequest) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    async with answering(keep) as url:
        component = SelfTelemetry(config(url, traces=False), surroundings)
        await component.start()
        surroundings.logger.error(
            "Card %s was seen", "4111 1111 1111 1111", extra={"at": "http://me:word@h/"}
        )
        await component.stop()
    text = b"".join(bodies)
    assert b"Card" in text
    assert b"4111" not in text
    assert b"word" not in text
    assert b"sentinel.self_telemetry" in text


async def test_an_endpoint_that_hangs_fills_a_bounded_queue_and_holds_up_nothing() -> None:
    surroundings = surroundings_with_logger("hangs")

    async def hang(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with answering(hang) as url:
        component = SelfTelemetry(config(url, queue_max=16, logs=False), surroundings)
        await component.start()
        for _ in range(100):
            with component.span(OwnSpan.EVALUATE):
                pass
        assert counted(surroundings, "received", signal="traces") == 100
        assert counted(surroundings, "dropped", reason="queue_full") == 84
        await component.stop()
        assert counted(surroundings, "sent", signal="traces") == 0


async def test_a_redirect_is_an_error_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The exporter counts a redirect as success; nothing would have arrived and nothing been told."""
    surroundings = surroundings_with_logger("refused")
    statuses = [302]

    async def redirect(_: web.BaseRequest) -> web.Response:
        return web.Response(status=statuses[-1], headers={"Location": "http://127.0.0.1:1/"})

    async with answering(redirect) as url:
        component = SelfTelemetry(config(url, logs=False), surroundings)
        await component.start()
        with component.span(OwnSpan.FIT):
            pass
        await until(lambda: component.health().status is HealthStatus.DEGRADED)
        assert counted(surroundings, "errors", stage="send", reason="unreachable") == 1
        statuses.append(200)
        with component.span(OwnSpan.FIT):
            pass
        await until(lambda: component.health().status is HealthStatus.OK)
        assert counted(surroundings, "sent", signal="traces") == 1
        await component.stop()
    told = [one.getMessage() for one in caplog.records if one.name == surroundings.logger.name]
    assert told == ["Own telemetry is not taken and is dropped", "Own telemetry is taken again"]
    # The exporter's words are those of the other side, one for each batch.
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


async def test_a_share_of_traces_is_kept_when_asked() -> None:
    surroundings = surroundings_with_logger("sampled")
    async with collector() as other:
        component = SelfTelemetry(config(other.url, sampling=Ratio(0.0)), surroundings)
        await component.start()
        with component.span(OwnSpan.FIT):
            pass
        await component.stop()
    assert other.spans == []
    assert counted(surroundings, "received", signal="traces") == 0


def test_without_the_library_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "sentinel.runtime.own_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"self_telemetry\.endpoint: .*sentinel-sidecar\[otel\]"):
        SelfTelemetry(config("http://127.0.0.1:1"), make_surroundings())
    assert self_telemetry.SelfTelemetryConfig().is_asked_for is False


def test_the_libraries_are_not_loaded_when_not_asked_for() -> None:
    code = (
        "import sys, sentinel.app.serve\n"
        "sys.exit(any(one.split('.')[0] == 'requests' or one.startswith('opentelemetry.sdk') for one in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
