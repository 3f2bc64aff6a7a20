"""Goal: while an incident is open Prometheus can see it, who is in it and which calls show it, and once it is over it cannot.

Method: a story of windows against the whole program; `/metrics/series` is read as Prometheus reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.alertmanager_server import collector
from tests.support.fetch import fetch
from tests.support.otlp_messages import INTERNAL, attribute, span, traces
from tests.support.whole_app import (
    SECOND_NS,
    Calls,
    Sidecar,
    config_of,
    sidecar,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(240)

CALM = Calls(count=60)
FAILING = Calls(count=60, failed_count=15)
USUAL = usual_of(CALM, stage="edge", route="POST /v1/transfers")
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


async def told(side: Sidecar) -> dict[str, list[Any]]:
    """Samples of each metric that has any."""
    page = await fetch(f"{side.web_url}/metrics/series", headers=OPENMETRICS)
    families = text_string_to_metric_families(page.text)  # type: ignore[no-untyped-call]
    return {one.name: list(one.samples) for one in families if one.samples}


async def test_an_incident_is_told_while_it_is_open_with_the_calls_that_show_it(
    tmp_path: Path,
) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await side.windows(6, CALM)
            assert "sentinel_incident_start_timestamp_seconds" not in await told(side)
            await side.windows(4, FAILING)
            page, [incident] = await told(side), await side.incidents()
            [start] = page["sentinel_incident_start_timestamp_seconds"]
            assert start.labels == {
                "incident": incident["id"],
                "service": "ledger",
                "kind": incident["kind"],
                "severity": incident["severity"],
            }
            members = {
                one.labels["signal"]: one.value
                for one in page["sentinel_incident_member_start_timestamp_seconds"]
            }
            assert members["errors"] == start.value
            calls = {one.labels["outcome"]: one for one in page["sentinel_named_calls"]}
            assert set(calls) == {"ok", "failed"}
            shown = calls["failed"].exemplar
            assert shown.value == pytest.approx(FAILING.duration_s)
            assert len(shown.labels["trace_id"]) == 32
            # Of the last window, and so never older than what a scrape before saw.
            assert float(shown.timestamp) >= (side.next_ns / SECOND_NS) - side.window_s
            await side.windows(windows_until_resolved() + 2, CALM)
            assert (await side.incidents())[0]["state"] == "resolved"
            after = await told(side)
    assert not {name for name in after if name.startswith("sentinel_incident_")}
    assert after["sentinel_named_calls"]


async def test_a_version_that_a_service_did_not_have_is_told_from_when_it_was_heard(
    tmp_path: Path,
) -> None:
    async with sidecar(config_of(tmp_path)) as side:
        await name_version(side, "1.0.0")
        await side.window(CALM)
        assert "sentinel_service_version_start_timestamp_seconds" not in await told(side)
        heard_s = side.clock.now_ns() / SECOND_NS
        await name_version(side, "1.1.0")
        await side.window(CALM)
        [version] = (await told(side))["sentinel_service_version_start_timestamp_seconds"]
    assert version.labels == {"service": "ledger", "version": "1.1.0"}
    assert version.value == pytest.approx(heard_s, abs=1.0)


async def name_version(side: Sidecar, version: str) -> None:
    inner = span(kind=INTERNAL, number=side.next_ns // SECOND_NS, end_ns=side.clock.now_ns())
    request = traces(inner)
    named = request.resource_spans[0].resource.attributes
    named.append(attribute("service.version", version))
    assert await side.post("/v1/traces", request.SerializeToString()) == 200
