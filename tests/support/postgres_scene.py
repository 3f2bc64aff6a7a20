"""A PostgreSQL server as a target under a manual clock: what one poll knows, looked up by route and signal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Surroundings
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.settings import FilePath
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.postgres.target import PostgresTarget
from tests.support.clock import ManualClock
from tests.support.postgres_server import ROLE_PASSWORD, PostgresServer
from tests.support.surroundings import make_surroundings


@dataclass(slots=True, kw_only=True)
class Scene:
    """A target and the hands that poll it."""

    target: PostgresTarget
    clock: ManualClock
    surroundings: Surroundings
    last: Polled | None = None

    async def poll(self, *, after_s: float = 10.0) -> dict[tuple[str, str], float]:
        """Let time pass and poll; the gauges by route and signal."""
        await self.clock.advance(after_s)
        self.last = await self.target.poll(self.clock.now_ns())
        return {
            (point.scope.route, point.signal): point.value for point in self.last.batch.numbers
        }

    async def polls(self, count: int) -> dict[tuple[str, str], float]:
        """Several polls, with a moment in between for what the server counts late; the last one's gauges."""
        found: dict[tuple[str, str], float] = {}
        for _ in range(count):
            found = await self.poll()
            await asyncio.sleep(0.02)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What the last poll lacked."""
        assert self.last is not None
        return self.last.notes

    def calls(self, route: str) -> tuple[int, int]:
        """Transactions of the last poll, succeeded and failed."""
        assert self.last is not None
        found = {
            point.error: int(point.count.sum())
            for point in self.last.batch.distributions
            if point.scope.route == route
        }
        return found[False], found[True]

    def asked(self, subject: str, result: str) -> float:
        """How often a question had a result."""
        return self.surroundings.metrics.value(
            "sentinel_postgres_queries_total",
            target=self.target.name,
            subject=subject,
            result=result,
        )


def config_for(server: PostgresServer, **more: Any) -> PostgresTargetConfig:
    """The server as its role would be configured."""
    file = server.password_file(server.folder, ROLE_PASSWORD)
    return PostgresTargetConfig(
        **{"port": server.port, "password_file": FilePath(str(file)), **more}
    )


@asynccontextmanager
async def scene(config: PostgresTargetConfig) -> AsyncIterator[Scene]:
    """A target that was not polled yet; its waits are a second at most."""
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    target = PostgresTarget(config, surroundings, backoff=Backoff(first_s=1.0, limit_s=1.0))
    try:
        yield Scene(target=target, clock=clock, surroundings=surroundings)
    finally:
        await target.close()
