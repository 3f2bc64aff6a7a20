"""What telemetry loses on its way out, counted: what its bounded queue had no room for, and what the endpoint did not take.

The SDK drops the oldest of a full queue and writes a line in a log. Here the queue is watched from outside, by what went in and
what came out, and the newest is dropped: of a trace that is cut short the beginning is there. The counter goes out with the
metrics, which are sums, so that what was counted while the endpoint was away is told when it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.metrics import Counter, Meter
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

METRIC: Final = "ledger.telemetry.lost"
QUEUE_FULL, NOT_TAKEN = "queue_full", "not_taken"


def losses_counter(meter: Meter) -> Counter:
    """Return the counter of what was lost, which is there from the beginning: a first loss is to be seen as one."""
    counter = meter.create_counter(
        METRIC,
        unit="{item}",
        description="Spans and log records that were lost on their way out, by why.",
    )
    for signal in ("spans", "logs"):
        for reason in (QUEUE_FULL, NOT_TAKEN):
            counter.add(0, _attributes(signal, reason))
    return counter


class Room:
    """How much a queue may still take; what it does not take and what does not arrive is counted as lost."""

    def __init__(self, signal: str, count_max: int, lost: Counter) -> None:
        self._signal = signal
        self._count_max = count_max
        self._lost = lost
        self._lock = threading.Lock()
        self._waiting_count = 0

    def take(self) -> bool:
        """Take a place for one item; False when there is none, and it is lost."""
        with self._lock:
            if self._waiting_count < self._count_max:
                self._waiting_count += 1
                return True
        self._lost.add(1, _attributes(self._signal, QUEUE_FULL))
        return False

    def left(self, count: int) -> None:
        """Give places back: so many items are on their way to the endpoint."""
        with self._lock:
            self._waiting_count -= count

    def not_taken(self, count: int) -> None:
        """Count items that the endpoint did not take."""
        self._lost.add(count, _attributes(self._signal, NOT_TAKEN))


class CountedSpans(SpanProcessor):
    """Hands spans out in batches, as the SDK's own processor does, and counts those that are lost."""

    def __init__(
        self, exporter: SpanExporter, lost: Counter, *, count_max: int, delay_ms: float
    ) -> None:
        self._room = Room("spans", count_max, lost)
        self._batches = BatchSpanProcessor(
            _SpanExporter(exporter, self._room),
            max_queue_size=count_max,
            max_export_batch_size=min(512, count_max),
            schedule_delay_millis=delay_ms,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended."""
        if self._room.take():
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits, and stop."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits now."""
        return bool(self._batches.force_flush(timeout_millis))


class CountedLogs(LogRecordProcessor):
    """The same for log records."""

    def __init__(
        self, exporter: LogRecordExporter, lost: Counter, *, count_max: int, delay_ms: float
    ) -> None:
        self._room = Room("logs", count_max, lost)
        self._batches = BatchLogRecordProcessor(
            _LogExporter(exporter, self._room),
            max_queue_size=count_max,
            max_export_batch_size=min(512, count_max),
            schedule_delay_millis=delay_ms,
        )

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a record."""
        if self._room.take():
            self._batches.on_emit(log_record)

    def shutdown(self) -> None:
        """Send what waits, and stop."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits now."""
        return bool(self._batches.force_flush(timeout_millis))


class _SpanExporter(SpanExporter):
    def __init__(self, inner: SpanExporter, room: Room) -> None:
        self._inner, self._room = inner, room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._room.left(len(spans))
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self._room.not_taken(len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _LogExporter(LogRecordExporter):
    def __init__(self, inner: LogRecordExporter, room: Room) -> None:
        self._inner, self._room = inner, room

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._room.left(len(batch))
        result = LogRecordExportResult.FAILURE
        try:
            result = self._inner.export(batch)
        finally:
            if result is not LogRecordExportResult.SUCCESS:
                self._room.not_taken(len(batch))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _attributes(signal: str, reason: str) -> dict[str, str]:
    return {"ledger.telemetry.signal": signal, "ledger.telemetry.reason": reason}
