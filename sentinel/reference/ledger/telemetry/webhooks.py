"""What the process that sends webhooks says about itself.

The span of an attempt is a CLIENT span named `POST webhook`, in the trace of the transfer where the event carries one. It says
which host it went to, and calls all of them `webhook` as a peer, by which calls are counted: there are as many hosts as tenants
like. Metrics name none.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sentinel.reference.ledger.telemetry.attributes import receiver_attributes
from sentinel.reference.ledger.telemetry.signals import Telemetry

SPAN_NAME: Final = "POST webhook"
_PEER: Final = "webhook"
_DURATION_BOUNDS_S: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    30.0,
)
_AGE_BOUNDS_S: Final = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0, 86_400.0, 259_200.0,
)  # fmt: skip


@dataclass(slots=True)
class AttemptSpan:
    """What the sender of one attempt reports back."""

    outcome: str = "failed"
    reason: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What there is at the moment; events that are not on their way yet are None where NATS does not say.

    Tenants are those with an endpoint that takes events; one of them fails when all of these do.
    """

    waiting_count: int
    oldest_s: float
    in_flight_count: int
    lookups_count: int
    events_pending_count: int | None
    endpoint_counts: dict[str, int]
    tenants_count: int
    tenants_failing_count: int
    receivers_failing_count: int


class WebhookSignals:
    """Spans and metrics of webhooks."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._propagator = TraceContextTextMapPropagator()
        meter = telemetry.meter
        self.totals: Counter[tuple[str, str]] = Counter()
        self._attempts = meter.create_counter(
            "ledger.webhooks.attempts",
            unit="{attempt}",
            description="Attempts, by what became of them.",
        )
        self._duration = meter.create_histogram(
            "ledger.webhooks.attempt.duration",
            unit="s",
            description="Time that one attempt took.",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDS_S,
        )
        self._age = meter.create_histogram(
            "ledger.webhooks.age",
            unit="s",
            description="Time from an event's being put on its way to the attempt that delivered it.",
            explicit_bucket_boundaries_advisory=_AGE_BOUNDS_S,
        )
        self._dropped = meter.create_counter(
            "ledger.webhooks.dropped",
            unit="{delivery}",
            description="Deliveries that will not be made, by why.",
        )
        self._missed = meter.create_counter(
            "ledger.webhooks.missed",
            unit="{event}",
            description="Events that the stream let go before they were put on their way; nobody is told of them.",
        )
        self._disabled = meter.create_counter(
            "ledger.webhooks.endpoints.disabled",
            unit="{endpoint}",
            description="Endpoints that were disabled, by why.",
        )
        self._forgotten = meter.create_counter(
            "ledger.webhooks.forgotten",
            unit="{delivery}",
            description="Ended deliveries that were deleted, by age or number.",
        )

    @contextmanager
    def attempt(
        self,
        *,
        trace_parent: str | None,
        event_type: str,
        endpoint_id: str,
        url: str,
        attempt: int,
    ) -> Iterator[AttemptSpan]:
        """Record one attempt as a CLIENT span and in the metrics."""
        context = self._propagator.extract({"traceparent": trace_parent} if trace_parent else {})
        span = self._telemetry.tracer.start_span(
            SPAN_NAME,
            context=context,
            kind=SpanKind.CLIENT,
            attributes={
                **receiver_attributes(url),
                "peer.service": _PEER,
                "http.request.method": "POST",
                "http.request.resend_count": attempt - 1,
                "ledger.webhook.event_type": event_type,
                "ledger.webhook.endpoint_id": endpoint_id,
            },
        )
        began = time.perf_counter()
        result = AttemptSpan()
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield result
        finally:
            if result.status is not None:
                span.set_attribute("http.response.status_code", result.status)
            if result.outcome != "delivered":
                span.set_attribute("error.type", result.reason or "cancelled")
                span.set_status(StatusCode.ERROR)
            span.end()
            if result.reason:  # an attempt that was cut off is not counted: it is made again
                attributes = {
                    "ledger.webhook.outcome": result.outcome,
                    "ledger.webhook.reason": result.reason,
                }
                self.totals["attempts", result.reason] += 1
                self._attempts.add(1, attributes)
                self._duration.record(
                    time.perf_counter() - began,
                    {"ledger.webhook.outcome": result.outcome},
                    context=trace.set_span_in_context(span),
                )

    def delivered(self, age_s: float) -> None:
        """Record how old an event was when it was delivered."""
        self._age.record(max(age_s, 0.0))

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count deliveries that will not be made.

        The reason is `queue_full`, `disabled`, `used_up`, `gone`, `expired`, `refused` or `before_registration`, or
        `unreadable` for an event.
        """
        if not count:
            return
        self.totals["dropped", reason] += count
        self._dropped.add(count, {"ledger.webhook.reason": reason})

    def missed(self, count: int) -> None:
        """Count events that never came here, whosever they were."""
        self.totals["missed", ""] += count
        self._missed.add(count)

    def disabled(self, reason: str) -> None:
        """Count an endpoint that was disabled."""
        self.totals["disabled", reason] += 1
        self._disabled.add(1, {"ledger.webhook.reason": reason})

    def forgotten(self, reason: str, count: int) -> None:
        """Count ended deliveries that were deleted, by `age` or by `number`."""
        if count:
            self._forgotten.add(count, {"ledger.webhook.reason": reason})

    def observe(self, read: Callable[[], Standing]) -> None:
        """Export what there is: waiting deliveries, the oldest one's age, attempts under way, endpoints by state, and whose fail."""

        def waiting(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().waiting_count)]

        def oldest(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().oldest_s)]

        def in_flight(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().in_flight_count)]

        def lookups(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().lookups_count)]

        def events(_: CallbackOptions) -> list[Observation]:
            # Not the consumers' gauge of the poster: what waits there are transfers that nobody has decided.
            count = read().events_pending_count
            return [] if count is None else [Observation(count)]

        def endpoints(_: CallbackOptions) -> list[Observation]:
            return [
                Observation(count, {"ledger.webhook.state": state})
                for state, count in read().endpoint_counts.items()
            ]

        def tenants(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().tenants_count)]

        def tenants_failing(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().tenants_failing_count)]

        def receivers_failing(_: CallbackOptions) -> list[Observation]:
            return [Observation(read().receivers_failing_count)]

        meter = self._telemetry.meter
        for name, unit, callback in (
            ("ledger.webhooks.waiting", "{delivery}", waiting),
            ("ledger.webhooks.oldest", "s", oldest),
            ("ledger.webhooks.in_flight", "{attempt}", in_flight),
            ("ledger.webhooks.lookups", "{lookup}", lookups),
            ("ledger.webhooks.endpoints", "{endpoint}", endpoints),
            ("ledger.webhooks.events.pending", "{event}", events),
            ("ledger.webhooks.tenants", "{tenant}", tenants),
            ("ledger.webhooks.tenants.failing", "{tenant}", tenants_failing),
            ("ledger.webhooks.receivers.failing", "{receiver}", receivers_failing),
        ):
            meter.create_observable_gauge(name, callbacks=[callback], unit=unit)
