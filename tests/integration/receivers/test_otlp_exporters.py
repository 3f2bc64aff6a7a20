"""Goal: what nobody here wrote sends to both receivers, and loses nothing while they are busy.

Method: the OpenTelemetry SDK's own exporters, over HTTP and gRPC, plain and gzip, for the three signals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sentinel.ports import Admission
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.http.server import ConnectionLimitsConfig
from sentinel.runtime.settings import Duration
from tests.support.clock import ManualClock
from tests.support.otlp import grpc_receiver, http_receiver
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SPANS = 1200


class Exporters(NamedTuple):
    """One exporter of each signal, made when asked for."""

    traces: Callable[[], Any]
    metrics: Callable[[], Any]
    logs: Callable[[], Any]


def http_exporters(url: str, *, gzip: bool) -> Exporters:
    compression = Compression.Gzip if gzip else Compression.NoCompression
    return Exporters(
        lambda: http_traces.OTLPSpanExporter(f"{url}/v1/traces", compression=compression),
        lambda: http_metrics.OTLPMetricExporter(f"{url}/v1/metrics", compression=compression),
        lambda: http_logs.OTLPLogExporter(f"{url}/v1/logs", compression=compression),
    )


def grpc_exporters(port: int, *, gzip: bool) -> Exporters:
    options: dict[str, Any] = {
        "endpoint": f"http://127.0.0.1:{port}",
        "insecure": True,
        "compression": grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression,
    }
    return Exporters(
        lambda: grpc_traces.OTLPSpanExporter(**options),
        lambda: grpc_metrics.OTLPMetricExporter(**options),
        lambda: grpc_logs.OTLPLogExporter(**options),
    )


@asynccontextmanager
async def served(
    transport: str, sink: ListSink, surroundings: Surroundings, *, gzip: bool
) -> AsyncIterator[Exporters]:
    if transport == "http":
        async with http_receiver(sink, surroundings=surroundings) as http:
            yield http_exporters(http.url, gzip=gzip)
    else:
        async with grpc_receiver(sink, surroundings=surroundings) as rpc:
            yield grpc_exporters(rpc.port, gzip=gzip)


def send_spans(exporter: Any) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * SPANS))
    tracer = provider.get_tracer("test")
    for number in range(SPANS):
        tracer.start_span(f"span {number}").end()
    provider.shutdown()


def send_metrics(exporter: Any) -> None:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    meter.create_counter("requests").add(3)
    meter.create_histogram("duration").record(0.2)
    provider.shutdown()


def send_logs(exporter: Any) -> None:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("test")
    for number in range(20):
        logger.emit(timestamp=time.time_ns(), body=f"line {number}")
    provider.shutdown()


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_every_signal_of_the_sdk_arrives(transport: str, *, gzip: bool) -> None:
    sink = ListSink()
    surroundings = make_surroundings()
    async with served(transport, sink, surroundings, gzip=gzip) as exporters:
        await asyncio.to_thread(send_spans, exporters.traces())
        assert sink.sample_count == SPANS
        await asyncio.to_thread(send_metrics, exporters.metrics())
        assert sink.sample_count == SPANS + 2
        await asyncio.to_thread(send_logs, exporters.logs())
        assert sink.sample_count == SPANS + 22
    receiver = f"receivers.otlp_{transport}"
    for signal, count in (("traces", SPANS), ("metrics", 2), ("logs", 20)):
        taken = surroundings.metrics.value(
            "sentinel_receiver_samples_total", receiver=receiver, signal=signal
        )
        assert taken == count


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_busy_receiver_loses_nothing_of_the_sdk_s(transport: str) -> None:
    """503 with Retry-After and UNAVAILABLE with RetryInfo make the exporters come back; each span arrives once."""
    sink = ListSink(Admission.RETRY_LATER, Admission.ACCEPTED, Admission.RETRY_LATER)
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    done = asyncio.Event()

    async def let_time_pass() -> None:
        while not done.is_set():
            await clock.advance(0.1)
            await asyncio.sleep(0.02)

    async with served(transport, sink, surroundings, gzip=True) as exporters:
        passing = asyncio.create_task(let_time_pass())
        await asyncio.to_thread(send_spans, exporters.traces())
        done.set()
        await passing
    names = [record.event for batch in sink.batches for record in batch.logs]
    assert sorted(names) == sorted(f"span {number}" for number in range(SPANS))
    assert sink.offered_count >= 5


def names_in(sink: ListSink) -> list[str]:
    return sorted(record.event for batch in sink.batches for record in batch.logs)


ALL_NAMES = sorted(f"span {number}" for number in range(SPANS))


async def test_an_sdk_that_finds_no_connection_over_http_comes_again() -> None:
    sink, surroundings = ListSink(), make_surroundings()
    config = OtlpHttpConfig(
        listen=OtlpHttpListenConfig(port=0),
        connections=ConnectionLimitsConfig(connection_count_max=1),
    )
    async with http_receiver(sink, config, surroundings) as receiver:
        _, held = await asyncio.open_connection("127.0.0.1", receiver.port)
        exporter = http_exporters(receiver.url, gzip=False).traces()
        sending = asyncio.create_task(asyncio.to_thread(send_spans, exporter))
        labels = {"listener": "receivers.otlp_http", "reason": "too_many"}
        while not surroundings.metrics.value("sentinel_http_connections_closed_total", **labels):
            await asyncio.sleep(0.01)
        held.close()
        await sending
    assert names_in(sink) == ALL_NAMES


async def test_an_sdk_that_finds_no_connection_over_grpc_comes_again() -> None:
    sink = ListSink()
    config = OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0), connection_count_max=1)
    async with grpc_receiver(sink, config) as receiver:
        reader, held = await asyncio.open_connection("127.0.0.1", receiver.port)
        # Its first frame: this one has the place.
        assert await asyncio.wait_for(reader.read(9), 10)
        refused, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        assert await asyncio.wait_for(refused.read(), 10) == b""
        writer.close()
        exporter = grpc_exporters(receiver.port, gzip=False).traces()
        sending = asyncio.create_task(asyncio.to_thread(send_spans, exporter))
        await asyncio.sleep(0.5)
        assert sink.batches == []
        held.close()
        await sending
    assert names_in(sink) == ALL_NAMES


async def test_an_sdk_whose_body_gets_stuck_sends_it_again() -> None:
    """The way to the receiver holds back the first body. 503 with Retry-After brings it again, where 408 loses it."""
    sink, surroundings = ListSink(), make_surroundings()
    config = OtlpHttpConfig(
        listen=OtlpHttpListenConfig(port=0), body=BodyLimitsConfig(grace=Duration(0.3))
    )
    carrying: list[asyncio.Task[Any] | None] = []

    async with http_receiver(sink, config, surroundings) as receiver:

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(2**16):
                writer.write(data)
            writer.close()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carrying.append(asyncio.current_task())
            is_first = len(carrying) == 1
            answers, asks = await asyncio.open_connection("127.0.0.1", receiver.port)
            if is_first:
                asks.write(await reader.readuntil(b"\r\n\r\n"))
                await copy(answers, writer)
                asks.close()
            else:
                await asyncio.gather(copy(reader, asks), copy(answers, writer))

        way = await asyncio.start_server(carry, "127.0.0.1", 0)
        async with way:
            port = way.sockets[0].getsockname()[1]
            exporter = http_exporters(f"http://127.0.0.1:{port}", gzip=False).traces()
            await asyncio.to_thread(send_spans, exporter)
            await asyncio.wait_for(asyncio.gather(*filter(None, carrying)), 10)
    assert names_in(sink) == ALL_NAMES
    assert len(carrying) >= 2
    outcome = surroundings.metrics.value(
        "sentinel_receiver_requests_total",
        receiver="receivers.otlp_http",
        signal="traces",
        outcome="http_503",
    )
    assert outcome == 1
