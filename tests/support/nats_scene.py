"""A NATS scraper with a sink, a clock under a test's hand, and a client beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.client import Client

from sentinel.core.model import LogRecord, SampleBatch
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.component import Polled, Scraping, Target
from sentinel.runtime.settings import Duration
from sentinel.scrapers.nats.component import make_nats
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig, NatsConfig
from tests.support.clock import ManualClock
from tests.support.nats_answers import Told, told
from tests.support.nats_servers import NatsProcess
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

QUICK = ClientConfig(connect_timeout=Duration(2.0), timeout=Duration(4.0))


@dataclass(kw_only=True)
class NatsScene:
    """The scraper's targets, asked when a test says so."""

    scraping: Scraping
    surroundings: Surroundings
    sink: ListSink
    clock: ManualClock
    last: Polled | None = None
    batches: list[SampleBatch] = field(default_factory=list)

    @property
    def targets(self) -> tuple[Target, ...]:
        """As configured."""
        return self.scraping._targets

    async def poll(
        self, name: str = "main", *, after_s: float = 10.0
    ) -> dict[tuple[str, str], Told]:
        """Let time pass and ask one target once; its points by route and signal."""
        await self.clock.advance(after_s)
        (target,) = [one for one in self.targets if one.name == name]
        polled: Polled = await asyncio.wait_for(target.poll(self.clock.now_ns()), target.timeout_s)
        self.last = polled
        self.batches.append(polled.batch)
        numbers = told(polled.batch)
        found = {(one.scope.route, one.signal): one for one in numbers}
        assert len(found) == len(numbers), "a series was told of twice"
        return found

    async def values(
        self, name: str = "main", *, after_s: float = 10.0
    ) -> dict[tuple[str, str], float]:
        """As `poll`, the values alone."""
        return {key: one.value for key, one in (await self.poll(name, after_s=after_s)).items()}

    def missing(self) -> list[str]:
        """What the last poll said was missing."""
        assert self.last is not None
        return list(self.last.notes)

    def lines(self) -> list[LogRecord]:
        """All lines that came until now."""
        return [line for batch in self.batches for line in batch.logs]

    def error_count(self, stage: str, reason: str) -> float:
        """How often something failed so."""
        return self.surroundings.metrics.value(
            "sentinel_component_errors_total",
            component="scrapers.nats",
            stage=stage,
            reason=reason,
        )


@asynccontextmanager
async def nats_scene(*configs: NatsConfig) -> AsyncIterator[NatsScene]:
    """Targets that nobody asks but the test; their connections end with it."""
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    # Waits between attempts to connect are short in these tests, and pass by the real clock.
    waiting = Surroundings(
        clock=_WallOf(clock), metrics=surroundings.metrics, logger=surroundings.logger
    )
    sink = ListSink()
    scraping = make_nats(configs, Downstream(sink=sink), waiting)
    try:
        yield NatsScene(scraping=scraping, surroundings=surroundings, sink=sink, clock=clock)
    finally:
        await scraping.stop()


class _WallOf(SystemClock):
    """The manual clock's time, and real waits."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock.now_ns()


def config_of(*servers: NatsProcess, name: str = "main", **changed: Any) -> NatsConfig:
    """A target with these servers' monitoring ports."""
    return NatsConfig(
        **{
            "name": name,
            "urls": tuple(server.monitor_url for server in servers),
            "client": QUICK,
            **changed,
        }
    )


def advisories_of(*servers: NatsProcess, **changed: Any) -> NatsAdvisoriesConfig:
    """A connection to these servers."""
    return NatsAdvisoriesConfig(
        **{
            "urls": tuple(server.url for server in servers),
            "connect_timeout": Duration(3.0),
            "reconnect_max": Duration(0.5),
            **changed,
        }
    )


@asynccontextmanager
async def nats_client(server: NatsProcess, **options: Any) -> AsyncIterator[Client]:
    """A client of the test's own."""
    client = await nats.connect(server.url, connect_timeout=5, **options)
    try:
        yield client
    finally:
        await client.close()


async def eventually(true: Callable[[], Any], *, what: str, timeout_s: float = 30.0) -> None:
    """Wait by the real clock; `true` may be a coroutine function."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while True:
        found = true()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert loop.time() < deadline_s, f"waited in vain for {what}"
        await asyncio.sleep(0.1)
