"""Goal: on a cluster of NATS nothing that was accepted is lost when its leader goes, and the mode of durability is in force.

Method: `sentinel-ledger up --nats-nodes 3 --durability machine` as a person runs it; what is in force is asked of the servers, one of
them is killed under load, and the fault `leader-election` is held.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.operate.faults import FaultConfig, run_fault
from sentinel.reference.ledger.operate.state import RunState, read_state, write_state
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig, read_url
from sentinel.reference.ledger.wire.durability import check_database, check_queue, syncs_always
from sentinel.reference.ledger.wire.nats import CONSUMER, DEAD_STREAM, STREAMS, Queue, operator
from sentinel.reference.ledger.wire.streams import leader_of
from tests.support.ledger_run import Up, end_up, eventually, start_up
from tests.support.nats_servers import debian_binary, nats_server
from tests.support.otlp_collector import OtlpCollector

# A cluster of three servers beside the whole ledger: what else runs on two cores waits for it.
pytestmark = [
    pytest.mark.full,
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(
        tmp_path_factory.mktemp("cluster"),
        collector,
        *("--nats-nodes", "3", "--durability", "machine", "--no-replica"),
        ready_s=150,
    )
    try:
        await running.posted("the-first")
        yield running
    finally:
        await end_up(running)
        await collector.stop()


def nats_of(up: Up, **more: Any) -> NatsConfig:
    return NatsConfig(url=read_state(up.state_file).nats_url, **more)


async def replicas_of(up: Up) -> set[int]:
    async with operator(nats_of(up), name="test") as (_, stream):
        return {(await stream.stream_info(name)).config.num_replicas or 1 for name in STREAMS}


async def leaders(up: Up) -> list[str | None]:
    """Who leads each stream; nobody while nobody does, or while the server that was asked is being killed."""
    found: dict[str, str | None] = dict.fromkeys(STREAMS)
    with suppress(UnavailableError):
        async with operator(nats_of(up), name="test") as (client, _):
            for name in STREAMS:
                found[name] = await leader_of(client, name)
    return list(found.values())


async def all_current(up: Up) -> bool:
    """Whether each stream is kept by three servers of which none is behind."""
    with suppress(UnavailableError):
        async with operator(nats_of(up), name="test") as (_, stream):
            clusters = [(await stream.stream_info(name)).cluster for name in STREAMS]
        others = [(one.replicas if one else None) or [] for one in clusters]
        return all(
            len(some) == 2 and all(one.current and not one.offline for one in some)
            for some in others
        )
    return False


@asynccontextmanager
async def asking(up: Up, prefix: str) -> AsyncIterator[list[str]]:
    """Ask for transfers while the block runs, each by its key again until it is accepted; the URLs of those that were."""
    accepted: list[str] = []

    async def ask() -> None:
        number = 0
        while True:
            status, answer = await up.transfer(f"{prefix}-{number}")
            if status == 202:
                accepted.append(str(answer["status_url"]))
                number += 1
            else:
                assert status == 503, answer
            await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield accepted
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def all_posted(up: Up, urls: list[str]) -> None:
    for url in urls:
        await eventually(
            f"{url} posted",
            partial(up.read, url),
            lambda answer: answer[1].get("state") == "posted",
        )


async def test_the_mode_is_told_and_in_force(up: Up) -> None:
    state = read_state(up.state_file)
    assert (state.durability, state.stream_replicas) == ("machine", 3)
    assert (up.ready["durability"], up.ready["stream_replicas"]) == ("machine", 3)
    async with up.http.get("/healthz") as response:
        assert await response.json() == {"status": "ok", "durability": "machine"}
    assert len(state.nats_monitor_urls) == 3
    assert state.nats_monitor_url == state.nats_monitor_urls[0]
    for url in state.nats_monitor_urls:
        assert await syncs_always(url)
    assert await replicas_of(up) == {3}
    # As the user who commits.
    url = read_url(Path(state.burst_file).with_name("poster.postgres.url"))
    async with postgres.session(PostgresConfig(url=url), application_name="test") as session:
        shown = [
            await session.fetchval(f"show {name}") for name in ("fsync", "synchronous_commit")
        ]
    assert shown == ["on", "on"]


async def test_a_database_that_loses_commits_is_refused_by_its_own_word(up: Up) -> None:
    url = read_url(Path(up.ready["postgres_url_file"]))
    await check_database(Durability.MACHINE, PostgresConfig(url=url))
    careless = PostgresConfig(url=f"{url}?synchronous_commit=off")
    await check_database(Durability.PROCESS, careless)
    with pytest.raises(LedgerError, match="PostgreSQL has synchronous_commit=off"):
        await check_database(Durability.MACHINE, careless)


async def test_a_nats_that_answers_before_its_disk_is_refused_by_its_own_word(
    up: Up, tmp_path: Path
) -> None:
    await check_queue(Durability.MACHINE, read_state(up.state_file).nats_monitor_urls)
    # Debian's version cannot be told to do otherwise.
    with (
        nats_server(tmp_path, binary=debian_binary()) as server,
        pytest.raises(LedgerError, match="sync_interval: always"),
    ):
        await check_queue(Durability.MACHINE, [server.monitor_url])


async def test_a_stream_that_is_there_gets_the_replicas_that_are_asked_for(up: Up) -> None:
    async def count() -> int | None:
        async with operator(nats_of(up), name="test") as (_, stream):
            return (await stream.stream_info(DEAD_STREAM)).config.num_replicas

    async with operator(nats_of(up), name="test") as (_, stream):
        config = (await stream.stream_info(DEAD_STREAM)).config
        await stream.update_stream(config.evolve(num_replicas=1))
    assert await count() == 1
    for wanted, found in ((1, 1), (3, 3), (1, 3)):
        queue = await Queue.connect(
            nats_of(up, stream_replicas_count=wanted, publish_timeout_s=10.0),
            name="test",
            on_change=lambda *_: None,
        )
        await queue.close()
        assert await count() == found


async def test_a_server_that_is_killed_is_started_again_and_nothing_accepted_is_lost(
    up: Up,
) -> None:
    [leader, *_] = await eventually("leaders", lambda: leaders(up), lambda seen: None not in seen)
    pid = read_state(up.state_file).pids[leader]
    async with asking(up, "killed") as urls:
        await eventually("transfers", lambda: len(urls), lambda count: count > 5)
        os.kill(pid, signal.SIGKILL)
        await eventually(
            "the server again",
            lambda: read_state(up.state_file).pids[leader],
            lambda now: now != pid,
        )
        await eventually("all current", lambda: all_current(up), bool)
    assert len(urls) > 10
    await all_posted(up, urls)


async def test_elections_lose_nothing_and_the_server_comes_back(up: Up, tmp_path: Path) -> None:
    before = read_state(up.state_file).pids
    async with (
        up.broken(tmp_path / "record", "leader-election", "--seconds", "100") as fault,
        asking(up, "elected") as urls,
    ):
        start = json.loads((tmp_path / "record").read_text().splitlines()[0])
        node = start["parameters"]["node"]
        # It is away, stays away, and the others go on without it.
        first = await eventually(
            "others lead", lambda: leaders(up), lambda seen: not {None, node} & {*seen}
        )
        await eventually(
            "another election",
            lambda: leaders(up),
            lambda seen: None not in seen and seen != first,
        )
        assert not Path(f"/proc/{before[node]}").exists()
        assert read_state(up.state_file).pids[node] == before[node]
    assert [one["event"] for one in fault.record] == ["fault_start", "fault_end"]
    assert {one["signal"] for one in start["expected"]} >= {"stream_leader_changes_per_s"}
    await eventually("all current", lambda: all_current(up), bool)
    assert read_state(up.state_file).pids[node] != before[node]
    assert len(urls) > 10
    await all_posted(up, urls)


async def test_a_server_comes_back_though_whoever_kept_it_away_was_killed(
    up: Up, tmp_path: Path
) -> None:
    before = read_state(up.state_file).pids
    began = time.monotonic()
    async with up.broken(tmp_path / "record", "leader-election", "--seconds", "8") as fault:
        fault.process.kill()
        node = json.loads((tmp_path / "record").read_text())["parameters"]["node"]
        pid = await eventually(
            "the server again",
            lambda: read_state(up.state_file).pids[node],
            lambda now: now != before[node],
        )
    assert time.monotonic() - began > 5
    assert Path(f"/proc/{pid}").exists()
    await eventually("all current", lambda: all_current(up), bool)
    # The next command finds the note and has nothing left to undo.
    async with up.broken(tmp_path / "errors", "errors", "--seconds", "5"):
        assert not Path(up.ready["burst_file"]).with_name("fault-leader-election.json").exists()


async def test_the_consumer_is_where_its_stream_is(up: Up) -> None:
    async with operator(nats_of(up), name="test") as (_, stream):
        infos = [await stream.consumer_info(name, CONSUMER) for name in STREAMS]
    assert all(len((one.cluster.replicas if one.cluster else None) or []) == 2 for one in infos)


async def test_one_server_elects_nobody_and_the_fault_says_so(tmp_path: Path) -> None:
    """On the state of a run with one server, which is all that the fault looks at before it refuses."""
    one = RunState(
        edge_url="",
        nats_url="nats://127.0.0.1:1",
        nats_monitor_url="",
        postgres_url_file="",
        burst_file=str(tmp_path / "burst.json"),
        pids={"nats": 1},
    )
    write_state(tmp_path / "state", one)
    config = FaultConfig(fault="leader-election", state_file=tmp_path / "state", seconds=1)
    with pytest.raises(LedgerError, match="--nats-nodes 3"):
        await run_fault(config, asyncio.Event())
