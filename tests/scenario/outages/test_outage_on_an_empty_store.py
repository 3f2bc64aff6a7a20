"""Goal: an outage in the first minutes of a sidecar that has learnt nothing pages all the same, and resolves.

Method: the whole program on a manual clock, telemetry over HTTP, pages to a collector.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import Mode
from tests.support.alertmanager_server import collector
from tests.support.whole_app import (
    Calls,
    config_of,
    sidecar,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(60)

CALM = Calls()
BURST = Calls(failed_count=40)


async def test_an_error_burst_pages_with_its_evidence_and_resolves(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await side.windows(4, CALM)
            assert hook.distinct() == []
            await side.window(BURST, logs=["could not lock account 4111111111111111"])
            await side.window(BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"] == {
                "alertname": "SentinelGuard",
                "service": "ledger",
                "severity": "page",
                "sentinel_anomaly": "true",
            }
            text = page["annotations"]["summary"] + page["annotations"]["description"]
            (incident,) = await side.incidents()
            assert incident["traces"][0] in text
            assert "could not lock account" in text
            assert "4111111111111111" not in text
            assert "80" in text
            assert "POST /v1/transfers" in text
            assert f"sentinel incidents {incident['id']}" in page["annotations"]["next"]
            await side.windows(windows_until_resolved() - 2, CALM)
            assert hook.distinct("resolved") == []
            await side.windows(2, CALM)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (resolve,) = hook.distinct("resolved")
            assert resolve["labels"] == page["labels"]
            assert resolve["startsAt"] == page["startsAt"]
            assert resolve["fingerprint"] == page["fingerprint"]
            assert [one["state"] for one in await side.incidents()] == ["resolved"]


async def test_a_source_that_falls_silent_is_blind_and_never_low(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            other = Calls(service="ledger-poster", route="/v1/post")
            await side.windows(32, CALM, other)
            assert hook.distinct() == []
            await side.windows(8, other)
            await side.sees(lambda: bool(hook.distinct()), "the ticket")
            (ticket,) = hook.distinct()
            assert ticket["labels"] == {
                "alertname": "SentinelBlind",
                "service": "ledger",
                "severity": "ticket",
                "sentinel_anomaly": "true",
            }
            await side.windows(windows_until_resolved() + 8, CALM, other)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_traffic_that_stops_while_its_source_is_heard_pages(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await side.windows(31, CALM)
            for _ in range(6):
                assert hook.distinct() == []
                await side.window(service="ledger")
            await side.window(service="ledger")
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["alertname"] == "SentinelGuard"
            assert "no calls at edge POST /v1/transfers" in page["annotations"]["summary"]


async def test_shadow_mode_decides_and_records_and_sends_nothing(tmp_path: Path) -> None:
    with collector() as hook:
        config = replace(config_of(tmp_path, webhook_url=hook.url), mode=Mode.SHADOW)
        async with sidecar(config) as side:
            await side.windows(2, CALM)
            await side.windows(2, BURST)
            await side.windows(windows_until_resolved() + 1, CALM)
            (incident,) = await side.incidents()
            assert incident["state"] == "resolved"
            for reason in ("opened", "resolved"):
                withheld = side.metrics.value("sentinel_pages_withheld_total", reason=reason)
                assert withheld == 1
            _, status = await side.get("/api/v1/status")
            assert status["mode"] == "shadow"
        assert hook.requests == []
