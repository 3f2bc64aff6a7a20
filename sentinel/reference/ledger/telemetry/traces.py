"""The ledger's spans, and the two durations that are measured with them.

One trace follows a transfer: the edge's SERVER span, a PRODUCER span for the publish, and for each message and attempt a
CONSUMER span, the producer's child through the message's traceparent, and a CLIENT span for the commit it took part in. A
batch has a trace of its own: one span that links to the producer of each of its messages. Each CONSUMER span links to the
batch and says what became of its transfer; all say at which place of the database's log it was committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sentinel.reference.ledger.telemetry.attributes import (
    DESTINATION,
    Attributes,
    database_attributes,
    database_error_attributes,
    mark_failed,
    messaging_attributes,
    request_attributes,
)

SCOPE: Final = "ledger"
# A batch may hold as many messages as the queue hands out unacknowledged; the library's own limit is 128.
SPAN_LIMITS: Final = SpanLimits(max_links=1000)

_PROCESS: Final = f"process {DESTINATION}"
_BATCH: Final = f"batch {DESTINATION}"
_COMMIT: Final = ("COMMIT", "transactions")
_PUBLISH: Final = f"publish {DESTINATION}"
_HTTP_BOUNDS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_DB_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@dataclass(slots=True)
class RequestSpan:
    """What the handler of one request reports back."""

    status: int = 500
    error_type: str = ""


@dataclass(slots=True)
class BatchSpan:
    """One attempt at a batch, and what is to be said of it and of its messages.

    Attributes:
        span: the batch's own span.
        outcomes: what became of each message, in order; none when the attempt failed.
        lsn: a place in the database's log that the commit lies at or before, "" when it is not known.
        commit_ns: when the database transaction began and ended, None while there is none.
        commit_failure: why there was no commit.
    """

    span: Span
    _traces: Traces
    namespace: str = ""
    outcomes: Sequence[str] = ()
    lsn: str = ""
    commit_ns: tuple[int, int] | None = None
    commit_failure: BaseException | None = None

    @contextmanager
    def commit(self, namespace: str) -> Iterator[None]:
        """Record the one database transaction that all messages of the batch take part in."""
        self.namespace = namespace
        began, began_ns = time.perf_counter(), time.time_ns()
        try:
            yield
        except BaseException as error:
            self.commit_failure = error
            raise
        finally:
            self.commit_ns = (began_ns, time.time_ns())
            self._traces.record_query(*_COMMIT, namespace, began, self.commit_failure)


class Traces:
    """Spans of one process."""

    def __init__(self, tracers: TracerProvider, meter: Meter) -> None:
        self.tracer = tracers.get_tracer(SCOPE)
        self._propagator = TraceContextTextMapPropagator()
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

    @contextmanager
    def request(
        self,
        *,
        method: str,
        route: str,
        path: str,
        headers: Mapping[str, str],
        scheme: str = "http",
    ) -> Iterator[RequestSpan]:
        """Record one HTTP request as a SERVER span and in `http.server.request.duration`.

        The status given back is recorded; 5xx makes the span an error, as the convention says.

        Args:
            method: the request's, whatever it is.
            route: as it is registered, "" when none matched.
            path: as it was asked for.
            headers: the request's; their names may be in any case.
            scheme: `http`, or `https` where the edge has TLS.
        """
        name, common = request_attributes(method, route, scheme)
        span = self.tracer.start_span(
            name,
            context=self._propagator.extract(_trace_headers(headers)),
            kind=SpanKind.SERVER,
            attributes={**common, "url.path": path},
        )
        within = trace.set_span_in_context(span)
        began = time.perf_counter()
        result = RequestSpan()
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield result
        finally:
            ended: dict[str, str | int] = {"http.response.status_code": result.status}
            if result.status >= 500:
                ended["error.type"] = result.error_type or str(result.status)
                span.set_status(StatusCode.ERROR)
            span.set_attributes(ended)
            span.end()
            self._http_duration.record(
                time.perf_counter() - began, {**common, **ended}, context=within
            )

    @contextmanager
    def publish(self, *, message_id: str) -> Iterator[dict[str, str]]:
        """Record a publish as a PRODUCER span; yields the headers that carry its context."""
        span = self.tracer.start_span(
            _PUBLISH,
            kind=SpanKind.PRODUCER,
            attributes={
                **messaging_attributes("publish", "send"),
                "messaging.message.id": message_id,
            },
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=trace.set_span_in_context(span))
        failure: BaseException | None = None
        try:
            yield carrier
        except BaseException as error:
            failure = error
            raise
        finally:
            mark_failed(span, failure)
            span.end()

    @contextmanager
    def query(
        self, operation: str, collection: str, namespace: str, *, source: str = "primary"
    ) -> Iterator[None]:
        """Record one database operation as a CLIENT span and in the operation histogram.

        Args:
            operation: the verb.
            collection: the table.
            namespace: database and schema.
            source: which server is asked, `primary` or `replica`.
        """
        span = self.tracer.start_span(
            f"{operation} {collection}",
            kind=SpanKind.CLIENT,
            attributes={
                **database_attributes(operation, collection, namespace),
                "ledger.read.source": source,
            },
        )
        began = time.perf_counter()
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            _end_query(span, failure)
            self.record_query(operation, collection, namespace, began, failure)

    @contextmanager
    def process(
        self, messages: Sequence[tuple[Mapping[str, str], int]], *, cohort: int
    ) -> Iterator[BatchSpan]:
        """Record one attempt at a batch, and in each message's own trace its part in it.

        The messages' spans are made when the attempt is over: all is known then, and a span that is told it piece by
        piece costs nearly twice as much.

        Args:
            messages: headers and delivery count of each message.
            cohort: whose stream they came from.
        """
        began_ns = time.time_ns()
        parents = [self._propagator.extract(_trace_headers(headers)) for headers, _ in messages]
        span = self.tracer.start_span(
            _BATCH,
            context=Context(),  # no message's trace is the batch's
            attributes={
                "messaging.system": "nats",
                "messaging.destination.name": DESTINATION,
                "messaging.destination.partition.id": str(cohort),
                "messaging.batch.message_count": len(messages),
            },
            links=[Link(context) for context in map(_span_context, parents) if context.is_valid],
        )
        batch = BatchSpan(span, self)
        failure: BaseException | None = None
        try:
            yield batch
        except BaseException as error:
            failure = error
            raise
        finally:
            ended_ns = time.time_ns()
            place = {"ledger.commit.lsn": batch.lsn} if batch.lsn else {}
            span.set_attributes(place)
            mark_failed(span, failure)
            span.end(ended_ns)
            common = {**messaging_attributes("process", "process"), **place}
            link = (Link(span.get_span_context()),)
            commit = {**database_attributes(*_COMMIT, batch.namespace), **place}
            if len(messages) > 1:  # one alone is no batch, the conventions say
                commit["db.operation.batch.size"] = len(messages)
            for index, parent in enumerate(parents):
                attributes = {**common, "messaging.nats.delivery_count": messages[index][1]}
                if index < len(batch.outcomes):
                    attributes["ledger.transfer.outcome"] = batch.outcomes[index]
                one = self.tracer.start_span(
                    _PROCESS,
                    context=parent,
                    kind=SpanKind.CONSUMER,
                    attributes=attributes,
                    links=link,
                    start_time=began_ns,
                )
                self._commit_below(one, batch, commit)
                mark_failed(one, failure)
                one.end(ended_ns)

    def _commit_below(self, parent: Span, batch: BatchSpan, attributes: Attributes) -> None:
        """Record in a message's trace the commit that it took part in with the others."""
        if batch.commit_ns is None:
            return
        began_ns, ended_ns = batch.commit_ns
        span = self.tracer.start_span(
            "COMMIT transactions",
            context=trace.set_span_in_context(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=began_ns,
        )
        _end_query(span, batch.commit_failure, ended_ns)

    def record_query(
        self,
        operation: str,
        collection: str,
        namespace: str,
        began: float,
        failure: BaseException | None,
    ) -> None:
        """Add one operation that began at `began` (perf_counter) to the histogram."""
        attributes = database_attributes(operation, collection, namespace)
        if failure is not None:
            attributes = {**attributes, **database_error_attributes(failure)}
        self._db_duration.record(time.perf_counter() - began, attributes)


def _end_query(span: Span, failure: BaseException | None, ended_ns: int | None = None) -> None:
    if failure is not None:
        span.set_attributes(database_error_attributes(failure))
    mark_failed(span, failure)
    span.end(ended_ns)


def _span_context(context: Context) -> SpanContext:
    return trace.get_current_span(context).get_span_context()


def _trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the two trace headers with lower-case names: servers on the way may rewrite case."""
    return {
        name: value
        for given, value in headers.items()
        if len(given) in (10, 11) and (name := given.lower()) in ("traceparent", "tracestate")
    }
