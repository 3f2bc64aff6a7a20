"""Goal: what is shed under overload looks like no fall, and an outage in that time pages all the same, and says so.

Method: the whole program on a manual clock, telemetry over HTTP, pages to a collector; the pressure is the test's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.core.model import SIGNAL_ERRORS, SIGNAL_TRAFFIC, Reason
from tests.support.alertmanager_server import collector
from tests.support.whole_app import Calls, config_of, send_in_requests, sidecar, thought

pytestmark = pytest.mark.timeout(60)

CALM = Calls()


async def test_shed_traces_are_no_fall_and_an_outage_pages_in_time(tmp_path: Path) -> None:
    pressure = 0.0
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            side.app.overload._pressures = {"queue": lambda: pressure}
            await side.windows(8, CALM)
            pressure = 0.85
            await side.clock.advance(1.5)
            pressure = 0.6  # between the two ratios: nothing more is shed, and nothing less
            _, status = await side.get("/api/v1/status")
            assert status["overload"]["shed"][0] == "traces"
            assert status["components"]["pipeline.overload"]["status"] == "degraded"

            statuses = await send_in_requests(side, CALM)
            assert statuses.count(503) == 9
            assert statuses.count(200) == 1
            await side.close()
            reason, value = thought(side, SIGNAL_TRAFFIC)
            assert (reason, value != value) == (Reason.SHED, True)
            assert thought(side, SIGNAL_ERRORS)[1] == 0.0
            assert hook.distinct() == []

            failing = Calls(count=200, failed_count=200)
            for _ in range(2):
                await send_in_requests(side, failing)
                await side.close()
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["alertname"] == "SentinelGuard"
            assert "calls fail" in page["annotations"]["summary"]
            assert page["annotations"]["description"].startswith(
                "Sentinel is overloaded and has been shedding traces"
            )
            assert "since 2026-09-21" in page["annotations"]["overload"]

            pressure = 0.0
            for _ in range(8):
                await side.close()
            assert side.app.overload.shed.rungs == ()
            await side.windows(4, CALM)
            reason, value = thought(side, SIGNAL_TRAFFIC)
            assert reason is not Reason.SHED
            assert value == CALM.count / side.window_s
            assert side.metrics.value("sentinel_windows_shed_total", signal="traces") >= 4
            alerts = {one["labels"]["alertname"] for one in hook.distinct()}
            assert alerts == {"SentinelGuard"}
