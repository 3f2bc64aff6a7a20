"""Goal: in a cluster of three each stream and consumer counts once, whoever leads, and whatever happens to a server.

Method: three real servers of the wheel for the module; leaders step down, are held, killed, wiped and started again, while polls go on.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Iterator

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, StreamConfig

from sentinel.core.series import Aggregator
from sentinel.core.series.settings import SeriesSettings
from sentinel.errors import UnreachableError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import Duration
from tests.support.nats_scene import (
    NatsScene,
    advisories_of,
    config_of,
    eventually,
    nats_client,
    nats_scene,
)
from tests.support.nats_servers import NatsProcess, nats_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SHORT = ClientConfig(connect_timeout=Duration(0.7), timeout=Duration(1.5))
MESSAGES = 60


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsProcess, ...]]:
    with nats_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


async def _stream(client: Client, name: str, *, messages: int = MESSAGES) -> None:
    """A stream of three replicas with a consumer that has taken ten and acknowledged none."""
    js = client.jetstream(timeout=10)
    subject = name.lower()

    async def made() -> bool:
        try:
            await js.add_stream(StreamConfig(name=name, subjects=[subject], num_replicas=3))
            own = ConsumerConfig(durable_name="poster", ack_wait=600, max_ack_pending=100)
            await js.add_consumer(name, own)
        except (NatsError, TimeoutError):
            return False
        return True

    await eventually(made, what="the stream to be made", timeout_s=60)
    for _ in range(messages):
        await js.publish(subject, b"x" * 50)
    reader = await js.pull_subscribe_bind("poster", stream=name)
    assert len(await reader.fetch(10, timeout=10)) == 10


async def _leaders(client: Client, name: str) -> tuple[str, str]:
    """Who leads the stream and its consumer, as they themselves say; while one is elected nobody answers."""
    js = client.jetstream(timeout=1)
    found: list[str] = []

    async def told() -> bool:
        found.clear()
        try:
            groups = (
                (await js.stream_info(name)).cluster,
                (await js.consumer_info(name, "poster")).cluster,
            )
        except (NatsError, TimeoutError):
            return False
        found.extend(one.leader for one in groups if one is not None and one.leader)
        return len(found) == 2

    await eventually(told, what="the leaders to be known", timeout_s=60)
    return found[0], found[1]


async def _step_down(client: Client, what: str) -> None:
    answer = await client.request(f"$JS.API.{what}", b"", timeout=10)
    assert json.loads(answer.data).get("success"), answer.data


async def test_each_thing_counts_once_whether_asked_together_or_apart(
    servers: tuple[NatsProcess, ...],
) -> None:
    apart = [config_of(one, name=f"apart-{one.name}", service="apart") for one in servers]
    together = config_of(*servers, name="main", service="together")
    async with nats_client(servers[0]) as client, nats_scene(together, *apart) as scene:
        await _stream(client, "ONCE")
        found = await scene.values()
        assert found["ONCE", "stream_message_count"] == MESSAGES
        assert found["ONCE/poster", "consumer_pending_count"] == MESSAGES - 10
        assert found["ONCE/poster", "consumer_ack_pending_count"] == 10
        assert found["ONCE", "stream_replicas_offline_count"] == 0
        assert found["ONCE", "stream_leaderless_count"] == 0
        assert found["cluster", "cluster_server_count"] == 3
        assert found["cluster", "cluster_unanswered_count"] == 0
        assert {f"server/{one.name}" for one in servers} <= {route for route, _ in found}
        assert scene.missing() == []
        start_ns = -(-scene.clock.now_ns() // 10**10) * 10**10
        aggregator = Aggregator(SeriesSettings(), start_ns=start_ns)
        await scene.clock.advance((start_ns - scene.clock.now_ns()) / 1e9)
        for one in servers:
            await scene.poll(f"apart-{one.name}", after_s=1.0)
            aggregator.add(scene.batches[-1], scene.clock.now_ns())
        (window,) = aggregator.close(start_ns + 16 * 10**9).windows
        told = {
            (key.route, key.signal): value
            for key, value in zip(window.keys, window.value.tolist(), strict=True)
        }
        assert told["ONCE", "stream_message_count"] == MESSAGES
        assert told["ONCE/poster", "consumer_backlog_count"] == MESSAGES
        reach = await scene.scraping.reach()
        assert {one.status for one in reach} == {ReachStatus.OK}


async def test_a_leader_that_steps_down_between_polls_doubles_nothing_and_is_told(
    servers: tuple[NatsProcess, ...],
) -> None:
    config = config_of(*servers, advisories=advisories_of(*servers))
    async with nats_client(servers[1]) as client, nats_scene(config) as scene:
        await _stream(client, "STEP")
        await scene.poll("main-advisories")
        await scene.values()
        before = await _leaders(client, "STEP")
        await _step_down(client, "STREAM.LEADER.STEPDOWN.STEP")
        await _step_down(client, "CONSUMER.LEADER.STEPDOWN.STEP.poster")

        async def moved() -> bool:
            now = await _leaders(client, "STEP")
            return all(one != old for one, old in zip(now, before, strict=True))

        await eventually(moved, what="other leaders")
        js = client.jetstream(timeout=10)
        for _ in range(7):
            await js.publish("step", b"x")

        async def whole() -> bool:
            # The new leader of the consumer learns of what is pending a moment after its election.
            found = await scene.values()
            return found.get(("STEP/poster", "consumer_backlog_count")) == MESSAGES + 7

        await eventually(whole, what="the new leader's figures")
        found = await scene.values()
        assert found["STEP", "stream_message_count"] == MESSAGES + 7
        assert found["STEP", "stream_stored_per_s"] == 7
        assert found["STEP", "stream_leader_changes_per_s"] == 1
        assert found["STEP/poster", "consumer_leader_changes_per_s"] == 1
        assert found["STEP/poster", "consumer_delivered_per_s"] == 0

        async def told() -> bool:
            await scene.poll("main-advisories", after_s=2.0)
            events = {line.event for line in scene.lines() if "STEP" in line.body}
            return {"nats.stream_leader_elected", "nats.consumer_leader_elected"} <= events

        await eventually(told, what="the advisories")
        words = [line.body for line in scene.lines() if line.event == "nats.leader_changed"]
        assert any(f"leads STEP now, and {before[0]} did before" in one for one in words)


class _Watch:
    """What must hold of every poll, whatever happens to a server: no doubling, no fall, no spike."""

    def __init__(self, stream: str, *, most: int) -> None:
        self.stream = stream
        self.most = most
        self.totals: dict[tuple[str, str], float] = {}
        self.poll_count = 0
        self.blind_count = 0

    async def poll(self, scene: NatsScene) -> dict[tuple[str, str], float]:
        """A poll that must end in time and be right in all it says."""
        try:
            found = await scene.values()
        except UnreachableError:
            self.blind_count += 1
            return {}
        self.poll_count += 1
        messages = found.get((self.stream, "stream_message_count"))
        backlog = found.get((f"{self.stream}/poster", "consumer_backlog_count"))
        # A new leader may lag for a moment; more than there is it never says.
        assert messages is None or messages <= self.most
        assert backlog is None or backlog <= self.most
        for key, value in found.items():
            if key[0].startswith(self.stream) and key[1].endswith("_per_s"):
                assert value >= self.totals.get(key, 0.0), key
                self.totals[key] = value
        assert self.totals.get((self.stream, "stream_stored_per_s"), 0.0) <= self.most
        assert self.totals.get((f"{self.stream}/poster", "consumer_delivered_per_s"), 0.0) <= 10
        return found


def _named(servers: tuple[NatsProcess, ...], name: str) -> NatsProcess:
    return next(one for one in servers if one.name == name)


async def _seen_again(watch: _Watch, scene: NatsScene) -> None:
    async def seen() -> bool:
        found = await watch.poll(scene)
        return found.get((f"{watch.stream}/poster", "consumer_backlog_count")) == MESSAGES

    await eventually(seen, what="the whole backlog to be seen again", timeout_s=60)


@pytest.mark.full
async def test_a_leader_that_is_held_costs_its_own_figures_alone(
    servers: tuple[NatsProcess, ...],
) -> None:
    async with nats_scene(config_of(*servers, client=SHORT)) as scene:
        async with nats_client(servers[0]) as client:
            await _stream(client, "HELD")
            leader = _named(servers, (await _leaders(client, "HELD"))[0])
        watch = _Watch("HELD", most=MESSAGES)
        await watch.poll(scene)
        leader.hold()
        try:
            found = await watch.poll(scene)
            others = {f"server/{one.name}" for one in servers if one is not leader}
            assert others <= {route for route, _ in found}
            assert f"server/{leader.name}" not in {route for route, _ in found}
            assert scene.missing()[0] == f"no answer from 127.0.0.1:{leader.monitor_port}"
            await _seen_again(watch, scene)
        finally:
            leader.go_on()
        await _seen_again(watch, scene)

        async def all_answer() -> bool:
            await watch.poll(scene)
            return not scene.missing()

        await eventually(all_answer, what="all servers to answer again")
        assert watch.blind_count == 0


@pytest.mark.full
async def test_leaders_killed_again_and_again_make_no_fall_and_no_spike(
    servers: tuple[NatsProcess, ...],
) -> None:
    config = config_of(*servers, client=SHORT, advisories=advisories_of(*servers))
    async with nats_scene(config) as scene:
        async with nats_client(servers[0]) as client:
            await _stream(client, "KILL")
        watch = _Watch("KILL", most=MESSAGES)
        await scene.poll("main-advisories")
        for _ in range(12):
            alive = next(one for one in servers if one.process is not None)
            async with nats_client(alive) as client:
                leader = _named(servers, (await _leaders(client, "KILL"))[0])
            leader.stop(signal.SIGKILL)
            for _ in range(3):
                await watch.poll(scene)
                await asyncio.sleep(0.3)
            leader.start()
            await _seen_again(watch, scene)
        assert watch.totals["KILL", "stream_leader_changes_per_s"] >= 3
        assert watch.blind_count == 0

        async def connected() -> bool:
            try:
                await scene.poll("main-advisories", after_s=2.0)
            except UnreachableError:
                return False
            return True

        await eventually(connected, what="the connection to be back")


@pytest.mark.full
async def test_a_lost_majority_leaves_no_leader_and_no_value(
    servers: tuple[NatsProcess, ...],
) -> None:
    async with nats_scene(config_of(*servers, client=SHORT)) as scene:
        async with nats_client(servers[0]) as client:
            await _stream(client, "MAJOR")
        watch = _Watch("MAJOR", most=MESSAGES)
        await watch.poll(scene)
        for one in servers[1:]:
            one.stop(signal.SIGKILL)
        try:

            async def leaderless() -> bool:
                # The one that is left may lead one of them, and takes some seconds to see that it is alone.
                found = await watch.poll(scene)
                return (
                    found.get(("MAJOR", "stream_leaderless_count")) == 1
                    and found.get(("MAJOR/poster", "consumer_leaderless_count")) == 1
                )

            await eventually(leaderless, what="no leader to be told", timeout_s=60)
            found = await watch.poll(scene)
            assert ("MAJOR", "stream_message_count") not in found
            assert ("MAJOR/poster", "consumer_backlog_count") not in found
            assert found["cluster", "cluster_unanswered_count"] == 2
        finally:
            for one in servers[1:]:
                one.start()
        await _seen_again(watch, scene)


@pytest.mark.full
async def test_a_server_that_comes_back_with_nothing_is_no_news_of_the_stream(
    servers: tuple[NatsProcess, ...],
) -> None:
    """Its store is wiped: until it has caught up it holds less than the others, and says so of itself."""
    async with nats_scene(config_of(*servers, client=SHORT)) as scene:
        async with nats_client(servers[0]) as client:
            await _stream(client, "WIPE")
            leader = _named(servers, (await _leaders(client, "WIPE"))[0])
        watch = _Watch("WIPE", most=MESSAGES)
        await watch.poll(scene)
        leader.stop(signal.SIGKILL)
        shutil.rmtree(leader.folder / "js")
        await watch.poll(scene)
        leader.start()
        await _seen_again(watch, scene)
        for _ in range(10):
            await watch.poll(scene)
            await asyncio.sleep(0.2)
        assert watch.totals["WIPE", "stream_stored_per_s"] == 0


@pytest.mark.full
async def test_a_cluster_that_restarts_whole_is_followed_through(
    servers: tuple[NatsProcess, ...],
) -> None:
    async with nats_scene(config_of(*servers, client=SHORT)) as scene:
        async with nats_client(servers[0]) as client:
            await _stream(client, "WHOLE")
        watch = _Watch("WHOLE", most=MESSAGES)
        await watch.poll(scene)
        for one in servers:
            one.stop()
        assert await watch.poll(scene) == {}
        for one in servers:
            one.start()
        await _seen_again(watch, scene)
        assert watch.blind_count == 1
        client = await nats.connect(servers[2].url)
        await client.close()
