"""Goal: whatever comes from a monitoring port that is ill, its target ends in time, says so, and the healthy servers' figures go on.

Method: one real server and one that answers as a test says: errors, garbage, pages of something else, a body that never ends or that
drips, a redirect, silence; and JetStream's own corners, domains and queue groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from sentinel.errors import SentinelError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import Duration
from tests.support.nats_scene import (
    advisories_of,
    config_of,
    eventually,
    nats_client,
    nats_scene,
)
from tests.support.nats_servers import NatsProcess, debian_binary, nats_server

pytestmark = pytest.mark.integration

QUICK = ClientConfig(connect_timeout=Duration(0.4), timeout=Duration(0.6))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with its length."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


ANSWERS = {
    "error": whole(b"oops", b"500 Internal Server Error"),
    "not found": whole(b"404", b"404 Not Found"),
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff\x16\x03\x01 not http at all\r\n\r\n",
    "another page": whole(b"<html>welcome</html>"),
    "json of others": whole(b'{"status": "up", "components": []}'),
    "nested": whole(b'{"a":' * 60_000 + b"1" + b"}" * 60_000),
    "cut off": HEAD + b'Content-Length: 5000\r\n\r\n{"server_id": "x"',
    "bomb": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + b"[" * 65536 + b"\r\n") * 100,
    "silence": b"",
}


@asynccontextmanager
async def ill_server(answer: bytes) -> AsyncIterator[str]:
    """Answers each request the same; silence and what is cut off are held open until the end."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for writer in held:
            writer.transport.abort()
        await listener.wait_closed()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_server(tmp_path_factory.mktemp("nats"), binary=debian_binary()) as running:
        yield running


@pytest.mark.parametrize(
    "fault",
    [
        fault
        if fault in ("error", "garbage", "silence")
        else pytest.param(fault, marks=pytest.mark.full)
        for fault in ANSWERS
    ],
)
async def test_a_port_that_is_ill_costs_its_own_figures(server: NatsProcess, fault: str) -> None:
    async with ill_server(ANSWERS[fault]) as url:
        both = config_of(server, urls=(server.monitor_url, url), client=QUICK)
        alone = config_of(server, name="alone", urls=(url,), client=QUICK)
        async with nats_scene(both, alone) as scene:
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            found = await scene.values()
            assert ("server/one", "server_connection_count") in found
            assert found["cluster", "cluster_unanswered_count"] == 1
            assert scene.missing() == [f"no answer from {url.removeprefix('http://')}"]
            with pytest.raises((SentinelError, TimeoutError)):
                await scene.poll("alone")
            reach = await scene.scraping.reach()
            assert [one.status for one in reach].count(ReachStatus.FAILING) == 2
            # Four questions in all, each within its own limit and a margin for a busy machine.
            assert loop.time() - started_s < 30
            assert ("server/one", "server_connection_count") in await scene.values()


async def test_a_jetstream_domain_is_watched_by_its_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("domain")
    config = f'jetstream {{ store_dir: "{folder / "js"}", domain: hub }}\n'
    with nats_server(folder, binary=debian_binary(), config=config) as hub:
        own = config_of(hub, domain="hub", service="hub", advisories=advisories_of(hub))
        other = config_of(
            hub, name="other", domain="leaf", service="leaf", advisories=advisories_of(hub)
        )
        async with nats_client(hub) as client, nats_scene(own, other) as scene:
            await scene.poll("main-advisories")
            await scene.poll("other-advisories")
            await client.jetstream(domain="hub").add_stream(name="S", subjects=["s"])

            async def told() -> bool:
                await scene.poll("main-advisories", after_s=2.0)
                return any(line.event == "nats.created" for line in scene.lines())

            await eventually(told, what="the advisory")
            before = len(scene.lines())
            await scene.poll("other-advisories", after_s=2.0)
            assert len(scene.lines()) == before
            assert ("S", "stream_message_count") in await scene.values()
            assert scene.missing() == []
            await scene.values("other")
            assert scene.missing() == ["the servers are of another JetStream domain than leaf"]


async def test_of_sidecars_in_one_queue_group_one_counts(server: NatsProcess) -> None:
    shared = advisories_of(server, queue_group="sentinel")
    async with (
        nats_client(server) as client,
        nats_scene(config_of(server, advisories=shared)) as one,
        nats_scene(config_of(server, advisories=shared)) as other,
    ):
        for scene in (one, other):
            await scene.poll("main-advisories")
        js = client.jetstream()
        for number in range(20):
            await js.add_stream(name=f"Q{number}", subjects=[f"q{number}"])

        def gained() -> list[int]:
            return [
                sum(line.event == "nats.created" for line in scene.lines())
                for scene in (one, other)
            ]

        async def all_told() -> bool:
            for scene in (one, other):
                await scene.poll("main-advisories", after_s=2.0)
            return sum(gained()) >= 20

        await eventually(all_told, what="the advisories")
        assert sum(gained()) == 20
        for number in range(20):
            await js.delete_stream(f"Q{number}")
