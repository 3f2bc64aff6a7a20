"""Goal: a fault that stays as it is told once, one that grows is told again at once, and nothing is told as worse when it is over.

Method: the whole program in windows of a minute, with two weeks of history and seven hours of calm behind it, so that means over
5 and 30 minutes are judged beside single windows; what it decided is held against a preview of its store.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import SentinelConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.previewed import assert_same, listening, previewed
from tests.support.whole_app import Calls, Sidecar, config_of, sidecar, usual_of, with_history

pytestmark = pytest.mark.timeout(180)

WINDOW_S = 60
BEGIN_NS = 1_790_000_000 // 3600 * 3600 * 10**9
CALM = Calls(count=60)
USUAL = usual_of(Calls(count=10), stage="edge", route="POST /v1/transfers")
"""So many in ten seconds."""


def of_minutes(tmp_path: Path, url: str) -> SentinelConfig:
    config = config_of(tmp_path, webhook_url=url, hold_s=1800)
    return replace(config, series=replace(config.series, window=Duration(WINDOW_S)))


async def calm(side: Sidecar, minutes: int) -> None:
    """Windows that are usual, and never quite the same."""
    for number in range(minutes):
        failed = 1 if number % 23 == 0 else 0
        await side.window(
            Calls(
                count=58 + number * 7 % 5, duration_s=0.05 + number % 3 / 1e3, failed_count=failed
            )
        )


async def test_worse_is_told_while_it_grows_and_not_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fault of twelve minutes "worse" went out, by the mean over five that held it, and the resolve told of that mean."""
    heard = listening(monkeypatch)
    with collector() as hook:
        config = of_minutes(tmp_path, hook.url)
        async with sidecar(config, clock=ManualClock(BEGIN_NS)) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 7 * 60)
            assert hook.distinct() == []
            await side.windows(12, replace(CALM, failed_count=24))
            await calm(side, 19 + 60)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            page, resolve = hook.distinct()
            assert ": 40 %, expected" in page["annotations"]["summary"]
            assert ": 40 % at worst, expected" in resolve["annotations"]["summary"]
            # A mean over half an hour was strange for as long after it, and then came the hold.
            assert "back to normal after 1 h 29 min (" in resolve["annotations"]["summary"]
            await side.windows(9, replace(CALM, failed_count=12))
            await side.windows(9, replace(CALM, failed_count=29))
            await calm(side, 90)
            await side.sees(lambda: len(hook.distinct("resolved")) > 1, "the second resolve")
            _, _, page, worse, resolve = hook.distinct()
            reasons = [one["annotations"]["reason"] for one in (page, worse, resolve)]
            assert reasons == ["opened", "worsened", "resolved"]
            assert (
                ": worse: calls fail at edge POST /v1/transfers: 48.3 %"
                in worse["annotations"]["summary"]
            )
            assert ": 48.3 % at worst, expected" in resolve["annotations"]["summary"]
    again, found = previewed(tmp_path)
    assert found.doubts == []
    assert_same(again, heard)
