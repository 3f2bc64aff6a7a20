"""The ledger's OTLP metrics as the page that Prometheus would have of them.

A team has these names from Prometheus' own OTLP receiver or from a collector's exporter. Debian's Prometheus is too old for
the former, so this stands in: names, units and labels by OpenTelemetry's rules for Prometheus, `job` and `instance` from
`service.name` and `service.instance.id`, and what has not been told of for five minutes is gone.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

_FORGET_S: Final = 300.0
_UNITS: Final = {"s": "seconds", "By": "bytes", "1": "ratio", "ms": "milliseconds"}

Labels = tuple[tuple[str, str], ...]


class OtlpPage:
    """Takes OTLP/HTTP on `/v1/*`, gives `/metrics`; `url` is known after `start`."""

    def __init__(self) -> None:
        self.url = ""
        self._values: dict[tuple[str, Labels], tuple[float, float]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{signal}", self._take)
        app.router.add_get("/metrics", self._give)
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

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.match_info["signal"] == "metrics":
            self.take(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        return web.Response(content_type="application/x-protobuf")

    def take(self, body: bytes) -> None:
        """Keep the last value of every point of an export request."""
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            of = _attributes(resource.resource.attributes)
            base = {
                "job": of.get("service_name", ""),
                "instance": of.get("service_instance_id", ""),
            }
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for name, labels, value in _samples(metric):
                        key = (name, tuple(sorted({**base, **labels}.items())))
                        self._values[key] = (value, time.monotonic())

    async def _give(self, request: web.Request) -> web.Response:
        oldest = time.monotonic() - _FORGET_S
        self._values = {key: one for key, one in self._values.items() if one[1] >= oldest}
        lines = [
            f"{name}{{{','.join(f'{label}={_quoted(text)}' for label, text in labels)}}} {value!r}\n"
            for (name, labels), (value, _) in sorted(self._values.items())
        ]
        return web.Response(text="".join(lines))


@contextmanager
def otlp_page() -> Iterator[str]:
    """The address of one that runs in a thread of its own."""
    loop, page = asyncio.new_event_loop(), OtlpPage()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(page.start(), loop).result(timeout=30)
        yield page.url
    finally:
        asyncio.run_coroutine_threadsafe(page.stop(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


def prometheus_name(name: str, unit: str, *, is_counter: bool) -> str:
    """A metric's name in Prometheus.

    >>> prometheus_name("http.server.request.duration", "s", is_counter=False)
    'http_server_request_duration_seconds'
    >>> prometheus_name("ledger.transfers.posted", "{transfer}", is_counter=True)
    'ledger_transfers_posted_total'
    """
    parts = [_identifier(name)]
    if unit in _UNITS:
        parts.append(_UNITS[unit])
    if is_counter:
        parts.append("total")
    return "_".join(parts)


def _samples(metric: Metric) -> list[tuple[str, dict[str, str], float]]:
    found: list[tuple[str, dict[str, str], float]] = []
    if metric.HasField("histogram"):
        name = prometheus_name(metric.name, metric.unit, is_counter=False)
        for point in metric.histogram.data_points:
            labels = _attributes(point.attributes)
            below = 0
            bounds = [*(f"{bound:g}" for bound in point.explicit_bounds), "+Inf"]
            for bound, count in zip(bounds, point.bucket_counts, strict=True):
                below += count
                found.append((f"{name}_bucket", {**labels, "le": bound}, float(below)))
            found.append((f"{name}_count", labels, float(point.count)))
            found.append((f"{name}_sum", labels, float(point.sum)))
        return found
    is_counter = metric.HasField("sum") and metric.sum.is_monotonic
    points: Any = metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points
    name = prometheus_name(metric.name, metric.unit, is_counter=is_counter)
    for point in points:
        value = point.as_double if point.HasField("as_double") else float(point.as_int)
        found.append((name, _attributes(point.attributes), value))
    return found


def _attributes(pairs: Any) -> dict[str, str]:
    return {_identifier(pair.key): _text(pair) for pair in pairs}


def _text(pair: KeyValue) -> str:
    which = pair.value.WhichOneof("value")
    return "" if which is None else str(getattr(pair.value, which))


def _identifier(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
