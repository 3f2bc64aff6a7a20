"""Where telemetry goes: the exporters, chosen by the standard environment variables.

OTEL_EXPORTER_OTLP_ENDPOINT (unset: nothing is exported), OTEL_EXPORTER_OTLP_PROTOCOL
(`http/protobuf`, the default, or `grpc`), OTEL_BSP_SCHEDULE_DELAY and OTEL_BLRP_SCHEDULE_DELAY (ms,
1000), OTEL_METRIC_EXPORT_INTERVAL (ms, 5000), OTEL_RESOURCE_ATTRIBUTES. Exporting happens on
background threads with bounded queues, so an absent or slow endpoint costs telemetry and nothing
else; what it costs is counted (`losses`).
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import socket
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.telemetry.lines import JsonLines
from sentinel.reference.ledger.telemetry.losses import CountedLogs, CountedSpans, losses_counter
from sentinel.reference.ledger.telemetry.signals import Telemetry
from sentinel.reference.ledger.telemetry.spans import SCOPE

_EXPORT_TIMEOUT_S: Final = 3
_SPANS_COUNT_MAX: Final = 8192
_LOGS_COUNT_MAX: Final = 2048
_PACKAGE: Final = "sentinel-sidecar"


def release_version() -> str:
    """Return the version of what is installed; empty where nothing says it, as in a folder that was only copied."""
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def start_telemetry(service: str, environ: Mapping[str, str] = os.environ) -> Telemetry:
    """Return the process's telemetry, exporting when the environment names an endpoint."""
    own = Resource.create(
        {"service.name": service, "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"}
    )
    version = release_version()
    # The environment's word counts before it: OTEL_RESOURCE_ATTRIBUTES=service.version=...
    resource = Resource({"service.version": version} if version else {}).merge(own)
    exporters = _exporters_of(environ)
    readers = []
    if exporters is not None:
        readers.append(
            PeriodicExportingMetricReader(
                exporters[1],
                export_interval_millis=_ms(environ, "OTEL_METRIC_EXPORT_INTERVAL", 5000),
                export_timeout_millis=1000 * _EXPORT_TIMEOUT_S,
            )
        )
    meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    # Said here, for the environment's own sampler would be asked by some of the spans and not by others.
    tracers = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if exporters is not None:
        spans, _, logs = exporters
        lost = losses_counter(meters.get_meter(SCOPE))
        # Prometheus takes metrics alone: whoever sends them there says `none` of the others.
        if environ.get("OTEL_TRACES_EXPORTER") != "none":
            tracers.add_span_processor(
                CountedSpans(
                    spans,
                    lost,
                    count_max=_SPANS_COUNT_MAX,
                    delay_ms=_ms(environ, "OTEL_BSP_SCHEDULE_DELAY", 1000),
                )
            )
        if environ.get("OTEL_LOGS_EXPORTER") != "none":
            loggers.add_log_record_processor(
                CountedLogs(
                    logs,
                    lost,
                    count_max=_LOGS_COUNT_MAX,
                    delay_ms=_ms(environ, "OTEL_BLRP_SCHEDULE_DELAY", 1000),
                )
            )
    # What libraries log (a lost connection, a refused export) joins the same stream of JSON lines,
    # and stays out of OTLP: an exporter's complaint must not feed the exporter.
    handler = JsonLines(service)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    return Telemetry(service=service, tracers=tracers, meters=meters, loggers=loggers)


def _exporters_of(
    environ: Mapping[str, str],
) -> tuple[SpanExporter, MetricExporter, LogRecordExporter] | None:
    if not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    return _exporters(environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"))


def _exporters(protocol: str) -> tuple[SpanExporter, MetricExporter, LogRecordExporter]:
    # The two families are imported on demand: grpc alone costs a third of a second.
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces

        return (
            grpc_traces.OTLPSpanExporter(timeout=_EXPORT_TIMEOUT_S),
            grpc_metrics.OTLPMetricExporter(timeout=_EXPORT_TIMEOUT_S),
            grpc_logs.OTLPLogExporter(timeout=_EXPORT_TIMEOUT_S),
        )
    if protocol != "http/protobuf":
        message = f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; use http/protobuf or grpc"
        raise LedgerError(message)
    from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    return (
        http_traces.OTLPSpanExporter(timeout=_EXPORT_TIMEOUT_S),
        http_metrics.OTLPMetricExporter(timeout=_EXPORT_TIMEOUT_S),
        http_logs.OTLPLogExporter(timeout=_EXPORT_TIMEOUT_S),
    )


def _ms(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) == 0:
        message = f"{name} is {text!r}; it must be a number of milliseconds above 0"
        raise LedgerError(message)
    return int(text)
