"""A Kong's status API, as far as its metrics go: counts what it is told of, and shows a page as the prometheus plugin does."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

KONG_BOUNDS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
BOUNDS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)


class KongStatus:
    """What a Kong would say of itself.

    Attributes:
        url: of its page.
        status_code, latency: switches of the plugin.
        status: what the page is answered with.
        asked: headers of each question.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status_code = True
        self.latency = True
        self.status = 200
        self.asked: list[dict[str, str]] = []
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._requests: Counter[tuple[str, int, str, str]] = Counter()
        self._times: dict[tuple[str, str], list[float]] = {}

    def serve(
        self,
        count: int,
        *,
        code: int = 200,
        source: str = "service",
        route: str = "orders-v1",
        consumer: str = "",
        request_ms: float = 45.0,
    ) -> None:
        """So many requests were answered."""
        self._requests[route, code, source, consumer] += count
        for name, taken_ms in (
            ("kong_kong_latency_ms", 3.0),
            ("kong_request_latency_ms", request_ms),
        ):
            self._times.setdefault((name, route), []).extend([taken_ms] * count)
        if source == "service":
            times = self._times.setdefault(("kong_upstream_latency_ms", route), [])
            times.extend([request_ms - 4.0] * count)

    def restart(self) -> None:
        """All counters begin anew."""
        self._requests.clear()
        self._times.clear()

    async def listen(self) -> None:
        """Answer, on the port it had before."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        host, self._port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{self._port}/metrics"

    async def stop(self) -> None:
        """Refuse connections, and end the ones there are; idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        if self.status != 200:
            return web.Response(status=self.status)
        return web.Response(text=self.page(), content_type="text/plain", charset="UTF-8")

    def page(self) -> str:
        """The page; a bucket that nothing fell into yet is not on it, and neither is a counter."""
        lines = [
            "# HELP kong_datastore_reachable Datastore reachable from Kong, 0 is unreachable",
            "# TYPE kong_datastore_reachable gauge",
            "kong_datastore_reachable 1",
        ]
        if self.status_code and self._requests:
            lines.append("# TYPE kong_http_requests_total counter")
            for (route, code, source, consumer), count in self._requests.items():
                lines.append(
                    f'kong_http_requests_total{{service="orders",route="{route}",code="{code}",source="{source}",'
                    f'workspace="default",consumer="{consumer}"}} {count}'
                )
        described: set[str] = set()
        for (name, route), taken in self._times.items() if self.latency else ():
            if name not in described:
                described.add(name)
                lines.append(f"# TYPE {name} histogram")
            labels = f'service="orders",route="{route}",workspace="default"'
            bounds = KONG_BOUNDS if name == "kong_kong_latency_ms" else BOUNDS
            lines += [
                f'{name}_bucket{{{labels},le="{bound}"}} {below}'
                for bound in bounds
                if (below := sum(each <= bound for each in taken))
            ]
            lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {len(taken)}')
            lines.append(f"{name}_count{{{labels}}} {len(taken)}")
            lines.append(f"{name}_sum{{{labels}}} {sum(taken)}")
        return "\n".join([*lines, ""])


@asynccontextmanager
async def kong_status(kong: KongStatus | None = None) -> AsyncIterator[KongStatus]:
    """A Kong on a free port of loopback."""
    kong = kong or KongStatus()
    await kong.listen()
    try:
        yield kong
    finally:
        await kong.stop()
