"""Goal: a sidecar that was stopped or killed goes on as if nothing had happened: same verdicts, same incident, no second page.

Method: the same telemetry twice, once without a break and once with one, in step with a manual clock. Lateness is
zero here, so that the break falls between two windows and no half window is lost in memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.core.model import PageReason
from sentinel.pipeline.evaluate import EvaluateConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import Collector, collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    Calls,
    Decided,
    Sidecar,
    config_of,
    crash,
    sidecar,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(240)

USUAL = usual_of(Calls(count=60), stage="edge", route="POST /v1/transfers")


def calls_of(number: int) -> Calls:
    """A window of the story: calm, a burst of errors from window 20 to 26, calm; never quite the same."""
    failed = 30 if 20 <= number < 26 else number % 2
    return Calls(
        count=55 + number * 7 % 11, failed_count=failed, duration_s=0.05 + number % 3 / 1e3
    )


async def tell(side: Sidecar, first: int, end: int) -> None:
    for number in range(first, end):
        await side.window(calls_of(number))


async def told_at_once(folder: Path, hook: Collector, *, windows: int) -> list[Decided]:
    async with sidecar(config_of(folder, webhook_url=hook.url, lateness_s=0.0)) as side:
        await with_history(side, USUAL, days=15)
        await tell(side, 0, windows)
        page_count = sum(
            side.metrics.value("sentinel_pages_total", reason=reason) for reason in PageReason
        )
        # What is not sent yet when it stops is sent after the next start, and there is none here.
        await side.sees(lambda: len(hook.distinct()) == page_count, "every page")
        return side.decided


async def told_with_a_break(
    folder: Path, hook: Collector, *, break_at: int, windows: int, killed: bool, page_count: int
) -> list[Decided]:
    clock = ManualClock()
    config = config_of(folder, webhook_url=hook.url, lateness_s=0.0)
    async with sidecar(config, clock=clock) as side:
        await with_history(side, USUAL, days=15)
        await tell(side, 0, break_at)
        decided = side.decided
        if killed:
            await side.recorded()
            await crash(side.app)
    async with sidecar(config, clock=clock) as side:
        await tell(side, break_at, windows)
        await side.sees(lambda: len(hook.distinct()) >= page_count, "every page")
        return decided + side.decided


async def test_verdicts_after_a_restart_are_those_without_one(tmp_path: Path) -> None:
    with collector() as hook:
        whole = await told_at_once(tmp_path / "whole", hook, windows=40)
        assert whole[-1].scored_count == 3
    for break_at, killed in ((14, False), (23, True), (36, True)):
        with collector() as other:
            broken = await told_with_a_break(
                tmp_path / f"broken-{break_at}",
                other,
                break_at=break_at,
                windows=40,
                killed=killed,
                page_count=len(hook.distinct()),
            )
            assert [one.start_ns for one in broken] == [one.start_ns for one in whole]
            assert broken == whole
            for name in ("labels", "annotations", "startsAt", "endsAt"):
                assert [one[name] for one in other.distinct()] == [
                    one[name] for one in hook.distinct()
                ]


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_an_open_incident_stays_the_same_one(tmp_path: Path, *, killed: bool) -> None:
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(3, Calls(failed_count=40))
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (before,) = await side.incidents()
            await side.recorded()
            if killed:
                await crash(side.app)
        await clock.advance(25.0 - clock.now_ns() / 1e9 % 10)
        async with sidecar(config, clock=clock) as side:
            (after,) = await side.incidents()
            assert after == before
            side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
            await side.windows(2, Calls(failed_count=40))
            await side.windows(windows_until_resolved() + 1, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (resolved,) = await side.incidents()
            assert (resolved["id"], resolved["state"]) == (before["id"], "resolved")
            assert resolved["traces"]
        assert [one["annotations"]["reason"] for one in hook.distinct()] == ["opened", "resolved"]
        assert len({str(one["labels"]) for one in hook.distinct()}) == 1


async def test_an_incident_whose_windows_are_too_old_to_decide_again_still_resolves(
    tmp_path: Path,
) -> None:
    """Killed just after the page and down for longer than windows are decided again: it once paged for ever."""
    clock = ManualClock()
    with collector() as hook:
        config = replace(
            config_of(tmp_path, webhook_url=hook.url),
            evaluate=EvaluateConfig(resume_max=Duration(30.0)),
        )
        async with sidecar(config, clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(3, Calls(failed_count=40))
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (before,) = await side.incidents()
            await side.recorded()
            await crash(side.app)
        await clock.advance(605.0 - clock.now_ns() / 1e9 % 10)
        async with sidecar(config, clock=clock) as side:
            side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
            await side.windows(windows_until_resolved() + 2, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (resolved,) = await side.incidents()
            assert (resolved["id"], resolved["state"]) == (before["id"], "resolved")
        assert [one["annotations"]["reason"] for one in hook.distinct()] == ["opened", "resolved"]
        assert len({str(one["labels"]) for one in hook.distinct()}) == 1


async def test_a_window_decided_before_a_restart_is_not_decided_again(tmp_path: Path) -> None:
    """The clock went back by half a minute over a restart: those windows are in the store, decided and paged for."""
    clock = ManualClock()
    config = config_of(tmp_path)
    async with sidecar(config, clock=clock) as side:
        await side.windows(6, Calls())
        last_ns = side.decided[-1].start_ns
    clock.step_wall(-30.0)
    async with sidecar(config, clock=clock) as side:
        await side.send(Calls())
        await clock.advance(10.0)

        def late_count() -> float:
            return side.metrics.value("sentinel_samples_late_total", signal="traces")

        await side.sees(lambda: late_count() == 50, "the calls to be late")
        assert side.app.evaluate.latest is None
        side.next_ns = last_ns + 10 * 10**9
        await side.window(Calls())
        assert [one.start_ns for one in side.decided] == [side.next_ns - 10 * 10**9]
