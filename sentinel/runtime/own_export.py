"""Own spans and log lines through OpenTelemetry's SDK and its OTLP exporter; imported only when they are asked for.

The SDK's batch processors export from threads of their own, so nothing here waits for an endpoint. What is theirs to
lose silently is counted before it reaches them: a `Gate` knows how much is under way, turns away what would overfill
the queue, and is told by the exporter's thread what came of each batch. Their HTTP session takes no proxy and no
credentials from the environment, follows no redirect (which the exporter would count as success), and reads a bounded
part of a reply within the time limit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from sentinel.ports import Clock
from sentinel.runtime.logging import fields_of, message_of
from sentinel.runtime.tracing import OwnSpan, SpanNotes

_BATCH_MAX = 256
_DELAY_MS = 1000
_REPLY_BYTES_MAX = 64 * 1024
_SCOPE = "sentinel"
_SEVERITY = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)

_Exporter = TypeVar("_Exporter", OTLPSpanExporter, OTLPLogExporter)
_Processor = TypeVar("_Processor", BatchSpanProcessor, BatchLogRecordProcessor)
_Item = TypeVar("_Item", ReadableSpan, ReadableLogRecord)
_Result = TypeVar("_Result", SpanExportResult, LogRecordExportResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Where to and within which bounds.

    Attributes:
        url: full URL of the signal, such as `http://127.0.0.1:4318/v1/traces`.
        headers: sent with each request; they may hold a credential.
        ca_file, cert_file, key_file: TLS, or "".
        timeout_s: longest time of one batch, its retries included.
        queue_max: most that waits or is under way.
    """

    url: str
    headers: Mapping[str, str]
    ca_file: str
    cert_file: str
    key_file: str
    timeout_s: float
    queue_max: int


class Gate:
    """Counts what is under way, for one signal, between the program's threads and the exporter's.

    Args:
        limit: most that may be under way.
        on_offered, on_dropped: called where it is offered, once each.
        on_exported: called by the exporter's thread with how many of a batch, and whether they were taken.
    """

    def __init__(
        self,
        *,
        limit: int,
        on_offered: Callable[[], None],
        on_dropped: Callable[[], None],
        on_exported: Callable[[int, bool], None],
    ) -> None:
        self._limit = limit
        self._on_offered = on_offered
        self._on_dropped = on_dropped
        self._on_exported = on_exported
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def under_way(self) -> int:
        """How much waits or is being sent."""
        return self._under_way

    def enter(self) -> bool:
        """Whether one more may go on; it is counted either way."""
        self._on_offered()
        with self._lock:
            is_full = self._under_way >= self._limit
            self._under_way += not is_full
        if is_full:
            self._on_dropped()
        return not is_full

    def leave(self, count: int, *, ok: bool) -> None:
        """A batch came to its end."""
        with self._lock:
            self._under_way -= count
        self._on_exported(count, ok)


class OwnSpans:
    """The tracer that exports."""

    def __init__(
        self,
        settings: ExportSettings,
        gate: Gate,
        clock: Clock,
        *,
        resource: Mapping[str, str],
        sampling_ratio: float,
    ) -> None:
        self._clock = clock
        self._exporter = _CountedSpans(_exporting(OTLPSpanExporter, settings), gate)
        self._processor = _batching(BatchSpanProcessor, self._exporter, settings)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sampling_ratio)),
            resource=Resource.create(dict(resource)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_GatedSpans(self._processor, gate))
        self._tracer = self._provider.get_tracer(_SCOPE)

    def span(
        self, what: OwnSpan, /, **attributes: str | int | float | bool
    ) -> AbstractContextManager[SpanNotes]:
        """See `runtime.tracing.Tracer`."""
        return self._span(what, attributes)

    def close(self, *, timeout_s: float) -> None:
        """Send what waits, within the limit; a thread that still waits for the endpoint then is left to end by itself."""
        _close(self._processor.shutdown, self._exporter.shutdown, timeout_s=timeout_s)

    @contextmanager
    def _span(
        self, what: OwnSpan, attributes: Mapping[str, str | int | float | bool]
    ) -> Iterator[SpanNotes]:
        span = self._tracer.start_span(
            f"sentinel.{what}",
            attributes={f"sentinel.{key}": value for key, value in attributes.items()},
            start_time=self._clock.now_ns(),
        )
        try:
            with trace.use_span(
                span, record_exception=False, set_status_on_exception=False, end_on_exit=False
            ):
                yield _Notes(span)
        except Exception as error:
            # The class alone: what an exception says may have come from outside.
            _Notes(span).failed(type(error).__name__)
            raise
        finally:
            span.end(self._clock.now_ns())


class OwnLines(logging.Handler):
    """The handler that exports log lines: as they stand on standard error, bounded and redacted."""

    def __init__(
        self,
        settings: ExportSettings,
        gate: Gate,
        *,
        resource: Mapping[str, str],
        is_left_out: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._gate = gate
        self._is_left_out = is_left_out
        self._exporter = _CountedLines(_exporting(OTLPLogExporter, settings), gate)
        self._processor = _batching(BatchLogRecordProcessor, self._exporter, settings)
        self._provider = LoggerProvider(
            resource=Resource.create(dict(resource)), shutdown_on_exit=False
        )
        self._provider.add_log_record_processor(self._processor)
        self._logger = self._provider.get_logger(_SCOPE)

    def emit(self, record: logging.LogRecord) -> None:
        """Offer one line; never blocks and never raises."""
        if self._is_left_out(record.name) or not self._gate.enter():
            return
        try:
            self._logger.emit(_as_otlp(record))
        except Exception:  # noqa: BLE001  # a line that cannot be exported must not disturb who logged it
            self._gate.leave(1, ok=False)

    def close_export(self, *, timeout_s: float) -> None:
        """As `OwnSpans.close`."""
        _close(self._processor.shutdown, self._exporter.shutdown, timeout_s=timeout_s)
        self.close()


def _exporting(kind: Callable[..., _Exporter], settings: ExportSettings) -> _Exporter:
    return kind(
        endpoint=settings.url,
        certificate_file=settings.ca_file or None,
        client_certificate_file=settings.cert_file or None,
        client_key_file=settings.key_file or None,
        headers=dict(settings.headers),
        timeout=settings.timeout_s,
        compression=Compression.Gzip,
        session=_Session(),
    )


def _batching(
    kind: Callable[..., _Processor], exporter: object, settings: ExportSettings
) -> _Processor:
    return kind(
        exporter,
        max_queue_size=settings.queue_max,
        schedule_delay_millis=_DELAY_MS,
        max_export_batch_size=min(_BATCH_MAX, settings.queue_max),
    )


def _as_otlp(record: logging.LogRecord) -> LogRecord:
    severity = next(
        (number for level, number in _SEVERITY if record.levelno >= level), SeverityNumber.DEBUG
    )
    attributes: dict[str, Any] = {
        "exception.stacktrace" if key == "exception" else f"sentinel.{key}": _attribute(value)
        for key, value in fields_of(record).items()
        if value is not None
    }
    attributes["log.logger"] = record.name
    return LogRecord(
        timestamp=round(record.created * 1e9),
        observed_timestamp=round(record.created * 1e9),
        severity_number=severity,
        severity_text=record.levelname,
        body=message_of(record),
        attributes=attributes,
    )


def _attribute(value: object) -> object:
    """What OTLP has room for: 64 bits with a sign."""
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


class _Notes:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **attributes: str | int | float | bool) -> None:
        for key, value in attributes.items():
            self._span.set_attribute(f"sentinel.{key}", value)

    def failed(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(trace.StatusCode.ERROR)


class _GatedSpans(SpanProcessor):
    """Lets through what the queue has room for; spans that were not sampled are nobody's loss."""

    def __init__(self, inner: SpanProcessor, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def on_start(self, span: Span, parent_context: object = None) -> None:
        """Nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is not None and context.trace_flags.sampled and self._gate.enter():
            self._inner.on_end(span)


def _counted(
    export: Callable[[Sequence[_Item]], _Result],
    batch: Sequence[_Item],
    gate: Gate,
    *,
    success: _Result,
) -> _Result:
    """What came of a batch; the gate hears of it also when that is an exception."""
    is_taken = False
    try:
        result = export(batch)
        is_taken = result is success
    finally:
        gate.leave(len(batch), ok=is_taken)
    return result


class _CountedSpans(SpanExporter):
    def __init__(self, inner: SpanExporter, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return _counted(self._inner.export, spans, self._gate, success=SpanExportResult.SUCCESS)

    def shutdown(self) -> None:
        self._inner.shutdown()


class _CountedLines(LogRecordExporter):
    def __init__(self, inner: LogRecordExporter, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return _counted(
            self._inner.export, batch, self._gate, success=LogRecordExportResult.SUCCESS
        )

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 10_000) -> bool:  # noqa: ARG002  # the port's
        """Nothing waits here."""
        return True


class _Session(requests.Session):
    """Bounded in time and bytes; neither proxies nor `.netrc` of the environment, no redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """One request; a reply that is neither an answer nor an error is an error."""
        timeout_s = float(options.get("timeout") or 10.0)
        ends_s = time.monotonic() + timeout_s
        options.update(stream=True, allow_redirects=False)
        response = super().request(method, url, **options)
        with response:
            if 300 <= response.status_code < 400:
                msg = f"status {response.status_code}, a redirect"
                raise requests.exceptions.InvalidURL(msg)
            read = bytearray()
            for chunk in response.raw.stream(4096, decode_content=False):
                read += chunk
                if len(read) >= _REPLY_BYTES_MAX or time.monotonic() > ends_s:
                    break
        response._content = bytes(read[:_REPLY_BYTES_MAX])  # noqa: SLF001  # what `content` gives
        return response


def _close(
    flush: Callable[[], object], give_up: Callable[[], object], *, timeout_s: float
) -> None:
    """Flush in a thread that may be left behind: an endpoint that hangs must not hold up a stop."""
    flushing = threading.Thread(target=flush, name="own-export.flush", daemon=True)
    flushing.start()
    flushing.join(timeout_s)
    if flushing.is_alive():
        give_up()
        flushing.join(0.5)
