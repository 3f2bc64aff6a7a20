"""Where the demo's pages arrive: a webhook on loopback that speaks Alertmanager's payload."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAlert:
    """One alert of a received payload."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str


class PageInbox:
    """A receiver of pages; repeated deliveries of the same page are handed out once."""

    def __init__(self) -> None:
        self._alerts: asyncio.Queue[ReceivedAlert] = asyncio.Queue(maxsize=1000)  # noqa: TID251  # bounded, and refuses
        self._seen: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on an ephemeral loopback port."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post("/page", self._receive)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/page"

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def next(self, *, timeout_s: float) -> ReceivedAlert | None:
        """The next alert, or None when none came in time."""
        try:
            return await asyncio.wait_for(self._alerts.get(), timeout_s)
        except TimeoutError:
            return None

    async def _receive(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        payload = await request.json()
        if not key or key not in self._seen:
            for alert in payload["alerts"]:
                received = ReceivedAlert(
                    status=alert["status"],
                    labels=alert["labels"],
                    annotations=alert["annotations"],
                    starts_at=alert["startsAt"],
                    ends_at=alert["endsAt"],
                )
                try:
                    self._alerts.put_nowait(received)
                except asyncio.QueueFull:
                    return web.Response(status=503, headers={"Retry-After": "5"})
            if key and len(self._seen) < 10_000:
                self._seen.add(key)
        return web.Response(status=200)
