"""Goal: `sentinel-ledger fault start --detach`, `stop` and `list` hold, end and tell of faults, whatever becomes of who holds them.

Method: the commands as processes of their own against one ledger as people run it; holders are killed, and another ledger is stopped
while a fault of it is held.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from sentinel.reference.ledger.operate.faults import FAULTS
from tests.support.ledger_run import Up, end_up, eventually, left_behind, start_up
from tests.support.otlp_collector import OtlpCollector

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(tmp_path_factory.mktemp("command"), collector)
    try:
        yield running
    finally:
        await end_up(running)
        await collector.stop()


async def now_held(up: Up) -> dict[str, Any]:
    code, told = await up.command("fault", "list", "-o", "json")
    assert code == 0
    # One line, of all.
    listed: Any = told[0]
    assert [one["fault"] for one in listed] == list(FAULTS)
    return {one["fault"]: one["held"] for one in listed if one["held"] is not None}


def poster(up: Up) -> psutil.Process:
    return psutil.Process(up.ready["pids"]["poster"])


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_detached_fault_is_listed_and_ended_by_stop(up: Up, tmp_path: Path) -> None:
    record = tmp_path / "truth.ndjson"
    code, [told] = await up.command(
        *("fault", "start", "stall", "--detach", "--seconds", "100", "--record", str(record))
    )
    assert code == 0
    assert told["event"] == "fault_start"
    assert poster(up).status() == psutil.STATUS_STOPPED
    held = await now_held(up)
    assert held.keys() == {"stall"}
    stall = held["stall"]
    assert stall["state"] == "held"
    assert stall["start_ns"] == told["start_ns"] <= stall["holding_ns"] < stall["until_ns"]
    assert psutil.pid_exists(stall["pid"])
    assert records(record) == [told]
    # It is somebody's already.
    assert (await up.command("fault", "start", "stall", "--seconds", "1"))[0] == 1

    code, [stopped] = await up.command("fault", "stop")
    assert code == 0
    assert stopped == {
        "event": "fault_stopped",
        "fault": "stall",
        "start_ns": told["start_ns"],
        "killed": False,
    }
    # It waited until it was undone and on record.
    assert poster(up).status() != psutil.STATUS_STOPPED
    start, end = records(record)
    assert end["event"] == "fault_end"
    assert end["start_ns"] == start["start_ns"] < end["end_ns"]
    assert await now_held(up) == {}
    await up.posted("after-the-stop")


async def test_what_a_killed_holder_left_is_told_and_stop_undoes_it(
    up: Up, tmp_path: Path
) -> None:
    record = tmp_path / "truth.ndjson"
    await up.command(
        *("fault", "start", "stall", "--detach", "--seconds", "100", "--record", str(record))
    )
    await up.command("fault", "start", "errors", "--detach", "--seconds", "100", "--ratio", "1")
    for one in (await now_held(up)).values():
        psutil.Process(one["pid"]).kill()
    held = await eventually(
        "holders that are gone",
        lambda: now_held(up),
        lambda held: {one["state"] for one in held.values()} == {"left behind"},
    )
    assert held.keys() == {"stall", "errors"}
    assert poster(up).status() == psutil.STATUS_STOPPED

    code, told = await up.command("fault", "stop", "stall")
    assert code == 0
    assert [one["event"] for one in told] == ["fault_end", "fault_stopped"]
    assert told[1]["killed"]
    assert poster(up).status() != psutil.STATUS_STOPPED
    end = records(record)[-1]
    assert (end["event"], end["killed"]) == ("fault_end", True)
    assert end["start_ns"] < end["last_held_ns"] < end["end_ns"]
    # Of the other nobody spoke.
    assert (await now_held(up)).keys() == {"errors"}
    assert (await up.command("fault", "stop"))[0] == 0
    assert await now_held(up) == {}
    await up.posted("after-two-kills")


async def test_what_is_not_held_is_said_to_be_so(up: Up) -> None:
    assert await up.command("fault", "stop", "lock") == (
        0,
        [{"event": "fault_not_held", "fault": "lock"}],
    )
    assert await up.command("fault", "stop") == (0, [])


async def test_a_detached_fault_that_is_refused_says_why(up: Up) -> None:
    """This run has no receiver of webhooks."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel.reference.ledger", "fault", "start", "webhook-errors"),
        *("--detach", "--seconds", "9", "--state", str(up.state_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    assert process.returncode == 1
    assert b"no receiver of webhooks" in complaint
    assert output == b""
    assert await now_held(up) == {}


@pytest.mark.full
async def test_a_fault_ends_with_the_run_that_it_broke(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    collector = OtlpCollector()
    await collector.start()
    up = await start_up(tmp_path_factory.mktemp("ending"), collector)
    try:
        await up.command("fault", "start", "errors", "--detach", "--seconds", "3600")
        [held] = (await now_held(up)).values()
    finally:
        assert await end_up(up) == 0
        await collector.stop()
    await eventually("its end", lambda: psutil.pid_exists(held["pid"]), lambda there: not there)
    assert left_behind(up.mark) == []
