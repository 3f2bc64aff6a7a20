"""Spans that are made once, when they end.

The library's own span is told what it is piece by piece, under a lock, with a look at every value, and asks a sampler that lets
everything through. Here a span is a few fields until it ends; then the library's finished form is made of them and handed to its
processors, which gather and export as ever. That takes a third of the processor time, and everything is traced.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from sentinel.reference.ledger.telemetry.attributes import Attributes, error_type

SCOPE: Final = "ledger"
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)


class OpenSpan:
    """A span that has begun; `attributes` may be shared with others, and nobody changes them."""

    __slots__ = ("_kind", "_name", "_parent", "_recorder", "_start_ns", "attributes", "context")

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Attributes,
        start_ns: int,
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._kind = kind
        self._parent = parent
        self._start_ns = start_ns
        self.attributes = attributes
        self.context = recorder.new_context(parent)

    @property
    def current(self) -> NonRecordingSpan:
        """What stands for it as the current span."""
        return NonRecordingSpan(self.context)

    def end(
        self,
        failure: BaseException | None = None,
        *,
        is_error: bool = False,
        links: Sequence[Link] = (),
        ended_ns: int | None = None,
    ) -> None:
        """End it; a failure makes it an error with its type and one line of it, without a stack."""
        attributes, status = self.attributes, _UNSET
        if failure is not None:
            attributes = {"error.type": error_type(failure), **attributes}
            status = Status(StatusCode.ERROR, str(failure)[:200])
        elif is_error:
            status = Status(StatusCode.ERROR)
        self._recorder.finish(
            self._name,
            self._kind,
            self.context,
            self._parent,
            attributes,
            links,
            status,
            (self._start_ns, ended_ns or time.time_ns()),
        )


class Recorder:
    """Makes finished spans of what was recorded, and hands them to the provider's processors."""

    def __init__(self, tracers: TracerProvider) -> None:
        tracer = tracers.get_tracer(SCOPE)
        # With OTEL_SDK_DISABLED the provider's tracers are not the SDK's: nothing is traced, and no context is made up.
        self._tracer = tracer if isinstance(tracer, Tracer) else None
        self._scope = InstrumentationScope(SCOPE)

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: SpanContext | None,
        start_ns: int | None = None,
    ) -> OpenSpan:
        """Begin a span; without a valid parent it is the first of its trace."""
        if parent is not None and not parent.is_valid:
            parent = None
        return OpenSpan(self, name, kind, parent, attributes, start_ns or time.time_ns())

    def new_context(self, parent: SpanContext | None) -> SpanContext:
        """Return the context of a span below `parent`."""
        if self._tracer is None:
            return parent or INVALID_SPAN_CONTEXT
        ids = self._tracer.id_generator
        if parent is None:
            return SpanContext(
                ids.generate_trace_id(),
                ids.generate_span_id(),
                is_remote=False,
                trace_flags=_SAMPLED,
            )
        return SpanContext(
            parent.trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=_SAMPLED,
            trace_state=parent.trace_state,
        )

    def finish(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        links: Sequence[Link],
        status: Status,
        times_ns: tuple[int, int],
    ) -> None:
        """Hand on one span."""
        if self._tracer is None:
            return
        span = ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._tracer.resource,
            attributes=attributes,
            links=links,
            kind=kind,
            status=status,
            start_time=times_ns[0],
            end_time=times_ns[1],
            instrumentation_scope=self._scope,
        )
        self._tracer.span_processor.on_end(span)


def trace_parent(context: SpanContext) -> str | None:
    """Return a context as the header `traceparent` has it; None for one that nobody could follow."""
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
