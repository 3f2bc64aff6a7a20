"""Goal: several edges on one port are one edge to its tenants' limits and to whoever connects while one leaves; each tells of itself.

Method: listeners on one real port, of which one stops taking connections; and `sentinel-ledger up --edges 2` as a person runs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.edge.sharing import listen_beside, take_no_more
from tests.support.ledger_run import Up, end_up, eventually, start_up
from tests.support.otlp_collector import OtlpCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

_LIMITED = "limited"


async def test_whoever_connects_while_a_listener_leaves_is_given_to_another() -> None:
    loop = asyncio.get_running_loop()
    staying = listen_beside("127.0.0.1", 0, backlog=128)
    address = staying.getsockname()
    leaving = listen_beside("127.0.0.1", address[1], backlog=128)
    early = [socket.create_connection(address) for _ in range(16)]
    assert take_no_more([leaving])
    late = [socket.socket() for _ in range(32)]
    try:
        for one in late:
            one.settimeout(0)
        connecting = [asyncio.create_task(loop.sock_connect(one, address)) for one in late]
        at_once, waiting = await asyncio.wait(connecting, timeout=0.3)
        assert at_once  # given to the one that stays
        assert waiting  # and to the other, which lets them wait in place of refusing them
        before = accepted_of(leaving)  # what came before is there to be accepted
        leaving.close()
        await asyncio.wait_for(asyncio.gather(*connecting), 10)
        assert before + accepted_of(staying) == len(early) + len(late)
    finally:
        for one in (*early, *late, staying, leaving):
            one.close()


def accepted_of(listening: socket.socket) -> int:
    """Accept and close all that waits; how many there were."""
    listening.settimeout(0)
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_port_that_somebody_else_has_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UnavailableError, match="cannot listen on"),
    ):
        listen_beside("127.0.0.1", taken.getsockname()[1], backlog=1)


async def test_two_edges_keep_one_limit_and_one_port_while_either_leaves(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    up: Up | None = None
    try:
        up = await start_up(
            tmp_path,
            collector,
            *("--edges", "2", "--no-replica", "--tenant", f"{_LIMITED}=enterprise:1:30"),
        )
        pids = up.ready["pids"]
        assert pids["edge"] != pids["edge-2"]
        began = time.monotonic()
        answers = [await asked(up, _LIMITED) for _ in range(60)]
        passed = sum(status != 429 for status in answers)
        # A burst and what a second gives, not twice of it.
        assert 30 <= passed <= 31 + (time.monotonic() - began)

        instances = await eventually(
            "metrics of two edges",
            lambda: collector.instances.get("ledger-edge", set()),
            lambda seen: len(seen) == 2,
        )
        assert {int(one.rpartition("-")[2]) for one in instances} == {pids["edge"], pids["edge-2"]}

        seen: Counter[int] = Counter()
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as asking:
            for _ in range(2):
                asking.create_task(ask_on(up, seen, ended))
            for name in ("edge-2", "edge"):
                pid = state(up)["pids"][name]
                os.kill(pid, signal.SIGTERM)
                async with asyncio.timeout(
                    90
                ):  # a busy machine may be late with a process, which is then started once more
                    while state(up)["pids"][name] == pid:
                        await asyncio.sleep(0.1)
            ended.set()
        # Every connection was a new one: none was refused or reset.
        assert set(seen) == {200}
        assert state(up)["edge_url"] == up.ready["edge_url"]
    finally:
        if up is not None:
            await end_up(up)
        await collector.stop()


async def asked(up: Up, tenant: str) -> int:
    """The status of a read on a connection of its own."""
    async with (
        aiohttp.ClientSession(
            up.ready["edge_url"], connector=aiohttp.TCPConnector(force_close=True)
        ) as http,
        http.get("/v1/accounts/nobody/balance", headers={"X-Tenant": tenant}) as response,
    ):
        return response.status


async def ask_on(up: Up, seen: Counter[int], ended: asyncio.Event) -> None:
    while not ended.is_set():
        async with (
            aiohttp.ClientSession(
                up.ready["edge_url"], connector=aiohttp.TCPConnector(force_close=True)
            ) as http,
            http.get("/healthz") as response,
        ):
            seen[response.status] += 1
        await asyncio.sleep(0.01)


def state(up: Up) -> dict[str, dict[str, int]]:
    document: dict[str, dict[str, int]] = json.loads(up.state_file.read_text())
    return document
