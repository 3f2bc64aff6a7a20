"""`/`: what there is to see here, a line a page."""

from __future__ import annotations

from aiohttp import web

from sentinel import __version__

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


async def index(_request: web.BaseRequest) -> web.Response:
    """The list as text: whoever opens the address finds where to go on."""
    width = max(map(len, PAGES))
    lines = [f"{path:<{width}}  {what}" for path, what in PAGES.items()]
    text = "\n".join(
        [f"Sentinel {__version__}", "", *lines, "", "On a terminal: sentinel incidents --help", ""]
    )
    return web.Response(text=text, content_type="text/plain")
