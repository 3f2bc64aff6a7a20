"""Goal: from OTLP to a person through a real Alertmanager that is down when the page is due.

Method: the whole program on a manual clock near the real time, which Alertmanager lives by; the page waits in the
outbox until the server is back, and the collector behind it is told of the incident and of its end.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import SendersConfig
from sentinel.pipeline.deliver import DeliverConfig
from sentinel.runtime.settings import Duration
from sentinel.senders.alertmanager import AlertmanagerConfig
from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    SECOND_NS,
    Calls,
    config_of,
    sidecar,
    until,
    windows_until_resolved,
)

# The manual clock passes this in a few windows; the collector's Alertmanager waits a second of real time.
_DELIVER = DeliverConfig(settle=Duration(45.0))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_a_page_while_alertmanager_is_down_arrives_when_it_is_back(tmp_path: Path) -> None:
    began_s = (time.time_ns() // SECOND_NS - 300) // 10 * 10
    with (
        collector() as hook,
        alertmanager_server(tmp_path / "am", webhook_url=hook.url) as server,
    ):
        server.stop(kill=True)
        senders = SendersConfig(alertmanager=AlertmanagerConfig(urls=(server.url,)))
        config = replace(config_of(tmp_path), senders=senders, deliver=_DELIVER)
        async with sidecar(config, clock=ManualClock(began_s * SECOND_NS)) as side:
            await side.windows(3, Calls())
            await side.windows(3, Calls(failed_count=40))
            (incident,) = await side.incidents()
            _, status = await side.get("/api/v1/status")
            assert status["components"]["pipeline.deliver"]["status"] == "failing"
            server.start()
            await side.windows(3, Calls(failed_count=40))
            await until(lambda: bool(hook.alerts("firing")), what="the page")
            await side.windows(windows_until_resolved() + 6, Calls())
            await until(lambda: bool(hook.alerts("resolved")), what="the resolve")
            (firing,), (resolved,) = hook.alerts("firing"), hook.alerts("resolved")
            assert firing["labels"] == resolved["labels"]
            assert firing["labels"] == {
                "alertname": "SentinelGuard",
                "service": "ledger",
                "severity": "page",
                "sentinel_anomaly": "true",
            }
            assert firing["annotations"]["incident"] == incident["id"]
            assert incident["traces"][0] in firing["annotations"]["description"]
            _, status = await side.get("/api/v1/status")
            assert status["components"]["pipeline.deliver"]["status"] == "ok"


async def test_an_incident_that_was_over_before_alertmanager_was_back_is_on_the_page_of_the_next(
    tmp_path: Path,
) -> None:
    """It was set aside in silence when the service had its next incident: nobody was ever told of it."""
    windows_count = windows_until_resolved() + 16
    began_s = (time.time_ns() // SECOND_NS - windows_count * 10) // 10 * 10
    with (
        collector() as hook,
        alertmanager_server(tmp_path / "am", webhook_url=hook.url) as server,
    ):
        server.stop(kill=True)
        senders = SendersConfig(alertmanager=AlertmanagerConfig(urls=(server.url,)))
        config = replace(config_of(tmp_path), senders=senders, deliver=_DELIVER)
        async with sidecar(config, clock=ManualClock(began_s * SECOND_NS)) as side:
            await side.windows(3, Calls())
            await side.windows(3, Calls(failed_count=40))
            await side.windows(windows_until_resolved() + 6, Calls())
            await side.windows(3, Calls(failed_count=40))
            later, earlier = await side.incidents()
            assert (earlier["state"], later["state"]) == ("resolved", "open")
            server.start()
            await side.windows(3, Calls(failed_count=40))
            await until(lambda: bool(hook.alerts("firing")), what="the page")
            (page,) = hook.alerts("firing")
            assert page["annotations"]["incident"] == later["id"]
            first, *own = page["annotations"]["description"].splitlines()
            assert first.startswith("Earlier, perhaps not told: ledger: back to normal after ")
            assert first.endswith(f"[{earlier['id']}]")
            assert own
