"""Receivers on free ports, and official OTLP messages to send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.core.model import LogRecord, RejectReason, SampleBatch
from sentinel.errors import MalformedInputError
from sentinel.ports import SampleSink
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig, OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig, OtlpHttpReceiver
from sentinel.runtime.component import Component, Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from tests.support.surroundings import make_surroundings

Receiver = TypeVar("Receiver", bound=Component)


class CountingDecoder:
    """Reads with the official messages and makes a log record of each sample; one named `reject` is rejected.

    The transport's tests stand on it, so that they do not fail for what decoding does.
    """

    def decode(
        self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes, *, now_ns: int
    ) -> SampleBatch:
        """As `Decoder`."""
        if body == b"break the decoder":
            msg = "a fault of ours"
            raise RuntimeError(msg)
        names = _names(signal, encoding, body)
        kept = [name for name in names if name != "reject"]
        rejected = len(names) - len(kept)
        return SampleBatch(
            logs=tuple(
                LogRecord(service="test", time_ns=now_ns, severity=9, event=name, body="")
                for name in kept
            ),
            rejected={RejectReason.BAD_ID: rejected} if rejected else {},
        )


def _names(signal: OtlpSignal, encoding: OtlpEncoding, body: bytes) -> list[str]:
    traces, metrics, logs = (
        ExportTraceServiceRequest(),
        ExportMetricsServiceRequest(),
        ExportLogsServiceRequest(),
    )
    message = {
        OtlpSignal.TRACES: traces,
        OtlpSignal.METRICS: metrics,
        OtlpSignal.LOGS: logs,
    }[signal]
    try:
        if encoding is OtlpEncoding.JSON:
            json_format.Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, json_format.ParseError) as error:
        msg = "not a valid OTLP request"
        raise MalformedInputError(msg) from error
    spans = [s.name for r in traces.resource_spans for g in r.scope_spans for s in g.spans]
    points = [m.name for r in metrics.resource_metrics for g in r.scope_metrics for m in g.metrics]
    lines = [
        line.event_name for r in logs.resource_logs for g in r.scope_logs for line in g.log_records
    ]
    return spans + points + lines


def traces_request(*names: str) -> bytes:
    """A trace request with one span of each name."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, name in enumerate(names, start=1):
        spans.add(
            name=name,
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            start_time_unix_nano=10**18,
            end_time_unix_nano=10**18 + 1,
        )
    return request.SerializeToString()


def http_receiver(
    sink: SampleSink,
    config: OtlpHttpConfig | None = None,
    surroundings: Surroundings | None = None,
) -> AbstractAsyncContextManager[OtlpHttpReceiver]:
    """OTLP over HTTP on a free port of loopback."""
    return _running(
        OtlpHttpReceiver(
            config or OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0)),
            Downstream(sink=sink),
            surroundings or make_surroundings(),
            make_decoder=CountingDecoder,
        )
    )


def grpc_receiver(
    sink: SampleSink,
    config: OtlpGrpcConfig | None = None,
    surroundings: Surroundings | None = None,
) -> AbstractAsyncContextManager[OtlpGrpcReceiver]:
    """OTLP over gRPC on a free port of loopback."""
    return _running(
        OtlpGrpcReceiver(
            config or OtlpGrpcConfig(listen=OtlpGrpcListenConfig(port=0)),
            Downstream(sink=sink),
            surroundings or make_surroundings(),
            make_decoder=CountingDecoder,
        )
    )


@asynccontextmanager
async def _running(receiver: Receiver) -> AsyncIterator[Receiver]:
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
