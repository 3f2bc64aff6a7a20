"""Goal: a NATS that comes back without its store is given its streams and consumers again, and the ledger goes on by itself.

Method: edge, poster, analytics and webhooks' reader on a real server, which is stopped, robbed of its folder and started on the
same port.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats
import pytest

from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.servers import start_nats
from sentinel.reference.ledger.operate.servers.nats import NatsServer
from sentinel.reference.ledger.operate.single import connect_queue
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats import CONSUMER, Queue, stream_name
from sentinel.reference.ledger.wire.postgres import Database
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    open_ledger,
    open_site,
    recorded,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOPS_COHORT = new_cohort("shop")
# A reconnect is tried each second.
RESTORED_S_MAX = 15.0


class OwnNats:
    """A server of this test's own, which can lose its store."""

    def __init__(self, folder: Path, server: NatsServer) -> None:
        self.folder, self.server = folder, server

    async def lose(self) -> None:
        """Stop it, delete what it has kept, and start it where it was."""
        port, monitor = (
            int(url.rpartition(":")[2]) for url in (self.server.url, self.server.monitor_url)
        )
        await self.server.stop(timeout_s=5.0)
        shutil.rmtree(self.folder)
        self.server = await start_nats(self.folder, port=port, monitor_port=monitor)


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[OwnNats]:
    server = OwnNats(tmp_path / "nats", await start_nats(tmp_path / "nats"))
    try:
        yield server
    finally:
        await server.server.stop(timeout_s=5.0)


@asynccontextmanager
async def reader(site: LedgerSite, durable: str, stack: AsyncExitStack) -> AsyncIterator[Queue]:
    """A connection as a process makes it, bound to the events."""
    queue = await connect_queue(site.nats, site.edge.telemetry)
    stack.push_async_callback(queue.close)
    await queue.subscribe_events(durable)
    yield queue


async def healthy(site: LedgerSite) -> tuple[int, str]:
    """What the edge says of itself."""
    async with site.http.get("/healthz") as response:
        return response.status, str((await response.json()).get("detail", ""))


async def accepted(site: LedgerSite, key: str) -> str:
    """The status URL of a transfer, as soon as one is taken."""
    ends_s = time.monotonic() + RESTORED_S_MAX
    while time.monotonic() < ends_s:
        status, body = await site.transfer(key, "external:bank", "alice", 5)
        if status == 202:
            return str(body["status_url"])
        await asyncio.sleep(0.1)
    msg = "no transfer was taken"
    raise AssertionError(msg)


async def test_a_store_that_is_lost_is_made_again_and_everybody_goes_on(
    ledger_servers: LedgerServers, own_nats: OwnNats
) -> None:
    """Streams and consumers were made when a process started: each write was answered 503, for ever, and health was ok."""
    config = NatsConfig(url=own_nats.server.url, ack_wait_s=2.0)
    stop, stack = asyncio.Event(), AsyncExitStack()
    async with open_site(config, await open_ledger(ledger_servers)) as site, stack:
        await site.start_poster()
        counts = await stack.enter_async_context(reader(site, "analytics", stack))
        tells = await stack.enter_async_context(reader(site, "webhooks", stack))
        database = await Database.connect(site.postgres, application_name="analytics")
        stack.push_async_callback(database.close)
        analytics = Analytics(
            AnalyticsConfig(fetch_wait_s=0.2, back_off_s=0.1),
            queue=counts,
            database=database,
            telemetry=recorded("ledger-analytics").telemetry,
        )
        counting = asyncio.create_task(analytics.run(stop))
        first = await accepted(site, "k1")
        assert (await site.settled(first))["state"] == "posted"
        assert len(await tells.fetch_events(count_max=10, wait_s=5.0)) == 1

        await own_nats.lose()
        began_s = time.monotonic()
        second = await accepted(site, "k2")
        assert (await site.settled(second))["state"] == "posted"
        assert time.monotonic() - began_s < RESTORED_S_MAX
        assert (await healthy(site))[0] == 200

        async def told() -> list[str]:
            return await fetched(tells)

        await eventually("webhooks are told", told, bool)

        async def counted() -> int:
            rows = await site.rows("select count(*) as count from ledger.analytics_seen")
            return int(rows[0]["count"])

        await eventually("both are counted", counted, lambda count: count >= 2)
        stop.set()
        await counting
        assert Event.NATS_RESTORED in site.edge.events()
        assert sum(site.edge.values("ledger.queue.restored").values()) >= 1


async def fetched(queue: Queue) -> list[str]:
    """Subjects of the next events, none while the server is away."""
    try:
        return [one.subject for one in await queue.fetch_events(count_max=10, wait_s=0.5)]
    except UnavailableError:
        return []


async def test_health_says_so_while_there_is_nothing_to_publish_to(
    ledger_servers: LedgerServers, own_nats: OwnNats
) -> None:
    """The name of a stream is taken by one of other subjects: there is nothing that the edge could make."""
    config = NatsConfig(url=own_nats.server.url)
    async with open_site(config, await open_ledger(ledger_servers)) as site:
        assert (await healthy(site))[0] == 200
        client = await nats.connect(own_nats.server.url)
        js = client.jetstream()
        name = stream_name(SHOPS_COHORT)
        await js.delete_stream(name)
        await js.add_stream(name="OTHER", subjects=[f"ledger.c{SHOPS_COHORT}.>"], no_ack=True)
        # Its subjects overlap: a stream of the ledger's cannot be made beside it.
        await js.update_stream(name="OTHER", subjects=[f"ledger.c{SHOPS_COHORT}.transfers.x"])
        assert (await site.transfer("k1", "external:bank", "alice", 5))[0] == 503
        status, detail = await healthy(site)
        assert (status, detail) == (503, "NATS has no streams to publish to.")
        await js.delete_stream("OTHER")
        await accepted(site, "k1")
        await eventually("well again", lambda: healthy(site), lambda said: said[0] == 200)
        await client.close()


async def test_a_consumer_that_was_deleted_is_made_again(
    ledger_servers: LedgerServers, own_nats: OwnNats
) -> None:
    config = NatsConfig(url=own_nats.server.url)
    async with open_site(config, await open_ledger(ledger_servers)) as site:
        await site.start_poster()
        client = await nats.connect(own_nats.server.url)
        await client.jetstream().delete_consumer(stream_name(SHOPS_COHORT), CONSUMER)
        assert (await site.settled(await accepted(site, "k1")))["state"] == "posted"
        await client.close()
