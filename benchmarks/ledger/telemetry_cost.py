"""What tracing everything costs a request: processor time of the calls that the ledger makes for it, and of encoding its spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from sentinel.reference.ledger.telemetry import Telemetry

_COUNT = 8000
_BATCH_COUNT = 20
_HEADERS = {
    "Host": "127.0.0.1:1",
    "X-Tenant": "demo",
    "Content-Type": "application/json",
    "Content-Length": "80",
    "Idempotency-Key": "order-1",
}
_NAMESPACE = "ledger|ledger"


class _Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


def telemetry_cost() -> dict[str, float]:
    """Microseconds of a processor by what is done; of a batch's message, a twentieth of its batch."""
    kept = _Kept()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(kept, max_queue_size=100_000))
    telemetry = Telemetry(
        service="bench",
        tracers=tracers,
        meters=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
        loggers=LoggerProvider(shutdown_on_exit=False),
    )

    def request() -> None:
        with telemetry.request(
            method="POST", route="/v2/transfers", path="/v2/transfers", headers=_HEADERS
        ) as span:
            span.status = 202

    def publish() -> None:
        with telemetry.publish(message_id="8d9f3c52-6a0b-5b8e-9c1d-2f6f7a4c1e90"):
            pass

    def query() -> None:
        with telemetry.query("SELECT", "accounts", _NAMESPACE):
            pass

    traced = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}

    def batch() -> None:
        with telemetry.process([(traced, 1)] * _BATCH_COUNT, cohort=0) as spans:
            with spans.commit(_NAMESPACE):
                spans.lsn = "0/16B3748"
            spans.outcomes = ["posted"] * _BATCH_COUNT

    def tally() -> None:
        telemetry.transfers_accepted(1)

    def histogram() -> None:
        telemetry.transfer_posted(0.01)

    found = {
        "a request's SERVER span and duration": _each(request),
        "a publish's PRODUCER span": _each(publish),
        "a query's CLIENT span and duration": _each(query),
        "a message's two spans, and its part of the batch's": _each(batch) / _BATCH_COUNT,
        "a number that is counted": _each(tally),
        "one that is counted and one that is measured": _each(histogram),
    }
    tracers.force_flush()
    spans = kept.spans[-_COUNT:]
    began = time.thread_time()
    for at in range(0, len(spans), 512):
        encode_spans(spans[at : at + 512]).SerializePartialToString()
    found["encoding a span"] = (time.thread_time() - began) / len(spans) * 1e6
    tracers.shutdown()
    return found


def _each(do: Callable[[], None]) -> float:
    for _ in range(_COUNT // 10):
        do()
    began = time.thread_time()
    for _ in range(_COUNT):
        do()
    return (time.thread_time() - began) / _COUNT * 1e6
