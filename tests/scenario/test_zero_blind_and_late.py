"""Goal: zero pages within two windows, a dead exporter is one ticket, late data another, and each return is quiet.

Method: the whole program with history behind it; sources fall silent, stop, or send too late; it is restarted meanwhile.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sentinel.core.model import SeriesKey
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.otlp_messages import traces
from tests.support.whole_app import Calls, Sidecar, config_of, sidecar, usual_of, with_history

pytestmark = pytest.mark.timeout(120)

SERVICES = ("ledger", "payouts", "reports")
CALM = Calls(count=60)


def calls_of(service: str, number: int, *, times: float = 1.0) -> Calls:
    """About sixty calls, and never quite the same."""
    return Calls(service=service, count=round((58 + number * 7 % 5) * times))


class Scene:
    """A program with some services, restarted when asked."""

    def __init__(self, folder: Path, hook: Any, stack: AsyncExitStack) -> None:
        self._config = config_of(folder, webhook_url=hook.url)
        self._hook, self._stack, self._clock = hook, stack, ManualClock()
        self.side: Sidecar
        self._number = 0

    async def begin(self, services: tuple[str, ...]) -> None:
        """Start with history of these services, and some usual minutes of them."""
        self.side = await self._stack.enter_async_context(sidecar(self._config, clock=self._clock))
        usual: dict[SeriesKey, float] = {}
        for service in services:
            calls = Calls(service=service, count=60)
            usual |= usual_of(calls, stage="edge", route="POST /v1/transfers")
        await with_history(self.side, usual, days=15)
        await self.windows(34, *services)

    async def restart(self) -> None:
        """Stop in order and start again on the same store."""
        await self._stack.aclose()
        self.side = await self._stack.enter_async_context(sidecar(self._config, clock=self._clock))
        self.side.next_ns = -(-self._clock.now_ns() // 10**10) * 10**10

    async def windows(self, count: int, *services: str, times: float = 1.0) -> None:
        """So many windows in which these services have calls, so many times the usual."""
        for _ in range(count):
            self._number += 1
            await self.side.window(
                *(calls_of(service, self._number, times=times) for service in services)
            )

    async def late(self, count: int, service: str, *, behind_s: int = 30) -> None:
        """Windows whose calls come so much later that their own windows are closed."""
        for _ in range(count):
            self._number += 1
            calls = calls_of(service, self._number)
            spans = calls.spans(self.side.next_ns - behind_s * 10**9)
            await self.side.send()
            assert (
                await self.side.post(
                    "/v1/traces", traces(*spans, service=service).SerializeToString()
                )
                == 200
            )
            await self.side.close()

    def told(self) -> list[tuple[str, str, str]]:
        """Alert, service and reason of each message."""
        return [
            (
                one["labels"]["alertname"],
                one["labels"]["service"],
                one["annotations"]["reason"],
            )
            for one in self._hook.distinct()
        ]

    async def sees(self, *told: tuple[str, str, str]) -> None:
        """Exactly these messages, in this order."""
        await self.side.sees(lambda: len(self.told()) >= len(told), f"{told}, seen {self.told()}")
        assert self.told() == list(told)


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_a_stop_pages_within_two_windows_and_its_backlog_does_not(
    tmp_path: Path, *, restarted: bool
) -> None:
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(("ledger",))
            await scene.side.window(service="ledger")
            await scene.side.window(service="ledger")
            await scene.sees(("SentinelAnomaly", "ledger", "opened"))
            for _ in range(12):
                await scene.side.window(service="ledger")
            if restarted:
                await scene.restart()
                for _ in range(3):
                    await scene.side.window(service="ledger")
            # Three times the usual, until what could not come has come.
            await scene.windows(8, "ledger", times=3.0)
            await scene.windows(8, "ledger")
            await scene.sees(
                ("SentinelAnomaly", "ledger", "opened"), ("SentinelAnomaly", "ledger", "resolved")
            )


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_a_dead_exporter_is_one_ticket_and_resolves_nothing(
    tmp_path: Path, *, restarted: bool
) -> None:
    """Of a service with an open page, and of one without; the others go on."""
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(("ledger", "payouts"))
            for number in range(3):
                bad = Calls(service="ledger", count=58 + number, failed_count=50)
                await scene.side.window(bad, calls_of("payouts", number))
            await scene.side.sees(lambda: len(scene.told()) > 1, "the page, and the guard")
            pages = scene.told()
            assert pages[0][1:] == ("ledger", "opened")
            await scene.windows(10, "payouts")
            if restarted:
                await scene.restart()
            await scene.windows(10, "payouts")
            blind = ("SentinelBlind", "ledger", "opened")
            await scene.sees(*pages, blind)
            await scene.windows(8, "ledger", "payouts")
            over = ("SentinelBlind", "ledger", "resolved")
            await scene.side.sees(lambda: over in scene.told(), "the ticket's end")
            assert all(one[1] == "ledger" for one in scene.told())
            assert [one for one in scene.told() if one[2] == "opened"] == [pages[0], blind]


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_when_nothing_is_heard_of_any_source_there_is_one_ticket(
    tmp_path: Path, *, restarted: bool
) -> None:
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(SERVICES)
            await scene.windows(9)
            if restarted:
                await scene.restart()
            await scene.windows(9)
            opened = ("SentinelBlind", "(all sources)", "opened")
            await scene.sees(opened)
            # One comes back some windows before the others.
            await scene.windows(2, SERVICES[0])
            await scene.windows(10, *SERVICES)
            await scene.sees(opened, ("SentinelBlind", "(all sources)", "resolved"))


async def test_those_that_stay_away_are_told_when_others_are_back(tmp_path: Path) -> None:
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(SERVICES)
            await scene.windows(9)
            await scene.windows(10, *SERVICES[:2])
            await scene.sees(
                ("SentinelBlind", "(all sources)", "opened"),
                ("SentinelBlind", "(all sources)", "resolved"),
                ("SentinelBlind", "reports", "opened"),
            )


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_late_data_is_neither_zero_nor_blind(tmp_path: Path, *, restarted: bool) -> None:
    """A source whose every call came late counted as heard without a call: "calls stopped", a page."""
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(("ledger",))
            await scene.late(9, "ledger")
            _, found = await scene.side.get("/api/v1/series")
            assert {one["reason"] for one in found["series"]} == {"late"}
            if restarted:
                await scene.restart()
            await scene.late(6, "ledger")
            opened = ("SentinelLate", "ledger", "opened")
            await scene.sees(opened)
            (ticket,) = hook.distinct()
            assert ticket["labels"]["severity"] == "ticket"
            assert (
                "its data comes after its windows were closed" in ticket["annotations"]["summary"]
            )
            health = scene.side.app.evaluate.health()
            assert "ledger" in health.sentence
            assert "too late" in health.sentence
            await scene.windows(10, "ledger")
            await scene.sees(opened, ("SentinelLate", "ledger", "resolved"))


async def test_one_of_two_instances_that_dies_is_a_fall_and_no_ticket(tmp_path: Path) -> None:
    """Instances of a service are not told apart: half of its calls are gone, and that is what is told."""
    with collector() as hook:
        async with AsyncExitStack() as stack:
            scene = Scene(tmp_path, hook, stack)
            await scene.begin(("ledger",))
            await scene.windows(6, "ledger", times=0.3)
            await scene.sees(("SentinelAnomaly", "ledger", "opened"))
            (page,) = hook.distinct()
            assert "fewer calls than usual" in page["annotations"]["summary"]
