"""What is said of exports: at the edge, where they are asked for and handed out, and where they are made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sentinel.reference.ledger.telemetry.signals import Telemetry

EXPORTER_SERVICE: Final = "ledger-exporter"
SPAN_NAME: Final = "make export"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_BOUNDS_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


class ExportSignals:
    """Metrics of the edge's part."""

    def __init__(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        self._requested = meter.create_counter(
            "ledger.exports.requested", unit="{export}", description="Exports that were taken on."
        )
        self._refused = meter.create_counter(
            "ledger.exports.refused",
            unit="{request}",
            description="Requests for exports or their files that were refused, by the problem's code.",
        )
        self._served = meter.create_counter(
            "ledger.exports.served",
            unit="{download}",
            description="Files of exports that were handed out, by whether to their end.",
        )

    def requested(self) -> None:
        """Count an export that was taken on."""
        self._requested.add(1)

    def refused(self, code: str) -> None:
        """Count a request that was refused."""
        self._refused.add(1, {"ledger.export.reason": code})

    def served(self, *, whole: bool) -> None:
        """Count a file that was handed out, or broken off."""
        self._served.add(1, {"ledger.export.whole": whole})


class ExportsAtAMoment(Protocol):
    """What gauges show."""

    @property
    def waiting_count(self) -> int:
        """Exports that wait for the audit or their turn."""

    @property
    def running_count(self) -> int:
        """Exports that are being made."""

    @property
    def oldest_s(self) -> float:
        """Seconds since the oldest of both was asked for; 0 without one."""

    @property
    def kept_bytes(self) -> int:
        """Of all files that are kept."""


@dataclass(slots=True)
class ExportSpan:
    """What whoever makes an export reports back; without a reason it is done."""

    reason: str = ""
    entries_count: int | None = None


class ExporterSignals:
    """Spans and metrics of the process that makes exports."""

    def __init__(self, telemetry: Telemetry, read: Callable[[], ExportsAtAMoment]) -> None:
        self._telemetry = telemetry
        meter = telemetry.meter
        self._ended = meter.create_counter(
            "ledger.exports.ended",
            unit="{export}",
            description="Exports that are done or failed, by outcome and reason.",
        )
        self._retried = meter.create_counter(
            "ledger.exports.retried",
            unit="{attempt}",
            description="Attempts that failed and are made again.",
        )
        self._forgotten = meter.create_counter(
            "ledger.exports.forgotten",
            unit="{export}",
            description="Files of exports that were let go, by age or number.",
        )
        self._duration = meter.create_histogram(
            "ledger.exports.duration",
            unit="s",
            description="Time that making one took.",
            explicit_bucket_boundaries_advisory=_BOUNDS_S,
        )
        self._age = meter.create_histogram(
            "ledger.exports.age",
            unit="s",
            description="Time from an export's being asked for to its being begun for the last time.",
            explicit_bucket_boundaries_advisory=_BOUNDS_S,
        )

        def open_counts(_: CallbackOptions) -> list[Observation]:
            now = read()
            return [
                Observation(now.waiting_count, {"ledger.export.state": "waiting"}),
                Observation(now.running_count, {"ledger.export.state": "running"}),
            ]

        meter.create_observable_gauge(
            "ledger.exports.open", callbacks=[open_counts], unit="{export}"
        )
        meter.create_observable_gauge(
            "ledger.exports.oldest",
            callbacks=[lambda _: [Observation(read().oldest_s)]],
            unit="s",
        )
        meter.create_observable_gauge(
            "ledger.exports.kept",
            callbacks=[lambda _: [Observation(read().kept_bytes)]],
            unit="By",
        )

    @contextmanager
    def making(self, trace_parent: str | None) -> Iterator[ExportSpan]:
        """Record the making of one, in the trace of whoever asked for it."""
        context = _PROPAGATOR.extract({"traceparent": trace_parent} if trace_parent else {})
        span = self._telemetry.tracer.start_span(
            SPAN_NAME, context=context, kind=SpanKind.INTERNAL
        )
        began = time.perf_counter()
        result = ExportSpan()
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield result
        except BaseException:
            result.reason = result.reason or "cancelled"
            raise
        finally:
            if result.entries_count is not None:
                span.set_attribute("ledger.export.entries", result.entries_count)
            if result.reason:
                span.set_attribute("error.type", result.reason)
                span.set_status(StatusCode.ERROR)
            span.end()
            self._duration.record(
                time.perf_counter() - began, context=trace.set_span_in_context(span)
            )

    def ended(self, age_s: float, reason: str) -> None:
        """Count one that is done, or failed for this reason, so long after it was asked for."""
        outcome = "failed" if reason else "done"
        self._ended.add(1, {"ledger.export.outcome": outcome, "ledger.export.reason": reason})
        self._age.record(max(age_s, 0.0), {"ledger.export.outcome": outcome})

    def retried(self) -> None:
        """Count an attempt that is made again."""
        self._retried.add(1)

    def forgotten(self, reason: str, count: int) -> None:
        """Count files that were let go, by `age` or by `number`."""
        if count:
            self._forgotten.add(count, {"ledger.export.reason": reason})


def current_trace_parent() -> str | None:
    """Return the current span as W3C has it; None without one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")
