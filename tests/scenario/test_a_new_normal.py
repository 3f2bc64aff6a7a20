"""Goal: a person's word ends an incident with the next window, is stored, and survives whatever comes; so does its age.

Method: the whole program with history behind it; the word goes in as the command sends it, and a process is killed after it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sentinel.app.sections import ScoringConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    crash,
    sidecar,
    until,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(90)

CALM = Calls(count=200)
LESS = Calls(count=90)
USUAL = usual_of(CALM, stage="edge", route="POST /v1/transfers")


async def calm(side: Sidecar, count: int, calls: int) -> None:
    """Windows about that many calls, and never quite the same."""
    for number in range(count):
        await side.window(Calls(count=calls - 2 + number * 7 % 5))


async def say(side: Sidecar, what: str, said: dict[str, str]) -> tuple[int, Any]:
    """What the sidecar answers, its next window closed meanwhile."""

    async def post() -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{side.web_url}/api/v1/incidents/{what}", json=said) as reply,
        ):
            return reply.status, await reply.json()

    answer = asyncio.create_task(post())
    # A word that came after the window would wait for one that never closes.
    await until(
        lambda: answer.done() or bool(side.app.evaluate._accepting._words), what="the word"
    )
    await calm(side, 1, LESS.count)
    return await answer


@pytest.mark.parametrize("ending", ["kept", "killed", "stopped"])
async def test_what_a_person_says_is_normal_stays_so(tmp_path: Path, ending: str) -> None:
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 50, CALM.count)
            await calm(side, 8, LESS.count)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (incident,) = await side.incidents()
            status, answer = await say(side, "include", {"id": incident["id"], "by": "alice"})
            assert status == 200
            assert answer["incident"]["accepted"]["by"] == "alice"
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (page,) = hook.distinct("resolved")
            assert "accepted as the new level by alice" in page["annotations"]["summary"]
            if ending == "killed":
                await crash(side.app)
        if ending != "kept":
            async with sidecar(config, clock=clock) as again:
                again.next_ns = -(-clock.now_ns() // 10**10) * 10**10
                await calm(again, 12, LESS.count)
                (incident,) = await again.incidents()
                assert (incident["state"], incident["resolution"]) == ("resolved", "accepted")
                assert incident["level"].startswith("20")
                status, answer = await say(again, "exclude", {"id": incident["id"], "by": "bob"})
                assert (status, answer["incident"]["accepted"]) == (200, None)
                status, answer = await say(again, "include", {"id": incident["id"], "by": "bob"})
                assert answer["incident"]["accepted"]["by"] == "bob"
        reasons = [one["annotations"]["reason"] for one in hook.distinct()]
        assert reasons[0] == "opened"
        assert set(reasons) == {"opened", "resolved"}
        assert len({one["annotations"]["incident"] for one in hook.distinct()}) == 1


async def test_what_has_lasted_is_adopted_and_said_so(tmp_path: Path) -> None:
    with collector() as hook:
        config = replace(
            config_of(tmp_path, webhook_url=hook.url),
            scoring=ScoringConfig(learning_freeze_max=Duration(300.0)),
        )
        async with sidecar(config) as side:
            await with_history(side, USUAL, days=15)
            await calm(side, 50, CALM.count)
            await calm(side, 32, LESS.count)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (page,) = hook.distinct("resolved")
            assert "adopted as the new level after 5 min: 20" in page["annotations"]["summary"]
            await calm(side, windows_until_resolved() + 6, LESS.count)
            await calm(side, 20, CALM.count)
            (incident,) = await side.incidents()
            assert incident["resolution"] == "adopted"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"id": "inc-none", "by": "alice"}, 404),
        ({"id": "inc-none"}, 400),
        ({"id": "inc-none", "by": " "}, 400),
        ({"id": "inc-none", "by": "a\nb"}, 400),
        ({"id": 3, "by": "alice"}, 400),
    ],
)
async def test_a_word_on_nothing_is_refused_and_says_why(
    tmp_path: Path, said: dict[str, Any], status: int
) -> None:
    async with (
        sidecar(config_of(tmp_path)) as side,
        aiohttp.ClientSession() as session,
        session.post(f"{side.web_url}/api/v1/incidents/include", json=said) as reply,
    ):
        assert reply.status == status
        assert (await reply.json())["error"]["message"]


async def test_a_form_of_a_page_elsewhere_is_refused(tmp_path: Path) -> None:
    async with (
        sidecar(config_of(tmp_path)) as side,
        aiohttp.ClientSession() as session,
        session.post(
            f"{side.web_url}/api/v1/incidents/include",
            data=json.dumps({"id": "inc-none", "by": "alice"}),
            headers={"Content-Type": "text/plain"},
        ) as reply,
    ):
        assert reply.status == 415
