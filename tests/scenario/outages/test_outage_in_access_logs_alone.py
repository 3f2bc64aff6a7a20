"""Goal: an outage that only access logs tell of pages, and switching tracing on or off beside them pages nobody.

Method: the whole program on a manual clock; a service that writes a log record for each call it answered, some of the
time with spans of the same calls.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import attribute, resource
from tests.support.whole_app import (
    SECOND_NS,
    Calls,
    Sidecar,
    config_of,
    sidecar,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(60)

CALM = Calls()
BURST = Calls(failed_count=40)


def access_log(calls: Calls, *, start_ns: int, route: bool) -> bytes:
    """One record for each call, as an access log has them."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add(resource=resource(calls.service)).scope_logs.add()
    for number in range(calls.count):
        record = records.log_records.add(
            time_unix_nano=start_ns + (number + 1) * 8 * SECOND_NS // calls.count,
            severity_number=9,
            attributes=[
                attribute("http.request.method", "POST"),
                attribute("url.path", f"/v1/transfers/{start_ns}-{number}"),
                attribute(
                    "http.response.status_code", 500 if number < calls.failed_count else 202
                ),
                attribute("duration_ms", 1000 * calls.duration_s),
            ],
        )
        record.body.string_value = "request finished"
        if route:
            record.attributes.append(attribute("http.route", calls.route))
    return request.SerializeToString()


async def windows(
    side: Sidecar, count: int, calls: Calls, *, traced: bool = False, route: bool = True
) -> None:
    """So many windows of equal calls, which the access log tells of, and spans where they are traced."""
    for _ in range(count):
        start_ns = side.next_ns
        await side.send(*((calls,) if traced else ()))
        body = access_log(calls, start_ns=start_ns, route=route)
        assert await side.post("/v1/logs", body) == 200
        await side.close()


async def test_failing_calls_page_and_resolve(tmp_path: Path) -> None:
    """Logs were counted by severity alone: where nothing else was sent, an outage of every call paged nobody."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await windows(side, 6, CALM)
            assert hook.distinct() == []
            await windows(side, 3, BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["alertname"] == "SentinelGuard"
            assert page["labels"]["severity"] == "page"
            assert "POST /v1/transfers" in page["annotations"]["summary"]
            await windows(side, windows_until_resolved() + 2, CALM)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_calls_that_stop_page(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await windows(side, 32, CALM)
            for _ in range(8):
                await side.window(service="ledger")
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert "no calls at edge POST /v1/transfers" in page["annotations"]["summary"]


@pytest.mark.parametrize("route", [True, False], ids=["with_route", "without_route"])
async def test_switching_tracing_off_and_on_pages_nobody(tmp_path: Path, *, route: bool) -> None:
    """The traffic a person sees is the same; only who tells of it changes, and perhaps what the route is called."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await windows(side, 37, CALM, traced=True, route=route)
            await windows(side, 50, CALM, route=route)
            await windows(side, 20, CALM, traced=True, route=route)
            assert hook.distinct() == []
            assert await side.incidents() == []
