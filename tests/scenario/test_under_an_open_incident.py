"""Goal: what gets worse under an open incident is told at once; what only comes back is not told as an outage.

Method: the whole program with six weeks of history behind it, so that the learned band judges beside the guards.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import INTERNAL, span, traces
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    sidecar,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(90)

CALM = Calls(count=60)
USUAL = usual_of(CALM, stage="edge", route="POST /v1/transfers")


async def calm(side: Sidecar, count: int) -> None:
    """Windows that are usual, and never quite the same."""
    for number in range(count):
        await side.window(Calls(count=58 + number * 7 % 5, duration_s=0.05 + number % 3 / 1e3))


async def test_a_guard_that_breaks_under_an_open_page_is_told_at_once(tmp_path: Path) -> None:
    """Slow calls had paged; a minute later most of them failed, and only the resolve said so."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 12)
            await side.windows(3, Calls(count=60, duration_s=1.5))
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["alertname"] == "SentinelAnomaly"
            await side.windows(2, Calls(count=60, duration_s=1.5, failed_count=50))
            await side.sees(lambda: len(hook.distinct()) > 1, "the escalation")
            _, worse = hook.distinct()
            assert worse["labels"] == page["labels"]
            assert worse["annotations"]["reason"] == "worsened"
            assert "calls fail at edge POST /v1/transfers" in worse["annotations"]["summary"]
            assert "Static guard: at least 50 %" in worse["annotations"]["description"]
            await side.windows(2, Calls(count=60, duration_s=1.5, failed_count=50))
            assert len(hook.distinct()) == 2
            await calm(side, windows_until_resolved() + 1)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")


@pytest.mark.parametrize("silent_count", [2, 12])
@pytest.mark.parametrize("back_after_s", [3.0, 8.0])
async def test_a_source_that_comes_back_after_a_silence_does_not_page(
    tmp_path: Path, silent_count: int, back_after_s: float
) -> None:
    """Back while the window before was not closed yet, it counted as heard there without a call: "no calls", a page.

    The window in which it came back held a part of its calls, and looked like a fall too.
    """
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 32)
            assert side.decided[-1].scored_count == 3
            for _ in range(silent_count - 1):
                await side.window()
            await side.send()
            back_ns = side.next_ns + round((10 + back_after_s) * 1e9)
            is_before_close = back_after_s < side.app.config.series.lateness
            if is_before_close:
                await side.clock.advance((back_ns - side.clock.now_ns()) / 1e9)
                hello = span(kind=INTERNAL, number=7, end_ns=back_ns)
                body = traces(hello, service="ledger").SerializeToString()
                assert await side.post("/v1/traces", body) == 200
            await side.close()
            latest = side.app.evaluate.latest
            assert latest is not None
            assert latest.block.heard.any() == is_before_close
            await side.window(Calls(count=round(60 * (1 - back_after_s / 10))))
            await calm(side, 8)
            pages = [one for one in hook.distinct() if one["labels"]["severity"] == "page"]
            assert pages == []


async def test_a_source_that_comes_back_without_its_calls_pages(tmp_path: Path) -> None:
    """The other way round: heard again and empty must not hide behind the silence before it."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 32)
            for _ in range(3):
                await side.window()
            for _ in range(4):
                await side.window(service="ledger")
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert "no calls at edge POST /v1/transfers" in page["annotations"]["summary"]
