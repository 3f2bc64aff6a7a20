"""Pages for probes: the process is up, and it is ready to work.

A failing upstream never makes the process unhealthy: restarting Sentinel does not mend Alertmanager.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from sentinel.runtime.component import Health
from sentinel.web.replies import json_reply
from sentinel.web.sources import StatusSource


class HealthPages:
    """`/-/healthy` and `/-/ready`.

    Args:
        source: where the state of the process is found.
        detailed: whether components are shown with their sentences; others than this machine are shown
            names and states only, because these pages need no token.
    """

    def __init__(self, source: StatusSource, *, detailed: bool) -> None:
        self._source = source
        self._detailed = detailed

    async def healthy(self, _request: web.BaseRequest) -> web.Response:
        """200 as long as the event loop answers."""
        return json_reply({"status": "ok"})

    async def ready(self, _request: web.BaseRequest) -> web.Response:
        """200 once state is loaded and receivers are up, else 503; both with the components' states."""
        status = self._source.status()
        content: dict[str, object] = {
            "ready": status.ready,
            "components": {
                name: describe_health(health, detailed=self._detailed)
                for name, health in sorted(status.components.items())
            },
        }
        if self._detailed:
            content["waiting_for"] = list(status.waiting_for)
        return json_reply(content, status=200 if status.ready else 503)


def describe_health(health: Health, *, detailed: bool) -> dict[str, str]:
    """A component's health for a reply."""
    described = {"status": health.status.value, "since": iso_time(health.since_ns)}
    if detailed:
        described["sentence"] = health.sentence
    return described


def iso_time(time_ns: int) -> str:
    """A time for people and programs, to the millisecond.

    >>> iso_time(1_790_000_000_123_000_000)
    '2026-09-21T14:13:20.123Z'
    """
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest_ns // 1_000_000:03d}Z"
