"""Requests of traces and logs without secrets, at the speed of what differs in them.

Most attributes of a request are the same in every span: twelve typed key-values a span cost ten times what a look into a
table does. So attributes are taken as bytes, and what each becomes is remembered, within bounds; the messages round them
are declared as far as they hold text. A request of traces in which nothing is hidden is given back byte for byte, and fields
that are not known stay. Those of logs go, because logs are written to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sentinel.core.normalise.slim_schema import Messages, message_classes
from sentinel.core.redact import FAILED
from sentinel.core.redact.otlp import OtlpRedactor
from sentinel.errors import MalformedInputError

_MESSAGES: Messages = {
    "Traces": (("groups", 1, "*message", "SpanGroup"),),
    "SpanGroup": (
        ("resource", 1, "bytes", "_resource"),
        ("scopes", 2, "*message", "SpanScope"),
        ("schema_url", 3, "bytes"),
    ),
    "SpanScope": (
        ("scope", 1, "bytes", "_scope"),
        ("items", 2, "*message", "Span"),
        ("schema_url", 3, "bytes"),
    ),
    "Span": (
        ("trace_state", 3, "bytes"),
        ("name", 5, "bytes"),
        ("attributes", 9, "*bytes"),
        ("events", 11, "*bytes"),
        ("links", 13, "*bytes"),
        ("status", 15, "bytes"),
    ),
    "Logs": (("groups", 1, "*message", "LogGroup"),),
    "LogGroup": (
        ("resource", 1, "bytes", "_resource"),
        ("scopes", 2, "*message", "LogScope"),
        ("schema_url", 3, "bytes"),
    ),
    "LogScope": (
        ("scope", 1, "bytes", "_scope"),
        ("items", 2, "*message", "Record"),
        ("schema_url", 3, "bytes"),
    ),
    "Record": (
        ("time_ns", 1, "fixed64"),
        ("severity", 2, "int32"),
        ("severity_text", 3, "bytes"),
        ("body", 5, "bytes", "_body"),
        ("attributes", 6, "*bytes"),
        ("dropped_attributes_count", 7, "uint32"),
        ("flags", 8, "fixed32"),
        ("trace_id", 9, "bytes"),
        ("span_id", 10, "bytes"),
        ("observed_ns", 11, "fixed64"),
        ("event_name", 12, "bytes"),
    ),
}
_class_of = message_classes("sentinel.otlp.rewrite", _MESSAGES)
_TRACES, _LOGS = _class_of("Traces"), _class_of("Logs")
_KNOWN_MAX = 8192
_KNOWN_BYTES_MAX = 128
_KNOWN_RESOURCE_BYTES_MAX = 4096


class OtlpRewriter:
    """Rewrites traces and logs; raises MalformedInputError for what is no OTLP. Used by one thread at a time."""

    def __init__(self, redactor: OtlpRedactor, *, keep_unknown: bool) -> None:
        """For one signal: traces keep the fields that are not known here, logs do not."""
        self._redactor = redactor
        self._keep_unknown = keep_unknown
        self._known: dict[str, dict[bytes, bytes]] = {}

    def traces(self, body: bytes) -> bytes:
        """An `ExportTraceServiceRequest` without secrets; the same bytes when there were none."""
        request = _parsed(_TRACES, body)
        changed = False
        for group in request.groups:
            changed |= self._about(group, "resource", self._resource)
            for scope in group.scopes:
                changed |= self._about(scope, "scope", self._scope)
                for span in scope.items:
                    changed |= self._one(span, "name", self._plain)
                    changed |= self._many(span.attributes, "attribute", self._attribute)
                    if span.trace_state:
                        changed |= self._one(span, "trace_state", self._plain)
                    if span.status:
                        changed |= self._one(span, "status", self._status)
                    if span.events:
                        changed |= self._many(span.events, "event", self._event)
                    if span.links:
                        changed |= self._many(span.links, "link", self._link)
        return bytes(request.SerializeToString()) if changed else body

    def logs(self, body: bytes) -> bytes:
        """An `ExportLogsServiceRequest` without secrets, and without fields that are not known here."""
        request = _parsed(_LOGS, body)
        request.DiscardUnknownFields()
        for group in request.groups:
            self._about(group, "resource", self._resource)
            for scope in group.scopes:
                self._about(scope, "scope", self._scope)
                for record in scope.items:
                    if record.HasField("body"):
                        # Nearly every one is another: nothing is gained by remembering it.
                        record.body = self._body(record.body)
                    self._many(record.attributes, "attribute", self._attribute)
                    if record.severity_text:
                        self._one(record, "severity_text", self._plain)
                    if record.event_name:
                        self._one(record, "event_name", self._plain)
        return bytes(request.SerializeToString())

    def _about(self, message: Any, name: str, rewrite: Callable[[bytes], bytes]) -> bool:  # noqa: ANN401, RUF100
        changed = False
        if message.HasField(name):
            changed = self._one(message, name, rewrite, bytes_max=_KNOWN_RESOURCE_BYTES_MAX)
        if message.schema_url:
            changed |= self._one(message, "schema_url", self._plain)
        return changed

    def _one(
        self,
        message: Any,  # noqa: ANN401, RUF100
        name: str,
        rewrite: Callable[[bytes], bytes],
        *,
        bytes_max: int = _KNOWN_BYTES_MAX,
    ) -> bool:
        raw = getattr(message, name)
        hidden = self._rewritten(name, raw, rewrite, bytes_max)
        if hidden == raw:
            return False
        setattr(message, name, hidden)
        return True

    def _many(self, raws: Any, name: str, rewrite: Callable[[bytes], bytes]) -> bool:  # noqa: ANN401, RUF100
        known = self._known.setdefault(name, {})
        changed = False
        for at, raw in enumerate(raws):
            hidden = known.get(raw)
            if hidden is None:
                hidden = self._rewritten(name, raw, rewrite, _KNOWN_BYTES_MAX)
            if hidden != raw:
                raws[at] = hidden
                changed = True
        return changed

    def _rewritten(
        self, name: str, raw: bytes, rewrite: Callable[[bytes], bytes], bytes_max: int
    ) -> bytes:
        known = self._known.setdefault(name, {})
        hidden = known.get(raw)
        if hidden is None:
            hidden = rewrite(raw)
            if len(raw) <= bytes_max and hidden == raw:
                # What holds a secret is not kept, not even as the key of what it became.
                if len(known) >= _KNOWN_MAX:
                    known.clear()
                known[raw] = raw
        return hidden

    # What each becomes. Known to the byte where nothing is hidden; else as the library writes it.

    def _plain(self, raw: bytes) -> bytes:
        text = raw.decode("utf-8", "replace")
        hidden = self._redactor.plain(text)
        return raw if hidden == text and self._keep_unknown else hidden.encode()

    def _attribute(self, raw: bytes) -> bytes:
        try:
            pair = self._part(KeyValue, raw)
        except MalformedInputError:
            # One text that is not UTF-8 must not cost the batch, nor may it pass unread.
            return bytes(
                KeyValue(key=FAILED, value=AnyValue(string_value=FAILED)).SerializeToString()
            )
        return self._written(pair, raw, changed=self._redactor.attributes((pair,)))

    def _resource(self, raw: bytes) -> bytes:
        about = self._part(Resource, raw)
        changed = self._redactor.attributes(about.attributes)
        changed |= self._redactor.entities(about.entity_refs)
        return self._written(about, raw, changed=changed)

    def _scope(self, raw: bytes) -> bytes:
        about = self._part(InstrumentationScope, raw)
        changed = self._redactor.attributes(about.attributes)
        changed |= self._redactor.fields(about, "name", "version")
        return self._written(about, raw, changed=changed)

    def _status(self, raw: bytes) -> bytes:
        status = self._part(Status, raw)
        return self._written(status, raw, changed=self._redactor.fields(status, "message"))

    def _event(self, raw: bytes) -> bytes:
        event = self._part(Span.Event, raw)
        changed = self._redactor.attributes(event.attributes)
        changed |= self._redactor.fields(event, "name")
        return self._written(event, raw, changed=changed)

    def _link(self, raw: bytes) -> bytes:
        link = self._part(Span.Link, raw)
        changed = self._redactor.attributes(link.attributes)
        changed |= self._redactor.fields(link, "trace_state")
        return self._written(link, raw, changed=changed)

    def _body(self, raw: bytes) -> bytes:
        try:
            value = self._part(AnyValue, raw)
        except MalformedInputError:
            return bytes(AnyValue(string_value=FAILED).SerializeToString())
        return self._written(value, raw, changed=self._redactor.body(value))

    def _part(self, kind: Any, raw: bytes) -> Any:  # noqa: ANN401, RUF100
        message = _parsed(kind, raw)
        if not self._keep_unknown:
            message.DiscardUnknownFields()
        return message

    def _written(self, message: Any, raw: bytes, *, changed: bool) -> bytes:  # noqa: ANN401, RUF100
        return bytes(message.SerializeToString()) if changed or not self._keep_unknown else raw


def _parsed(kind: Any, raw: bytes) -> Any:  # noqa: ANN401, RUF100
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        msg = "the body is not a valid OTLP request"
        raise MalformedInputError(msg) from error
