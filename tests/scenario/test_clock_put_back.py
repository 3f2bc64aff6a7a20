"""Goal: a clock that ran ahead and was put back costs two minutes of judging, not the hours until it is there again.

Method: the whole program; the wall clock is stepped alone, so that waits go on; an outage follows and must page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.web.health import iso_time
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    sidecar,
    until,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(90)

SECOND_NS = 10**9
HOUR_S = 3600.0
BURST = Calls(failed_count=40)


async def step(side: Sidecar, seconds: float) -> None:
    """Step the wall clock, and go on with the first window that begins from there on."""
    side.clock.step_wall(seconds)
    await go_on(side)


async def go_on(side: Sidecar) -> None:
    side.next_ns = -(-side.clock.now_ns() // (10 * SECOND_NS)) * 10 * SECOND_NS


async def wait_out_a_step(side: Sidecar, seconds: float) -> None:
    """Let the clock confirm itself; sources send meanwhile.

    Each second is seen by the reduction, which may be busy deciding in a real thread: on a loaded machine the clock was
    through before it was looked at once, and nothing was confirmed.
    """
    for _ in range(round(seconds)):
        await side.clock.advance(1.0)
        await until(lambda: not side.app.ingest._wake.is_set(), what="the reduction's next look")
    await go_on(side)


def set_back_count(side: Sidecar) -> float:
    return side.metrics.value("sentinel_clock_set_back_total")


async def health_of(side: Sidecar, name: str) -> str:
    _, status = await side.get("/api/v1/status")
    return str(status["components"][name]["status"])


async def ahead_for_five_minutes(side: Sidecar) -> None:
    await side.windows(6, Calls())
    await step(side, HOUR_S)
    await wait_out_a_step(side, 31)
    await side.windows(27, Calls())


async def test_an_outage_three_minutes_after_the_clock_was_put_back_pages(tmp_path: Path) -> None:
    """All telemetry was late for an hour, and the outage in it was never seen."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await ahead_for_five_minutes(side)
            await step(side, -HOUR_S)
            await wait_out_a_step(side, 40)
            assert await health_of(side, "pipeline.ingest") == "failing"
            await wait_out_a_step(side, 25)
            assert set_back_count(side) == 1
            await side.windows(10, Calls())
            assert await health_of(side, "pipeline.ingest") == "ok"
            assert abs(side.metrics.value("sentinel_evaluation_lag_seconds")) < 30
            assert side.metrics.value("sentinel_windows_ahead_total") >= 27
            assert hook.distinct() == []
            outage_ns = side.next_ns
            await side.windows(3, BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (incident,) = await side.incidents()
            assert incident["state"] == "open"
            assert incident["opened"] == iso_time(outage_ns)
            await side.windows(windows_until_resolved() + 1, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_an_incident_that_is_open_across_it_pages_once_and_resolves(tmp_path: Path) -> None:
    """Opened by the clock that was ahead, it would have ended before it began, and held for an hour."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await ahead_for_five_minutes(side)
            await side.windows(3, BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            await step(side, -HOUR_S)
            await wait_out_a_step(side, 65)
            await side.windows(2, BURST)
            (incident,) = await side.incidents()
            assert incident["state"] == "open"
            assert incident["opened"] < iso_time(side.clock.now_ns())
            await side.windows(windows_until_resolved() + 1, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            first, last = hook.distinct()
            assert (first["status"], last["status"]) == ("firing", "resolved")
            assert first["labels"] == last["labels"]
            assert last["startsAt"] < last["endsAt"]


@pytest.mark.parametrize("put_back", ["while it is stopped", "before the restart"])
async def test_a_restart_across_it_goes_on_as_well(tmp_path: Path, put_back: str) -> None:
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await ahead_for_five_minutes(side)
            if put_back == "before the restart":
                await step(side, -HOUR_S)
                await wait_out_a_step(side, 65)
                await side.windows(2, Calls())
        if put_back == "while it is stopped":
            clock.step_wall(-HOUR_S)
        async with sidecar(config, clock=clock) as side:
            await go_on(side)
            if put_back == "while it is stopped":
                await wait_out_a_step(side, 65)
                assert set_back_count(side) == 1
            await side.windows(7, Calls())
            assert set_back_count(side) == (put_back == "while it is stopped")
            assert hook.distinct() == []
            await side.windows(3, BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            assert len(hook.distinct()) == 1


async def test_time_that_comes_to_the_stretch_again_replaces_it_window_by_window(
    tmp_path: Path,
) -> None:
    """What the wrong clock stored stays until then, and never stands over what was seen at the right time."""
    config = config_of(tmp_path)
    async with sidecar(config) as side:
        await side.windows(3, Calls())
        await step(side, 200.0)
        await wait_out_a_step(side, 31)
        await side.windows(4, Calls(count=10))
        stretch_ns = side.decided[-4].start_ns
        await step(side, -200.0)
        await wait_out_a_step(side, 65)
        while side.next_ns < stretch_ns:
            await side.window(Calls(count=20))
        await side.windows(2, Calls(count=30))
        assert set_back_count(side) == 1
        weights = await side.app.store.run(
            lambda: {
                block.start_ns + at * block.step_ns: float(block.weight[at, 0])
                for block in side.app.store.sync.windows(
                    step_ns=10 * SECOND_NS, start_ns=0, end_ns=2**62
                )
                for at in range(block.window_count)
            }
        )
        stretch = [weights[stretch_ns + number * 10 * SECOND_NS] for number in range(4)]
        assert stretch == [30.0, 30.0, 10.0, 10.0]
