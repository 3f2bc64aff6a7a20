"""A running web component whose sources are plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sentinel.core.model import Incident
from sentinel.runtime.component import Health, HealthStatus, Surroundings
from sentinel.web import LatestVerdicts, Status, Told, WebConfig, WebListenConfig, WebServer
from tests.support.surroundings import make_surroundings


class Pages:
    """The sources; a test sets what they give."""

    def __init__(self) -> None:
        self.latest: LatestVerdicts | None = None
        self.beside = Told(calls={})
        self.found: list[Incident] = []
        self.ready = True
        self.pages_left_to_rules = False
        self.said: list[tuple[str, str, bool]] = []

    def latest_verdicts(self) -> LatestVerdicts | None:
        """What the test set."""
        return self.latest

    def told(self) -> Told:
        """What the test set."""
        return self.beside

    async def incidents(self, *, limit: int, open_only: bool) -> list[Incident]:
        """What the test set, up to the limit."""
        return self.found[:limit]

    async def accept(self, incident_id: str, *, by: str, accepted: bool) -> Incident | None:
        """The incident as said, at once."""
        self.said.append((incident_id, by, accepted))
        return next((one for one in self.found if one.incident_id == incident_id), None)

    def status(self) -> Status:
        """A process with one component."""
        health = Health(
            status=HealthStatus.DEGRADED, sentence="Queue is 90 % full", since_ns=10**9
        )
        return Status(
            version="1.2.3",
            mode="live",
            started_ns=1_790_000_000 * 10**9 - 90 * 10**9,
            ready=self.ready,
            waiting_for=() if self.ready else ("the store is opening",),
            components={"pipeline.ingest": health},
            watermark_ns=1_790_000_000 * 10**9,
            fit_version=4,
            pages_left_to_rules=self.pages_left_to_rules,
        )


@asynccontextmanager
async def serve_pages(
    pages: Pages, config: WebConfig | None = None, surroundings: Surroundings | None = None
) -> AsyncIterator[WebServer]:
    """Serve on a free port of loopback."""
    server = WebServer(
        config or WebConfig(listen=WebListenConfig(port=0)),
        surroundings or make_surroundings(),
        verdicts=pages,
        told=pages,
        incidents=pages,
        status=pages,
        words=pages,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
