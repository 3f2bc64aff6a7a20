"""Goal: what the OpenTelemetry SDK sends becomes the windows it should.

Method: SDK exporters, both receivers with the real decoder, ingest and the real aggregator; the windows
are compared with what was recorded.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from sentinel.core.model import SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_TRAFFIC
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, ClosedWindows
from sentinel.pipeline.ingest import Ingest, IngestConfig
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig, OtlpHttpReceiver
from sentinel.runtime.intake.downstream import Downstream
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CALLS = 400
FAILED = 100


def send_spans(exporter: SpanExporter, *, service: str, end_ns: int) -> None:
    """`CALLS` server spans of 50 ms that end in one window, a quarter of them with a 500."""
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for number in range(CALLS):
        span = tracer.start_span(
            "POST /v1/transfers",
            kind=trace.SpanKind.SERVER,
            start_time=end_ns - 50_000_000,
            attributes={
                "http.request.method": "POST",
                "http.route": "/v1/transfers",
                "http.response.status_code": 500 if number < FAILED else 202,
            },
        )
        if number < FAILED:
            span.set_status(trace.StatusCode.ERROR)
        span.end(end_time=end_ns)
    provider.shutdown()


def send_access_log(exporter: HttpLogs | GrpcLogs, *, service: str, end_ns: int) -> None:
    """As `send_spans`, in records of an access log."""
    provider = LoggerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("test")
    for number in range(CALLS):
        logger.emit(
            timestamp=end_ns,
            body="request finished",
            attributes={
                "http.request.method": "POST",
                "http.route": "/v1/transfers",
                "http.response.status_code": 500 if number < FAILED else 202,
                "http.server.request.duration": 0.05,
            },
        )
    provider.shutdown()


def send_by_http(url: str, signal: str, *, end_ns: int) -> None:
    if signal == "spans":
        send_spans(HttpSpans(f"{url}/v1/traces"), service="by-http", end_ns=end_ns)
    else:
        send_access_log(HttpLogs(f"{url}/v1/logs"), service="by-http", end_ns=end_ns)


def send_by_grpc(port: int, signal: str, *, end_ns: int) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    if signal == "spans":
        spans = GrpcSpans(endpoint=endpoint, insecure=True)
        send_spans(spans, service="by-grpc", end_ns=end_ns)
    else:
        logs = GrpcLogs(endpoint=endpoint, insecure=True)
        send_access_log(logs, service="by-grpc", end_ns=end_ns)


@pytest.mark.parametrize("signal", ["spans", "access_log"])
async def test_calls_of_both_transports_become_traffic_errors_and_latency(signal: str) -> None:
    start_ns = time.time_ns() // 10**10 * 10**10
    clock = ManualClock(start_ns)
    surroundings = make_surroundings(clock)
    config = IngestConfig()
    found: dict[tuple[str, str], tuple[float, float]] = {}

    async def take(closed: ClosedWindows) -> None:
        for window in closed.windows:
            for key, value, weight in zip(
                window.keys, window.value.tolist(), window.weight.tolist(), strict=True
            ):
                if key.stage == "logs":
                    continue
                assert (key.stage, key.route) == ("edge", "POST /v1/transfers")
                found[key.service, key.signal] = (value, weight)

    ingest = Ingest(
        config, Aggregator(config.series_settings(), start_ns=start_ns), take, surroundings
    )
    http = OtlpHttpReceiver(
        OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
        Downstream(sink=ingest),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    rpc = OtlpGrpcReceiver(
        OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
        Downstream(sink=ingest),
        surroundings,
        make_decoder=OtlpDecoder,
    )
    components = (ingest, http, rpc)
    for component in components:
        await component.start()
    try:
        end_ns = start_ns + 3 * 10**9
        await clock.advance(4)
        await asyncio.gather(
            asyncio.to_thread(send_by_http, http.url, signal, end_ns=end_ns),
            asyncio.to_thread(send_by_grpc, rpc.port, signal, end_ns=end_ns),
        )
        await clock.advance(12)
    finally:
        for component in reversed(components):
            await component.stop()
    for service in ("by-http", "by-grpc"):
        assert found[service, SIGNAL_TRAFFIC] == (CALLS / 10, CALLS)
        assert found[service, SIGNAL_ERRORS] == (FAILED / CALLS, CALLS)
        latency_s, weight = found[service, SIGNAL_LATENCY]
        assert latency_s == pytest.approx(0.05, rel=0.02)
        assert weight == CALLS
