"""`/`: for a browser how everything is, on a terminal what there is to see here, a line a page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import hdrs, web

from sentinel import __version__
from sentinel.core.model import Incident
from sentinel.errors import SentinelError
from sentinel.ports import Clock
from sentinel.web.sources import IncidentSource, StatusSource, VerdictSource
from sentinel.web.status_page import INCIDENTS_MAX, POLICY, Seen, status_page

PAGES: dict[str, str] = {
    "/-/healthy": "200 while the process answers",
    "/-/ready": "200 once it takes telemetry, else 503",
    "/metrics": "metrics about Sentinel itself, for Prometheus",
    "/metrics/series": "value, expected, band, score of each series, for Prometheus",
    "/api/v1/series": "the same as JSON, strangest first",
    "/api/v1/incidents": "incidents, newest first; ?state=open for the open ones",
    "/api/v1/status": "version, mode, fit; how each part is, in a sentence",
}
"""Every page and what it shows, in the order of a first look."""

_INCIDENTS_TIMEOUT_S = 2.0


class IndexPage:
    """The page at the bare address.

    Args:
        verdicts, incidents, status, clock: what it shows.
        is_detailed: whether it may show telemetry text, which it does without a token where nothing here needs one.
    """

    def __init__(
        self,
        *,
        verdicts: VerdictSource,
        incidents: IncidentSource,
        status: StatusSource,
        clock: Clock,
        is_detailed: bool,
    ) -> None:
        self._verdicts = verdicts
        self._incidents = incidents
        self._status = status
        self._clock = clock
        self._is_detailed = is_detailed

    async def show(self, request: web.BaseRequest) -> web.Response:
        """HTML for who asks for it, as browsers do; else text."""
        if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
            return _as_text()
        page = status_page(
            Seen(
                status=self._status.status(),
                now_ns=self._clock.now_ns(),
                latest=self._verdicts.latest_verdicts(),
                incidents=await self._open_incidents() if self._is_detailed else None,
                pages=PAGES,
                is_detailed=self._is_detailed,
            )
        )
        headers = {"Content-Security-Policy": POLICY, hdrs.VARY: hdrs.ACCEPT}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def _open_incidents(self) -> Sequence[Incident] | None:
        """None when the store does not give them: a page on how things are must not fail with them."""
        try:
            async with asyncio.timeout(_INCIDENTS_TIMEOUT_S):
                return await self._incidents.incidents(limit=INCIDENTS_MAX + 1, open_only=True)
        except (SentinelError, OSError):
            return None


def _as_text() -> web.Response:
    width = max(map(len, PAGES))
    lines = [f"{path:<{width}}  {what}" for path, what in PAGES.items()]
    text = "\n".join(
        [f"Sentinel {__version__}", "", *lines, "", "On a terminal: sentinel incidents --help", ""]
    )
    return web.Response(text=text, content_type="text/plain", headers={hdrs.VARY: hdrs.ACCEPT})
