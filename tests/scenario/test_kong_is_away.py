"""Goal: a Kong that stops for two minutes has no value meanwhile, is counted right from its return on, and pages nobody by coming back.

Method: the whole program on a manual clock; a status API that refuses connections and whose counters begin anew, as Kong's do with its
workers; records of its log that cease and come again.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.alertmanager_server import collector
from tests.support.kong_gateway import CALLS, ROUTE, gateway

pytestmark = pytest.mark.timeout(120)

AWAY = 12
"""Windows of ten seconds: two minutes."""
AWAY_OF_BOTH = 18
"""Where its log counts, its page is waited for as for histograms that are pushed, and the ticket comes in the third minute."""
LEARNT = 36
"""Windows after which calls that stop are told of."""


@pytest.mark.parametrize(
    ("logged", "scraped"),
    [
        pytest.param(True, False, id="by_its_log", marks=pytest.mark.full),
        pytest.param(False, True, id="by_its_metrics"),
        pytest.param(True, True, id="by_both", marks=pytest.mark.full),
    ],
)
async def test_two_minutes_without_kong(tmp_path: Path, *, logged: bool, scraped: bool) -> None:
    with collector() as hook:
        async with gateway(tmp_path, hook.url, logged=logged, scraped=scraped) as (side, kong):
            await kong.windows(LEARNT)
            assert kong.value(*ROUTE, "traffic") == CALLS / 10
            await kong.away(AWAY_OF_BOTH if logged and scraped else AWAY)
            # It is not known what was called meanwhile: nothing is made 0, and nothing is repeated.
            assert math.isnan(kong.value(*ROUTE, "traffic"))
            assert math.isnan(kong.value(*ROUTE, "errors"))
            settings = side.app.config.series.series_settings()
            # A first poll has nothing to be compared with since Kong began anew; a record tells its own time. The last window
            # of the outage is closed with the first poll, when Kong is heard again: it is unknown all the same.
            for _ in range(settings.partial_window_count if scraped and not logged else 0):
                await kong.windows(1)
                assert _is_unknown_or(CALLS / 10, kong.value(*ROUTE, "traffic"))
                assert _is_unknown_or(0.0, kong.value(*ROUTE, "errors"))
            for _ in range(4):
                await kong.windows(1)
                assert kong.value(*ROUTE, "traffic") == CALLS / 10
                assert kong.value(*ROUTE, "errors") == 0.0
                assert kong.value(*ROUTE, "latency") == pytest.approx(0.045, rel=0.2)
            # That it was not heard for two minutes is a ticket, which is true; that it is back, with few calls at first, is nothing.
            told = {
                (page["labels"]["alertname"], page["labels"]["severity"])
                for page in hook.distinct()
            }
            assert told == {("SentinelBlind", "ticket")}
            assert {one["kind"] for one in await side.incidents()} <= {"blind"}
            await kong.windows(2, code=502, of_calls=10, by_kong=True)
            assert kong.value(*ROUTE, "errors") == pytest.approx(0.2)


def _is_unknown_or(expected: float, value: float) -> bool:
    return math.isnan(value) or value == pytest.approx(expected, rel=0.1)
