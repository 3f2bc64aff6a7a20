"""OTLP logs to log records.

A record's text is redacted as a whole only from WARN upwards, where it may be evidence; most records are below. Of one
without an event the gist is taken, by which it is counted, from INFO upwards and where the severity is not known. Text is
cut before it is redacted, so that a hostile line costs no more than a long one. What a record tells of a finished call is
found by `call_logs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from google.protobuf.message import DecodeError

from sentinel.core.model import LoggedCall, LogRecord, RejectReason, SampleBatch
from sentinel.core.normalise.call_logs import CallLogs, ToldCall
from sentinel.core.normalise.labels import label_of, text_of
from sentinel.core.normalise.otlp_schema import LogsRequest
from sentinel.core.normalise.otlp_values import ResourceNames, attributes_of, value_text
from sentinel.core.redact import redact
from sentinel.core.redact.varying import Gists
from sentinel.core.stats import log_linear
from sentinel.errors import MalformedInputError

FUTURE_MAX_NS = 300 * 10**9
BODY_CHARS_MAX = 1024
SEVERITY_INFO = 9
SEVERITY_WARN = 13

_SEVERITY_MAX = 24
_EVENTS_MAX = 4096
_EVENT_NAME = frozenset({"event.name"})
_EVENT_START = b"\n\x0aevent.name\x12"
_SEVERITIES = {
    b"TRACE": 1,
    b"DEBUG": 5,
    b"INFO": 9,
    b"NOTICE": 10,
    b"WARN": 13,
    b"WARNING": 13,
    b"ERROR": 17,
    b"CRITICAL": 21,
    b"FATAL": 21,
}


class LogsDecoder:
    """Decodes log requests; holds bounded caches, so one is kept for the life of a receiver."""

    def __init__(self) -> None:
        self._resources = ResourceNames()
        self._events: dict[bytes, str] = {}
        self._calls = CallLogs()
        self._gists = Gists()

    def decode(self, body: bytes, *, now_ns: int) -> SampleBatch:
        """The records of one `ExportLogsServiceRequest`.

        Raises:
            MalformedInputError: it is not valid protobuf, or a text is nested too deeply.
        """
        try:
            request = LogsRequest.FromString(body)
        except DecodeError as error:
            msg = "the body is not a valid OTLP logs request"
            raise MalformedInputError(msg) from error
        return self.decode_message(request, now_ns=now_ns)

    def decode_message(self, request: Any, *, now_ns: int) -> SampleBatch:  # noqa: ANN401, RUF100
        """As `decode`, for a message of `otlp_schema`, such as one made from JSON."""
        kept: list[tuple[str, Any, int, ToldCall | None]] = []
        rejected: dict[RejectReason, int] = {}
        services: set[str] = set()
        versions: set[tuple[str, str]] = set()
        digest = blake2b(digest_size=16)
        for resource_logs in request.resource_logs:
            labels = self._resources.labels(resource_logs.resource)
            service = labels.service
            services.add(service)
            if labels.version:
                versions.add(labels)
            digest.update(resource_logs.resource)
            for scope_logs in resource_logs.scope_logs:
                for raw in scope_logs.log_records:
                    time_ns = raw.time_ns or raw.observed_ns
                    if time_ns == 0:
                        rejected[RejectReason.NO_TIME] = rejected.get(RejectReason.NO_TIME, 0) + 1
                    elif time_ns > now_ns + FUTURE_MAX_NS:
                        rejected[RejectReason.FUTURE] = rejected.get(RejectReason.FUTURE, 0) + 1
                    else:
                        call = self._calls.call_of(service, raw.attributes)
                        digest.update(time_ns.to_bytes(8, "big") + raw.body + raw.trace_id)
                        if call is not None:
                            digest.update(repr(call[1:]).encode())
                        kept.append((service, raw, time_ns, call))
        calls = _logged([call for _, _, _, call in kept])
        records = [
            self._record(service, raw, time_ns, call)
            for (service, raw, time_ns, _), call in zip(kept, calls, strict=True)
        ]
        return SampleBatch(
            logs=tuple(records),
            rejected=rejected,
            services=frozenset(services),
            versions=frozenset(versions),
            fingerprint=digest.digest() if records else b"",
        )

    def _record(
        self,
        service: str,
        raw: Any,  # noqa: ANN401, RUF100
        time_ns: int,
        call: LoggedCall | None,
    ) -> LogRecord:
        severity = raw.severity
        if not 0 < severity <= _SEVERITY_MAX:
            severity = _SEVERITIES.get(raw.severity_text.upper(), 0)
        event = self._event(raw)
        text = gist = ""
        has_gist = not event and (severity == 0 or severity >= SEVERITY_INFO)
        if raw.body and (has_gist or severity >= SEVERITY_WARN):
            whole = value_text(raw.body, chars_max=BODY_CHARS_MAX)
            gist = self._gists.of(whole) if has_gist else ""
            if severity >= SEVERITY_WARN:
                # Half a card number is no card number any more, and its digits would stay.
                text = redact(whole, cut_end=len(whole) >= BODY_CHARS_MAX)
        trace_id = raw.trace_id
        return LogRecord(
            service=service,
            time_ns=time_ns,
            severity=severity,
            event=event,
            body=text,
            trace_id=trace_id.hex() if len(trace_id) == 16 and any(trace_id) else "",
            call=call,
            gist=gist,
        )

    def _event(self, raw: Any) -> str:  # noqa: ANN401, RUF100
        name = raw.event_name
        if not name:
            name = next((each for each in raw.attributes if each.startswith(_EVENT_START)), b"")
        if not name:
            return ""
        event = self._events.get(name)
        if event is None:
            text = (
                attributes_of([name], _EVENT_NAME).get("event.name", "")
                if name.startswith(_EVENT_START)
                else text_of(name)
            )
            if len(self._events) >= _EVENTS_MAX:
                self._events.clear()
            event = self._events[name[:BODY_CHARS_MAX]] = label_of(text)
        return event


def _logged(told: Sequence[ToldCall | None]) -> list[LoggedCall | None]:
    """The same calls with the buckets of their durations, found for all at once."""
    if not any(told):
        return [None] * len(told)
    duration_s = [0.0 if call is None else call.duration_s or 0.0 for call in told]
    return [
        None
        if call is None
        else LoggedCall(
            call.scope, log_linear.UNTIMED if call.duration_s is None else bucket, call.error
        )
        for call, bucket in zip(told, log_linear.bucket_of(duration_s).tolist(), strict=True)
    ]
