"""Delivery as a timeline: a component on an outbox that outlives it, under a manual clock, with scripted destinations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sentinel.core.model import Page
from sentinel.pipeline.deliver import Deliver, DeliverConfig
from sentinel.ports import SendResult
from sentinel.runtime.component import Surroundings
from sentinel.runtime.settings import Duration
from tests.support.clock import ManualClock
from tests.support.outbox import MemoryOutbox, ScriptedDestination
from tests.support.surroundings import make_surroundings

CONFIG = DeliverConfig(parked_for=Duration(600.0), settle=Duration(45.0))


class Scene:
    """A delivery component, its outbox, and time."""

    def __init__(
        self,
        *senders: ScriptedDestination,
        shadow: bool = False,
        config: DeliverConfig = CONFIG,
    ) -> None:
        self.config = config
        self.clock = ManualClock()
        self.surroundings: Surroundings = make_surroundings(self.clock)
        self.outbox = MemoryOutbox()
        self.senders = senders
        self.shadow = shadow
        self.deliver = self.component()

    def component(self) -> Deliver:
        """A fresh component on the same outbox."""
        return Deliver(
            self.config,
            self.outbox,
            self.senders,
            surroundings=self.surroundings,
            shadow=self.shadow,
        )

    def page(self, page: Page) -> None:
        """Store a page and say so."""
        self.outbox.store(page, now_ns=self.clock.now_ns())
        self.deliver.pages_stored([page])

    async def restart(self) -> None:
        """Stop, and start anew on the same outbox."""
        await self.deliver.stop()
        self.deliver = self.component()
        await self.deliver.start()
        await self.clock.advance(0)

    def metric(self, name: str, destination: str = "am", **labels: str) -> float:
        """A self-metric of a destination."""
        return self.surroundings.metrics.value(name, destination=destination, **labels)


@asynccontextmanager
async def scene(
    *senders: ScriptedDestination, shadow: bool = False, config: DeliverConfig = CONFIG
) -> AsyncIterator[Scene]:
    """A started one; stopped at the end, and its destinations with it."""
    running = Scene(*senders, shadow=shadow, config=config)
    await running.deliver.start()
    await running.clock.advance(0)
    try:
        yield running
    finally:
        await running.deliver.stop()
        assert all(sender.closed for sender in senders)


def alertmanager(name: str = "am", *, heartbeat: bool = False) -> ScriptedDestination:
    """A destination that forgets."""
    return ScriptedDestination(name, forgets=True, heartbeat=heartbeat)


def webhook(name: str = "hook") -> ScriptedDestination:
    """A destination that keeps."""
    return ScriptedDestination(name, forgets=False)


def down(_: Page) -> SendResult:
    """The answer of one that is down."""
    return SendResult.RETRY


def up(_: Page) -> SendResult:
    """The answer of one that is up."""
    return SendResult.DELIVERED
