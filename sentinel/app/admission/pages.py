"""Pages for the kubelet and for Prometheus; they carry names and numbers of the injector, and nothing of any pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from aiohttp import hdrs, web

from sentinel.admission.config import ProbesConfig
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.http.exposition import own_metrics
from sentinel.runtime.http.server import ConnectionLimitsConfig, Handler, HttpServer, Route
from sentinel.runtime.listen import ListenConfig


class Probes:
    """The component `admission.probes`.

    Args:
        config: where it listens.
        waiting_for: why no review should be sent here, by component; empty when one may.
        surroundings: clock, metrics and log.
    """

    def __init__(
        self,
        config: ProbesConfig,
        waiting_for: Callable[[], Mapping[str, Health]],
        surroundings: Surroundings,
    ) -> None:
        self._waiting_for = waiting_for
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._server = HttpServer(
            self.name,
            ListenConfig(address=config.address, port=config.port),
            ConnectionLimitsConfig(),
            [
                _page("/-/healthy", self._healthy),
                _page("/-/ready", self._ready),
                _page("/metrics", self._metrics),
            ],
            surroundings,
            render_error=render_error,
            listen_setting="probes",
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.probes"

    @property
    def url(self) -> str:
        """Where the pages are, from this machine."""
        return self._server.url

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._server.start()
        self._health.ok(f"Serving on {self.url}")

    async def stop(self) -> None:
        """Answer what was begun, and close; idempotent."""
        await self._server.stop()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _healthy(self, _request: web.BaseRequest) -> web.Response:
        return _reply({"status": "ok"})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        missing = self._waiting_for()
        content = {
            "ready": not missing,
            # No sentence: it may quote an error, and nobody shows a token here.
            "waiting_for": {name: health.status.value for name, health in missing.items()},
        }
        return _reply(content, status=503 if missing else 200)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        return own_metrics(self._surroundings.metrics, request)


def render_error(_request: web.BaseRequest, status: int, message: str) -> web.Response:
    """The one form that errors have."""
    return _reply({"error": {"status": status, "message": message}}, status=status)


def _reply(content: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")


def _page(path: str, handler: Handler) -> Route:
    return Route(
        path=path,
        methods={hdrs.METH_GET: handler, hdrs.METH_HEAD: handler},
        scope=AccessScope.OPEN,
    )
