"""A proxy in front of Alertmanager that keeps when each alert was answered 200, and the receiver behind it.

The sidecar posts to `/sentinel/...`, Prometheus to `/prometheus/...`; Alertmanager notifies `/notified`.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

import aiohttp
from aiohttp import web

from benchmarks.pages.told import Firing, Side, side_of

_TIMEOUT_S: Final = 10.0
_NOTICES_MAX: Final = 100_000


class Recorder:
    """Listens on a port of loopback; `alertmanager_url` is set once there is one."""

    def __init__(self) -> None:
        self.url = ""
        self.alertmanager_url = ""
        self.firing = Firing()
        # When a person was told, by whom: notifications with a page in them that had not been told of.
        self.notices: list[tuple[float, Side]] = []
        self._notified: set[tuple[str, str]] = set()
        self._http: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/notified", self._take_notice)
        app.router.add_route("*", "/{sender:sentinel|prometheus}/{rest:.*}", self._hand_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _hand_on(self, request: web.Request) -> web.Response:
        sender, rest = request.match_info["sender"], request.match_info["rest"]
        body = await request.read()
        assert self._http is not None
        query = f"?{request.query_string}" if request.query_string else ""
        try:
            async with self._http.request(
                request.method,
                f"{self.alertmanager_url}/{rest}{query}",
                data=body or None,
                headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
            ) as answer:
                answered = await answer.read()
                status, kind = answer.status, answer.content_type
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=502)
        if request.method == "POST" and rest == "api/v2/alerts" and status == 200:
            self.firing.take(sender, json.loads(body), at_s=time.time())
        return web.Response(status=status, body=answered, content_type=kind)

    async def _take_notice(self, request: web.Request) -> web.Response:
        payload: dict[str, Any] = await request.json()
        fresh: set[Side] = set()
        for alert in payload["alerts"]:
            labels = alert["labels"]
            mark = (alert["fingerprint"], alert["startsAt"])
            if alert["status"] != "firing" or labels.get("severity") != "page":
                continue
            if mark not in self._notified:
                self._notified.add(mark)
                is_own = labels.get("sentinel_anomaly") == "true"
                fresh.add(side_of("sentinel" if is_own else "prometheus", labels))
        if len(self.notices) < _NOTICES_MAX:
            self.notices += [(time.time(), side) for side in fresh]
        return web.Response(status=200)
