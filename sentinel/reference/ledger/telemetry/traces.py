"""The ledger's spans, and the two durations that are measured with them.

One trace follows a transfer: the edge's SERVER span, a PRODUCER span for the publish, and for each message and attempt a
CONSUMER span, the producer's child through the message's traceparent, and a CLIENT span for the commit it took part in. A
batch has a trace of its own: one span that links to the producer of each of its messages. Each CONSUMER span links to the
batch and says what became of its transfer; all say at which place of the database's log it was committed. An event that is told
of a transfer carries the context of its CONSUMER span: whoever reads events links to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sentinel.reference.ledger.telemetry.attributes import (
    DESTINATION,
    EVENTS,
    Attributes,
    database_attributes,
    database_error_attributes,
    messaging_attributes,
    request_attributes,
)
from sentinel.reference.ledger.telemetry.spans import SCOPE, OpenSpan, Recorder, trace_parent

_PROCESS: Final = f"process {DESTINATION}"
_BATCH: Final = f"batch {DESTINATION}"
_COMMIT: Final = ("COMMIT", "transactions")
_PUBLISH: Final = f"publish {DESTINATION}"
_PROCESS_EVENTS: Final = f"process {EVENTS}"
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
        trace_parents: each message's own place in its trace, for what is told of it afterwards; None where nothing is traced.
        outcomes: what became of each message, in order; none when the attempt failed.
        lsn: a place in the database's log that the commit lies at or before, "" when it is not known.
        commit_ns: when the database transaction began and ended, None while there is none.
        commit_failure: why there was no commit.
    """

    span: Span
    trace_parents: Sequence[str | None]
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
        self._spans = Recorder(tracers)
        # For spans of parts that have few.
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
        span = self._spans.begin(name, SpanKind.SERVER, common, parent=self._parent(headers))
        current = span.current
        began = time.perf_counter()
        result = RequestSpan()
        try:
            with trace.use_span(current, record_exception=False, set_status_on_exception=False):
                yield result
        finally:
            ended: dict[str, str | int] = {"http.response.status_code": result.status}
            if result.status >= 500:
                ended["error.type"] = result.error_type or str(result.status)
            told = {**common, **ended}
            span.attributes = {**told, "url.path": path}
            span.end(is_error=result.status >= 500)
            self._http_duration.record(
                time.perf_counter() - began, told, context=trace.set_span_in_context(current)
            )

    @contextmanager
    def publish(self, *, message_id: str) -> Iterator[dict[str, str]]:
        """Record a publish as a PRODUCER span; yields the headers that carry its context."""
        attributes = {
            **messaging_attributes("publish", "send"),
            "messaging.message.id": message_id,
        }
        span = self._spans.begin(_PUBLISH, SpanKind.PRODUCER, attributes, parent=_current())
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=trace.set_span_in_context(span.current))
        failure: BaseException | None = None
        try:
            yield carrier
        except BaseException as error:
            failure = error
            raise
        finally:
            span.end(failure)

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
        attributes = {
            **database_attributes(operation, collection, namespace),
            "ledger.read.source": source,
        }
        span = self._spans.begin(
            f"{operation} {collection}", SpanKind.CLIENT, attributes, parent=_current()
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

        The messages' spans are told what they are when the attempt is over: all is known then, and a span that is told
        it piece by piece costs nearly twice as much.

        Args:
            messages: headers and delivery count of each message.
            cohort: whose stream they came from.
        """
        began_ns = time.time_ns()
        parents = [self._parent(headers) for headers, _ in messages]
        attributes: Attributes = {
            "messaging.system": "nats",
            "messaging.destination.name": DESTINATION,
            "messaging.destination.partition.id": str(cohort),
            "messaging.batch.message_count": len(messages),
        }
        # No message's trace is the batch's.
        span = self._spans.begin(_BATCH, SpanKind.INTERNAL, attributes, parent=None)
        # They begin now, for what is told of a transfer names its span before that has ended.
        ones = [
            self._spans.begin(_PROCESS, SpanKind.CONSUMER, {}, parent=parent, start_ns=began_ns)
            for parent in parents
        ]
        batch = BatchSpan(span.current, [trace_parent(one.context) for one in ones], self)
        failure: BaseException | None = None
        try:
            yield batch
        except BaseException as error:
            failure = error
            raise
        finally:
            ended_ns = time.time_ns()
            place: Attributes = {"ledger.commit.lsn": batch.lsn} if batch.lsn else {}
            span.attributes = {**attributes, **place}
            span.end(
                failure,
                links=[Link(parent) for parent in parents if parent is not None],
                ended_ns=ended_ns,
            )
            link = (Link(span.context),)
            common = {**messaging_attributes("process", "process"), **place}
            commit = {**database_attributes(*_COMMIT, batch.namespace), **place}
            if len(messages) > 1:  # one alone is no batch, the conventions say
                commit["db.operation.batch.size"] = len(messages)
            for index, one in enumerate(ones):
                told = {**common, "messaging.nats.delivery_count": messages[index][1]}
                if index < len(batch.outcomes):
                    told["ledger.transfer.outcome"] = batch.outcomes[index]
                one.attributes = told
                self._commit_below(one, batch, commit)
                one.end(failure, links=link, ended_ns=ended_ns)

    @contextmanager
    def process_events(self, messages: Sequence[Mapping[str, str]]) -> Iterator[None]:
        """Record the processing of events, by their headers, as one CONSUMER span that links to the transfer of each.

        No transfer's trace is made longer by it: the events of many are one piece of work.
        """
        parents = [self._parent(headers) for headers in messages]
        attributes: Attributes = {
            **messaging_attributes("process", "process", EVENTS),
            "messaging.batch.message_count": len(messages),
        }
        span = self._spans.begin(_PROCESS_EVENTS, SpanKind.CONSUMER, attributes, parent=None)
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            span.end(failure, links=[Link(one) for one in parents if one is not None])

    def _commit_below(self, parent: OpenSpan, batch: BatchSpan, attributes: Attributes) -> None:
        """Record in a message's trace the commit that it took part in with the others."""
        if batch.commit_ns is None:
            return
        began_ns, ended_ns = batch.commit_ns
        span = self._spans.begin(
            "COMMIT transactions",
            SpanKind.CLIENT,
            attributes,
            parent=parent.context,
            start_ns=began_ns,
        )
        _end_query(span, batch.commit_failure, ended_ns)

    def _parent(self, headers: Mapping[str, str]) -> SpanContext | None:
        """Return the context that the headers carry, None when they carry none."""
        carried = _trace_headers(headers)
        if not carried:
            return None
        context = trace.get_current_span(self._propagator.extract(carried)).get_span_context()
        return context if context.is_valid else None

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


def _end_query(span: OpenSpan, failure: BaseException | None, ended_ns: int | None = None) -> None:
    if failure is not None:
        span.attributes = {**span.attributes, **database_error_attributes(failure)}
    span.end(failure, ended_ns=ended_ns)


def _current() -> SpanContext:
    return trace.get_current_span().get_span_context()


def _trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the two trace headers with lower-case names: servers on the way may rewrite case."""
    return {
        name: value
        for given, value in headers.items()
        if len(given) in (10, 11) and (name := given.lower()) in ("traceparent", "tracestate")
    }
