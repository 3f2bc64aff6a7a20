"""Goal: a consumer that falls behind pages a person with what NATS says of it; one that catches up pages nobody.

Method: the whole program on a manual clock with two weeks of calm behind it; a real NATS server, whose consumer works, stops and comes back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig

from sentinel.app.config import ScrapersConfig, SentinelConfig
from sentinel.core.model import SeriesKey, Severity
from tests.support.alertmanager_server import collector
from tests.support.nats_scene import advisories_of, eventually, nats_client
from tests.support.nats_scene import config_of as target_of
from tests.support.nats_servers import NatsProcess, debian_binary, nats_server
from tests.support.places import early_name
from tests.support.whole_app import (
    Sidecar,
    config_of,
    sidecar,
    until,
    windows_until_resolved,
    with_history,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TARGET = early_name("scrapers.nats")
USUAL = {
    SeriesKey("nats", "queue", "ORDERS/poster", signal): value
    for signal, value in (
        ("consumer_backlog_count", 5.0),
        ("consumer_pending_count", 5.0),
        ("consumer_waiting_count", 1.0),
    )
}


class Application:
    """What uses the queue."""

    def __init__(self, client: Client, context: JetStreamContext) -> None:
        self.client = client
        self.context = context
        self.reader: Any = None
        self.asked = 1

    async def make(self, **consumer: Any) -> None:
        """The stream and its consumer."""
        await self.context.add_stream(StreamConfig(name="ORDERS", subjects=["orders"]))
        own = ConsumerConfig(ack_wait=1, **consumer)
        self.reader = await self.context.pull_subscribe(
            "orders", durable="poster", stream="ORDERS", config=own
        )

    async def publish(self, count: int) -> None:
        """So many messages come."""
        for _ in range(count):
            await self.context.publish("orders", b"x")

    async def work(self) -> None:
        """All that waits is done, save five."""
        info = await self.reader.consumer_info()
        left = info.num_pending - 5
        while left > 0:
            for message in await self.reader.fetch(min(left, 100), timeout=5):
                await message.ack_sync()
                left -= 1


async def window(side: Sidecar, application: Application) -> None:
    """A window in which the server was asked once, and its answer came before it closed.

    By its name it is asked two seconds after a window's beginning, which is while the one before is waited for to close.
    """
    await side.send()
    application.asked += 1
    await until(lambda: polls(side) >= application.asked, what="the server to be asked")
    await side.close()


def polls(side: Sidecar) -> float:
    """How often the server was asked and answered."""
    labels = {"scraper": "scrapers.nats", "target": TARGET, "result": "ok"}
    return side.metrics.value("sentinel_scrapes_total", **labels)


@asynccontextmanager
async def running(
    folder: Path, config: SentinelConfig, server: NatsProcess
) -> AsyncIterator[tuple[Sidecar, Application]]:
    watched = replace(
        config,
        scrapers=ScrapersConfig(
            nats=(target_of(server, name=TARGET, advisories=advisories_of(server)),)
        ),
        incidents=replace(config.incidents, gauge_severity=Severity.PAGE),
    )
    async with nats_client(server) as client, sidecar(watched) as side:
        # The clock must not move before the first answer: the next question waits by it from then on.
        await until(lambda: polls(side) > 0, what="the first answer")
        yield side, Application(client, client.jetstream(timeout=10))


async def test_a_consumer_that_falls_behind_pages_and_one_that_catches_up_does_not(
    tmp_path: Path,
) -> None:
    with (
        nats_server(tmp_path / "nats", binary=debian_binary()) as server,
        collector() as hook,
    ):
        config = config_of(tmp_path, webhook_url=hook.url)
        async with running(tmp_path, config, server) as (side, application):
            await application.make()
            await with_history(side, USUAL, days=15, calls_a_window=1)
            await application.publish(5)
            for _ in range(10):
                await application.publish(20)
                await application.work()
                await window(side, application)
            assert hook.distinct() == []
            for _ in range(5):
                await application.publish(100)
                await window(side, application)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            page = hook.distinct()[0]
            assert page["labels"]["service"] == "nats"
            assert page["labels"]["severity"] == "page"
            (incident,) = await side.incidents()
            told = {one["signal"]: one for one in incident["members"]}
            assert told["consumer_backlog_count"]["route"] == "ORDERS/poster"
            assert told["consumer_backlog_count"]["expected"] == pytest.approx(5, abs=3)
            # What was left is worked off: that is no news, and the incident ends.
            for _ in range(windows_until_resolved() + 2):
                await application.publish(5)
                await application.work()
                await window(side, application)
            await side.sees(lambda: len(hook.distinct()) >= 2, "the end of the incident")
            (incident,) = await side.incidents()
            assert incident["state"] == "resolved"
            assert {one["status"] for one in hook.distinct()} == {"firing", "resolved"}


@pytest.mark.full
async def test_a_message_that_is_given_up_stands_on_the_page_as_a_line(tmp_path: Path) -> None:
    with (
        nats_server(tmp_path / "nats", binary=debian_binary()) as server,
        collector() as hook,
    ):
        config = config_of(tmp_path, webhook_url=hook.url)
        async with running(tmp_path, config, server) as (side, application):
            await application.make(max_deliver=1)
            await with_history(side, USUAL, days=15, calls_a_window=1)
            await application.publish(5)
            for _ in range(5):
                await application.publish(5)
                await application.work()
                await window(side, application)
            # A message that its reader chokes on: taken, and never acknowledged.
            (poison,) = await application.reader.fetch(1, timeout=5)
            number = poison.metadata.sequence.stream
            labels = {"kind": "max_deliveries"}

            async def given_up() -> bool:
                with suppress(TimeoutError):
                    await application.reader.fetch(1, timeout=0.2)
                return side.metrics.value("sentinel_nats_advisories_total", **labels) >= 1

            await eventually(given_up, what="the message to be given up")
            for _ in range(5):
                await application.publish(200)
                await window(side, application)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            lines = [one for page in hook.distinct() for one in page["annotations"].values()]
            assert any(f"message {number} is given up after 1 deliveries" in one for one in lines)
