"""A collector that keeps what OTLP/HTTP brings it, decoded with the published messages."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedSpan:
    """One span, as far as the tests look at it; `is_error` is the status."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    attributes: dict[str, Any]
    link_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedLog:
    """One log record."""

    service: str
    event: str
    body: str
    trace_id: str


@dataclass(slots=True)
class OtlpCollector:
    """Listens on loopback and collects."""

    spans: list[CollectedSpan] = field(default_factory=list)
    logs: list[CollectedLog] = field(default_factory=list)
    metrics: set[tuple[str, str]] = field(default_factory=set)
    instances: dict[str, set[str]] = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; `url` is then the endpoint to export to."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/traces", self._handler(self._traces))
        app.router.add_post("/v1/metrics", self._handler(self._metrics))
        app.router.add_post("/v1/logs", self._handler(self._logs))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(self, take: Callable[[bytes], None]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            # aiohttp undoes the compression when it is declared; the magic number tells.
            take(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            return web.Response(content_type="application/x-protobuf")

        return handle

    def _traces(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = _attributes(resource.resource.attributes)
            service = told["service.name"]
            self.versions.setdefault(service, set()).add(str(told.get("service.version", "")))
            for scope in resource.scope_spans:
                self.spans.extend(
                    CollectedSpan(
                        service=service,
                        name=span.name,
                        kind=span.kind,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        is_error=span.status.code == 2,
                        attributes=_attributes(span.attributes),
                        link_ids=tuple(link.span_id.hex() for link in span.links),
                    )
                    for span in scope.spans
                )

    def _metrics(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            told = _attributes(resource.resource.attributes)
            service = told["service.name"]
            self.instances.setdefault(service, set()).add(told["service.instance.id"])
            for scope in resource.scope_metrics:
                self.metrics.update((service, metric.name) for metric in scope.metrics)

    def _logs(self, body: bytes) -> None:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_logs:
                self.logs.extend(
                    CollectedLog(
                        service=service,
                        event=record.event_name,
                        body=record.body.string_value,
                        trace_id=record.trace_id.hex(),
                    )
                    for record in scope.log_records
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in _typed(pairs)}


def _typed(pairs: Any) -> list[KeyValue]:
    return list(pairs)


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
