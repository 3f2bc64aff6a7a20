"""What the ledger says of itself, overheard on its way to the sidecar: metrics pass through here, every few seconds and unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

EXPORT_S = 5.0
_READS = "ledger.reads"
_EDGE = "ledger-edge"
_BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class Tap:
    """Listens on loopback for OTLP over HTTP.

    Attributes:
        onward: where it goes on to; nowhere when empty, and then traces and logs may come here too, to be dropped.
    """

    onward: str = ""
    url: str = ""
    lost: int = 0
    _reads: dict[tuple[str, tuple[tuple[str, str], ...]], int] = field(default_factory=dict)
    _told_s: dict[str, float] = field(default_factory=dict)
    _runner: web.AppRunner | None = None
    _client: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Listen; `url` is then the endpoint of all signals."""
        app = web.Application(client_max_size=_BYTES_MAX)
        app.router.add_post("/v1/metrics", self._metrics)
        app.router.add_post("/v1/{other}", self._drop)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._client is not None:
            await self._client.close()

    def reads(self) -> Counter[tuple[str, str]]:
        """Questions that databases have answered, by (source, reason), of all edges that there were."""
        found: Counter[tuple[str, str]] = Counter()
        for (_, attributes), count in self._reads.items():
            told = dict(attributes)
            found[told.get("ledger.read.source", ""), told.get("ledger.read.reason", "")] += count
        return found

    async def settled(self) -> None:
        """Wait until every edge that is there has told of itself once more; an edge that ended is not waited for."""
        asked_s = time.monotonic()
        deadline_s = asked_s + 2.5 * EXPORT_S
        while time.monotonic() < deadline_s:
            alive = [at for at in self._told_s.values() if at > asked_s - 2 * EXPORT_S]
            # What came right after the question may have been gathered before it.
            if alive and all(at > asked_s + 0.2 for at in alive):
                return
            await asyncio.sleep(0.1)

    async def _metrics(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._note(body)
        if self.onward and self._client is not None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                headers = {
                    name: request.headers[name]
                    for name in ("Content-Type", "Content-Encoding")
                    if name in request.headers
                }
                async with self._client.post(
                    f"{self.onward}/v1/metrics", data=body, headers=headers
                ) as answer:
                    said = await answer.read()
                    return web.Response(
                        status=answer.status, body=said, content_type="application/x-protobuf"
                    )
            self.lost += 1
        return web.Response(content_type="application/x-protobuf")

    async def _drop(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    def _note(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            told = _attributes(resource.resource.attributes)
            if told.get("service.name") != _EDGE:
                continue
            instance = told.get("service.instance.id", "")
            self._told_s[instance] = time.monotonic()
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == _READS:
                        for point in metric.sum.data_points:
                            key = tuple(sorted(_attributes(point.attributes).items()))
                            self._reads[instance, key] = point.as_int


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}
