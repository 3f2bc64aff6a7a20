"""The one file that names the ledger's spans, metrics and log events.

One trace follows a transfer: the edge's SERVER span, a PRODUCER span for the publish, a CONSUMER
span (the producer's child, through the message's traceparent), and a CLIENT span for the commit
the message took part in.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sentinel.reference.ledger.telemetry.lines import LineLimit, write_line

EDGE_SERVICE: Final = "ledger-edge"
POSTER_SERVICE: Final = "ledger-poster"
DISBURSER_SERVICE: Final = "ledger-disburser"
ANALYTICS_SERVICE: Final = "ledger-analytics"
RECONCILE_SERVICE: Final = "ledger-reconcile"
DESTINATION: Final = "ledger.transfers"

_SCOPE: Final = "ledger"
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_HTTP_BOUNDS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_DB_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_AGE_BOUNDS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Event(StrEnum):
    """Names of log events: stable, so that a line can be counted and looked up."""

    EDGE_STARTED = "edge.started"
    EDGE_STOPPED = "edge.stopped"
    EDGE_PUBLISH_FAILED = "edge.publish_failed"
    EDGE_READ_FAILED = "edge.read_failed"
    EDGE_REQUEST_FAILED = "edge.request_failed"
    DISBURSING_STARTED = "disbursing.started"
    DISBURSING_STOPPED = "disbursing.stopped"
    DISBURSING_FAILED = "disbursing.failed"
    POSTING_STARTED = "posting.started"
    POSTING_STOPPED = "posting.stopped"
    POSTING_BATCH_FAILED = "posting.batch_failed"
    POSTING_BATCH_RECOVERED = "posting.batch_recovered"
    POSTING_CONFLICT = "posting.conflict"
    POSTING_DEAD_LETTERED = "posting.dead_lettered"
    POSTING_FETCH_FAILED = "posting.fetch_failed"
    ANALYTICS_STARTED = "analytics.started"
    ANALYTICS_STOPPED = "analytics.stopped"
    ANALYTICS_FAILED = "analytics.failed"
    ANALYTICS_UNREADABLE = "analytics.unreadable"
    ANALYTICS_EXPIRED = "analytics.expired"
    ANALYTICS_MISSED = "analytics.missed"
    RECONCILE_STARTED = "reconcile.started"
    RECONCILE_STOPPED = "reconcile.stopped"
    RECONCILE_FAILED = "reconcile.failed"
    RECONCILE_DRIFT = "reconcile.drift"
    RECONCILE_AGREES = "reconcile.agrees"
    RELAY_FAILED = "relay.failed"
    RELAY_RECOVERED = "relay.recovered"
    RELAY_DROPPED = "relay.dropped"
    AUDIT_STARTED = "audit.started"
    AUDIT_STOPPED = "audit.stopped"
    AUDIT_FAILED = "audit.failed"
    AUDIT_RECOVERED = "audit.recovered"
    AUDIT_BEGUN = "audit.begun"
    AUDIT_SLOT_LOST = "audit.slot_lost"
    AUDIT_UNWITNESSED = "audit.unwitnessed"
    WITNESS_STARTED = "witness.started"
    WITNESS_STOPPED = "witness.stopped"
    WITNESS_REFUSED = "witness.refused"
    NATS_DISCONNECTED = "nats.disconnected"
    NATS_RECONNECTED = "nats.reconnected"
    NATS_ERROR = "nats.error"


@dataclass(slots=True)
class RequestSpan:
    """What the handler of one request reports back; `route` is known once it was matched."""

    status: int = 500
    error_type: str = ""


@dataclass(slots=True)
class BatchSpans:
    """The CONSUMER spans of one attempt at a batch, and the commit spans below them."""

    _telemetry: Telemetry
    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def commit(self, namespace: str) -> Iterator[None]:
        """Record the commit that every message of the batch takes part in, in each one's trace."""
        attributes = _db_attributes("COMMIT", "transactions", namespace)
        attributes["db.operation.batch.size"] = len(self.spans)
        started = [
            self._telemetry.tracer.start_span(
                "COMMIT transactions",
                context=trace.set_span_in_context(parent),
                kind=SpanKind.CLIENT,
                attributes=attributes,
            )
            for parent in self.spans
        ]
        began = time.perf_counter()
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            for span in started:
                _end_query(span, failure)
            self._telemetry.record_query("COMMIT", "transactions", namespace, began, failure)

    def outcome(self, index: int, outcome: str) -> None:
        """Note on the message's span what became of its transfer."""
        self.spans[index].set_attribute("ledger.transfer.outcome", outcome)


class Telemetry:
    """Spans, metrics and log lines of one process."""

    def __init__(
        self,
        *,
        service: str,
        tracers: TracerProvider,
        meters: MeterProvider,
        loggers: LoggerProvider,
    ) -> None:
        self.service = service
        self.tracer = tracers.get_tracer(_SCOPE)
        self._providers = (tracers, meters, loggers)
        self._logger = loggers.get_logger(_SCOPE)
        self._propagator = TraceContextTextMapPropagator()
        self._lines = LineLimit()
        self._meter = meter = meters.get_meter(_SCOPE)
        self._http_duration = meter.create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_HTTP_BOUNDS_S,
        )
        self._db_duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_DB_BOUNDS_S,
        )
        self._age = meter.create_histogram(
            "ledger.transfer.age",
            unit="s",
            description="Time from the edge's acceptance of a transfer to its commit.",
            explicit_bucket_boundaries_advisory=_AGE_BOUNDS_S,
        )
        self._accepted = meter.create_counter(
            "ledger.transfers.accepted",
            unit="{transfer}",
            description="Requests that a stream took: transfers, steps, each item of a batch, expiries.",
        )
        self._posted = meter.create_counter(
            "ledger.transfers.posted", unit="{transfer}", description="Transfers posted."
        )
        self._rejected = meter.create_counter(
            "ledger.transfers.rejected", unit="{transfer}", description="Transfers rejected."
        )
        self._repeated = meter.create_counter(
            "ledger.transfers.repeated",
            unit="{transfer}",
            description="Messages whose key was decided before: replays and conflicts.",
        )
        self._dead = meter.create_counter(
            "ledger.transfers.dead_lettered",
            unit="{message}",
            description="Messages given up and kept on the dead-letter subject.",
        )
        self._disbursed = meter.create_counter(
            "ledger.disbursements.moved",
            unit="{disbursement}",
            description="Disbursements by the state they came into, and the return code they came back with.",
        )
        self._refused = meter.create_counter(
            "ledger.edge.refused",
            unit="{request}",
            description="Requests refused because too many were in flight.",
        )
        self._malformed = meter.create_counter(
            "ledger.edge.malformed",
            unit="{request}",
            description="What came as a request and was none, by the kind of failure.",
        )

    @property
    def meter(self) -> Meter:
        """Where a part of the ledger makes the metrics that only it has."""
        return self._meter

    @contextmanager
    def request(
        self, *, method: str, route: str, path: str, headers: Mapping[str, str]
    ) -> Iterator[RequestSpan]:
        """Record one HTTP request as a SERVER span and in `http.server.request.duration`.

        The status given back is recorded; 5xx makes the span an error, as the convention says.
        """
        known = method if method in _METHODS else "_OTHER"
        verb = known if known != "_OTHER" else "HTTP"
        attributes: dict[str, str | int] = {"http.request.method": known, "url.scheme": "http"}
        if route:
            attributes["http.route"] = route
        span = self.tracer.start_span(
            f"{verb} {route}" if route else verb,
            context=self._propagator.extract(_lower(headers)),
            kind=SpanKind.SERVER,
            attributes={**attributes, "url.path": path},
        )
        began = time.perf_counter()
        result = RequestSpan()
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield result
        finally:
            attributes["http.response.status_code"] = result.status
            span.set_attribute("http.response.status_code", result.status)
            if result.status >= 500:
                attributes["error.type"] = result.error_type or str(result.status)
                span.set_attribute("error.type", attributes["error.type"])
                span.set_status(StatusCode.ERROR)
            span.end()
            self._http_duration.record(
                time.perf_counter() - began, attributes, context=trace.set_span_in_context(span)
            )

    @contextmanager
    def publish(self, *, message_id: str) -> Iterator[dict[str, str]]:
        """Record a publish as a PRODUCER span; yields the headers that carry its context."""
        span = self.tracer.start_span(
            f"publish {DESTINATION}",
            kind=SpanKind.PRODUCER,
            attributes={
                **_messaging_attributes("publish", "send"),
                "messaging.message.id": message_id,
            },
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=trace.set_span_in_context(span))
        failure: BaseException | None = None
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield carrier
        except BaseException as error:
            failure = error
            raise
        finally:
            _end(span, failure)

    @contextmanager
    def query(self, operation: str, collection: str, namespace: str) -> Iterator[None]:
        """Record one database operation as a CLIENT span and in the operation histogram."""
        span = self.tracer.start_span(
            f"{operation} {collection}",
            kind=SpanKind.CLIENT,
            attributes=_db_attributes(operation, collection, namespace),
        )
        began = time.perf_counter()
        failure: BaseException | None = None
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            _end_query(span, failure)
            self.record_query(operation, collection, namespace, began, failure)

    @contextmanager
    def process(self, messages: Sequence[tuple[Mapping[str, str], int]]) -> Iterator[BatchSpans]:
        """Record one attempt at a batch: a CONSUMER span for each message, as producer's child.

        Args:
            messages: headers and delivery count of each message.
        """
        batch = BatchSpans(self)
        for headers, delivery_count in messages:
            span = self.tracer.start_span(
                f"process {DESTINATION}",
                context=self._propagator.extract(_lower(headers)),
                kind=SpanKind.CONSUMER,
                attributes={
                    **_messaging_attributes("process", "process"),
                    "messaging.batch.message_count": len(messages),
                    "messaging.nats.delivery_count": delivery_count,
                },
            )
            batch.spans.append(span)
        failure: BaseException | None = None
        try:
            yield batch
        except BaseException as error:
            failure = error
            raise
        finally:
            for span in batch.spans:
                _end(span, failure)

    def record_query(
        self,
        operation: str,
        collection: str,
        namespace: str,
        began: float,
        failure: BaseException | None,
    ) -> None:
        """Add one operation that began at `began` (perf_counter) to the histogram."""
        attributes = _db_attributes(operation, collection, namespace)
        if failure is not None:
            attributes.update(_db_error_attributes(failure))
        self._db_duration.record(time.perf_counter() - began, attributes)

    def transfers_accepted(self, count: int) -> None:
        """Count what a stream has taken; what it recognised as taken before is not counted again."""
        self._accepted.add(count)

    def transfer_posted(self, age_s: float) -> None:
        """Count a posted transfer and how long after its acceptance it was committed."""
        self._posted.add(1)
        self._age.record(max(age_s, 0.0))

    def transfer_rejected(self, reason: str) -> None:
        """Count a rejected transfer."""
        self._rejected.add(1, {"ledger.reject.reason": reason})

    def transfer_repeated(self, outcome: str) -> None:
        """Count a message whose key had been decided before."""
        self._repeated.add(1, {"ledger.transfer.outcome": outcome})

    def dead_lettered(self, reason: str) -> None:
        """Count a message that was given up."""
        self._dead.add(1, {"ledger.reject.reason": reason})

    def disbursement_moved(self, state: str, return_code: str) -> None:
        """Count a disbursement that came into another state."""
        self._disbursed.add(
            1, {"ledger.disbursement.state": state, "ledger.return.code": return_code}
        )

    def request_refused(self) -> None:
        """Count a request refused because too many were in flight."""
        self._refused.add(1)

    def request_malformed(self, failure: str) -> None:
        """Count what came as a request and was none; `failure` is the name of an exception's class."""
        self._malformed.add(1, {"error.type": failure})

    def observe_consumer(self, read: Callable[[], tuple[int, int] | None]) -> None:
        """Export what `read` last saw: messages not yet delivered, and delivered but not acked."""
        for index, name in enumerate(("ledger.consumer.pending", "ledger.consumer.ack_pending")):
            self._gauge(name, "{message}", partial(_single, read, index))

    def observe_pool(self, pool: str, read: Callable[[], tuple[int, int]]) -> None:
        """Export a connection pool's idle and used connections."""

        def observe() -> list[Observation]:
            idle, used = read()
            name = {"db.client.connection.pool.name": pool}
            return [
                Observation(idle, {**name, "db.client.connection.state": "idle"}),
                Observation(used, {**name, "db.client.connection.state": "used"}),
            ]

        self._gauge("db.client.connection.count", "{connection}", observe)

    def info(self, event: Event, message: str, **fields: str | int | float) -> None:
        """Log that what an operator did worked, or that something recovered."""
        self._log(event, message, SeverityNumber.INFO, None, fields)

    def warning(
        self, event: Event, message: str, *, span: Span | None = None, **fields: str | int | float
    ) -> None:
        """Log a failure that the ledger recovers from by itself."""
        self._log(event, message, SeverityNumber.WARN, span, fields)

    def error(
        self, event: Event, message: str, *, span: Span | None = None, **fields: str | int | float
    ) -> None:
        """Log a failure; `span` is the one it happened in, when it is not the current one."""
        self._log(event, message, SeverityNumber.ERROR, span, fields)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Export what is queued, then stop; gives up after `timeout_s`."""
        workers = [
            threading.Thread(target=provider.shutdown, daemon=True) for provider in self._providers
        ]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + timeout_s
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0.0))

    def _gauge(self, name: str, unit: str, observe: Callable[[], list[Observation]]) -> None:
        def callback(_: CallbackOptions) -> list[Observation]:
            return observe()

        self._meter.create_observable_gauge(name, callbacks=[callback], unit=unit)

    def _log(
        self,
        event: Event,
        message: str,
        severity: SeverityNumber,
        span: Span | None,
        fields: Mapping[str, str | int | float],
    ) -> None:
        allowed, suppressed_count = self._lines.allow(event, time.monotonic())
        if not allowed:
            return
        if suppressed_count:
            fields = {**fields, "suppressed_count": suppressed_count}
        span = span or trace.get_current_span()
        level = severity.name if severity is not SeverityNumber.WARN else "WARNING"
        write_line(level, self.service, message, event=event, span=span, fields=fields)
        self._logger.emit(
            timestamp=time.time_ns(),
            context=trace.set_span_in_context(span),
            severity_number=severity,
            severity_text=level,
            body=message,
            attributes=dict(fields),
            event_name=event,
        )


def _messaging_attributes(name: str, kind: str) -> dict[str, str]:
    return {
        "messaging.system": "nats",
        "messaging.destination.name": DESTINATION,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }


def _db_attributes(operation: str, collection: str, namespace: str) -> dict[str, str | int]:
    return {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.collection.name": collection,
        "db.namespace": namespace,
    }


def _error_type(failure: BaseException) -> str:
    code = getattr(failure, "code", "")
    return code if isinstance(code, str) and code else type(failure).__name__


def _db_error_attributes(failure: BaseException) -> dict[str, str]:
    kind = _error_type(failure)
    if not _SQLSTATE.fullmatch(kind):
        return {"error.type": kind}  # the server did not answer, so it gave no code
    return {"error.type": kind, "db.response.status_code": kind}


def _end(span: Span, failure: BaseException | None) -> None:
    """End a span; a failure makes it an error with its type and one line, without a stack."""
    if failure is not None:
        span.set_attribute("error.type", _error_type(failure))
        span.set_status(StatusCode.ERROR, str(failure)[:200])
    span.end()


def _end_query(span: Span, failure: BaseException | None) -> None:
    if failure is not None:
        span.set_attributes(_db_error_attributes(failure))
    _end(span, failure)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the two trace headers with lower-case names: servers on the way may rewrite case."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: lowered[name] for name in ("traceparent", "tracestate") if name in lowered}


def _single(read: Callable[[], tuple[int, int] | None], index: int) -> list[Observation]:
    pair = read()
    return [] if pair is None else [Observation(pair[index])]
