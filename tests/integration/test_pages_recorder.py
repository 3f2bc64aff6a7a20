"""Goal: the times of `make bench-pages` are those of a real Alertmanager's answers, and its pages those that a person gets.

Method: Debian's Alertmanager behind the recorder, with the benchmark's own routes; alerts are posted as the sidecar and Prometheus do.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.pages.configs import alertmanager
from benchmarks.pages.recorder import Recorder
from benchmarks.pages.told import Side
from tests.support.alertmanager_server import AlertmanagerServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def firing(**labels: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": "A", "service": "ledger", "severity": "page", **labels},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=5)).isoformat(),
    }


async def test_what_alertmanager_took_is_told_with_its_time_and_what_it_refused_is_not(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    await recorder.start()
    server = AlertmanagerServer(tmp_path / "alertmanager", webhook_url=recorder.url)
    (tmp_path / "alertmanager" / "alertmanager.yml").write_text(alertmanager(recorder.url))
    try:
        await asyncio.to_thread(server.start)
        recorder.alertmanager_url = server.url
        began_s = time.time()
        async with aiohttp.ClientSession() as http:
            for path, alerts, status in (
                ("sentinel", [firing(sentinel_anomaly="true")], 200),
                ("prometheus", [firing(by="static"), firing(severity="ticket")], 200),
                ("sentinel", [{"labels": {}}], 400),
            ):
                url = f"{recorder.url}/{path}/api/v2/alerts"
                async with http.post(url, json=alerts) as answer:
                    assert answer.status == status
            async with http.get(f"{recorder.url}/prometheus/api/v2/alerts?active=true") as answer:
                assert len(await answer.json()) == 3
        told = recorder.firing.told
        assert [(one.side, one.severity) for one in told] == [
            (Side.SENTINEL, "page"),
            (Side.STATIC, "page"),
            (Side.RULES, "ticket"),
        ]
        assert all(began_s <= one.at_s <= time.time() for one in told)
        # A person is told of the pages of each side once, and of no ticket.
        async with asyncio.timeout(60):
            while len(recorder.notices) < 2:
                await asyncio.sleep(0.1)
        assert sorted(side for _, side in recorder.notices) == [Side.SENTINEL, Side.STATIC]
    finally:
        await asyncio.to_thread(server.stop)
        await recorder.stop()
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(recorder.url)
