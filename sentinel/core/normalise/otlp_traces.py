"""OTLP traces to calls, as rows that become columns later, many requests' together.

Nothing here looks at a span twice. The loop takes a span's kind, name, status and those attributes that a rule of
`span_rules` reads, all as bytes, and joins them into one key; what the key means (place, failed or not) is worked
out once and kept. What a sender is told of its request is known then; columns are made by `CallTable`, see there.

The caches are bounded: when one is full it is emptied before the next request, which costs an attacker's sender
speed and nobody memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from operator import sub
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from sentinel.core.model import CallRows, RejectReason, SampleBatch
from sentinel.core.normalise import span_rules
from sentinel.core.normalise.call_table import NO_SERIES, CallTable
from sentinel.core.normalise.labels import text_of
from sentinel.core.normalise.otlp_schema import Status, TracesRequest
from sentinel.core.normalise.otlp_values import ResourceNames, attributes_of
from sentinel.errors import MalformedInputError

FUTURE_MAX_NS = 300 * 10**9
"""A sample stamped further ahead of the receive clock is refused: its clock is wrong."""

DURATION_MAX_NS = 24 * 3600 * 10**9
"""Nothing takes longer: a start in 1970 is a clock that was never set, and no call of 56 years."""

_CLASSES_MAX = 8192
_KEY_BYTES_MAX = 1024
_STATUS_ERROR = 2


def _wanted_lengths(keys: frozenset[str]) -> bytes:
    """A table by key length: is there any wanted key of this length? One index decides for most attributes."""
    lengths = {len(key) for key in keys}
    return bytes(length in lengths for length in range(256))


_WANTED = {
    kind: (_wanted_lengths(keys), frozenset(key.encode() for key in keys))
    for kind, keys in span_rules.ATTRIBUTES_BY_KIND.items()
}


_KINDS = 8
"""Room for the kinds of spans in a table of two halves: those that did not fail, and those that did."""


class _Hint(NamedTuple):
    """Where an instrumentation last put the three attributes that decide about a SERVER span.

    With method, route and status code all found, no other attribute can change the answer (see `span_rules`), so a
    span that has them in the same positions need not be searched. Any other span is.
    """

    last: int
    at: tuple[int, int, int]
    starts: tuple[bytes, bytes, bytes]


_NO_HINT = _Hint(last=1 << 30, at=(0, 0, 0), starts=(b"", b"", b""))


def _hint_of(attributes: Sequence[bytes]) -> _Hint | None:
    found: list[tuple[int, bytes]] = []
    for names in span_rules.SERVER_COMPLETE:
        position = next(
            (
                (index, start)
                for start in (
                    b"\n" + bytes([len(name)]) + name.encode() + b"\x12" for name in names
                )
                for index, attribute in enumerate(attributes)
                if attribute.startswith(start)
            ),
            None,
        )
        if position is None:
            return None
        found.append(position)
    (a, start_a), (b, start_b), (c, start_c) = found
    return _Hint(last=max(a, b, c), at=(a, b, c), starts=(start_a, start_b, start_c))


class TracesDecoder:
    """Decodes trace requests; holds bounded caches, so one is kept for the life of a receiver."""

    def __init__(self) -> None:
        self._resources = ResourceNames()
        self._table = CallTable()
        # The class of a span, found by the bytes that decide it.
        self._tables: dict[str, list[dict[bytes, int]]] = {}
        self._without_series = 0
        self._hints: dict[str, _Hint] = {}
        # Keys that a hint found, by whether the status says that the span failed; see `_classify`.
        self._complete: dict[str, tuple[dict[bytes, int], dict[bytes, int]]] = {}

    def decode(self, body: bytes, *, now_ns: int) -> SampleBatch:
        """The calls of one `ExportTraceServiceRequest`.

        Args:
            body: the message in protobuf.
            now_ns: when it was received.

        Raises:
            MalformedInputError: it is not valid protobuf.
        """
        try:
            request = TracesRequest.FromString(body)
        except DecodeError as error:
            msg = "the body is not a valid OTLP traces request"
            raise MalformedInputError(msg) from error
        return self.decode_message(request, now_ns=now_ns)

    def decode_message(self, request: Any, *, now_ns: int) -> SampleBatch:  # noqa: ANN401, RUF100
        """As `decode`, for a message of `otlp_schema`, such as one made from JSON."""
        if len(self._table) + len(self._tables) + self._without_series > _CLASSES_MAX:
            self._forget_classes()
        spans: list[Any] = []
        classes: list[int] = []
        services: set[str] = set()
        versions: set[tuple[str, str]] = set()
        for resource_spans in request.resource_spans:
            labels = self._resources.labels(resource_spans.resource)
            service = labels.service
            services.add(service)
            if labels.version:
                versions.add(labels)
            for scope_spans in resource_spans.scope_spans:
                group = list(scope_spans.spans)
                spans += group
                try:
                    self._classify(service, group, classes)
                except IndexError:
                    # An attribute of less than two bytes; so rare that the loop does not ask each one.
                    del classes[len(spans) - len(group) :]
                    self._classify(service, [_Trimmed(span) for span in group], classes)
        if not spans:
            return SampleBatch(services=frozenset(services), versions=frozenset(versions))
        return self._batch(spans, classes, frozenset(services), frozenset(versions), now_ns=now_ns)

    def _forget_classes(self) -> None:
        # A new table: rows that are no columns yet go by the old one.
        self._table = CallTable()
        self._tables.clear()
        self._hints.clear()
        self._complete.clear()
        self._without_series = 0

    def _classify(self, service: str, spans: Sequence[Any], classes: list[int]) -> None:
        """Append the class of each span, or `NO_SERIES`."""
        tables = self._tables.get(service)
        if tables is None:
            tables = self._tables[service] = [{} for _ in range(2 * _KINDS)]
        append = classes.append
        hint = self._hints.get(service, _NO_HINT)
        last, (at_0, at_1, at_2), (start_0, start_1, start_2) = hint
        sound, failed = self._complete.setdefault(service, ({}, {}))
        server = span_rules.SERVER
        for span in spans:
            kind = span.kind
            wanted = _WANTED.get(kind)
            if wanted is None:
                append(NO_SERIES)
                continue
            key = span.name
            attributes = span.attributes
            known: dict[bytes, int] | None = None
            if kind == server and len(attributes) > last:
                first, second, third = attributes[at_0], attributes[at_1], attributes[at_2]
                whole = key + first + second + third
                status = span.status
                known = failed if status and _is_error(status) else sound
                number = known.get(whole)
                if number is not None:
                    append(number)
                    continue
                if (
                    first.startswith(start_0)
                    and second.startswith(start_1)
                    and third.startswith(start_2)
                ):
                    key = whole
                else:
                    known = None
            if known is None:
                lengths, keys = wanted
                for attribute in attributes:
                    # attribute[1] is the key's length; the slice is only made when some wanted key is that long.
                    if lengths[attribute[1]] and attribute[2 : 2 + attribute[1]] in keys:
                        key += attribute
            status = span.status
            table = tables[kind + _KINDS if status and _is_error(status) else kind]
            number = table.get(key)
            if number is None:
                number = self._learn(service, span, key, table)
                hint = self._hints.get(service, _NO_HINT)
                last, (at_0, at_1, at_2), (start_0, start_1, start_2) = hint
            if known is not None and len(key) <= _KEY_BYTES_MAX:
                # Keys of nothing but method, route and status code: equal bytes are then the same three.
                known[key] = number
            append(number)

    def _learn(self, service: str, span: Any, key: bytes, table: dict[bytes, int]) -> int:  # noqa: ANN401, RUF100
        """The class of a span whose key is new."""
        kind = span.kind
        attributes = attributes_of(span.attributes, span_rules.ATTRIBUTES_BY_KIND[kind])
        scope = span_rules.scope_of(service, kind, text_of(span.name), attributes)
        if scope is None:
            if len(key) <= _KEY_BYTES_MAX:
                self._without_series += 1
                table[key] = NO_SERIES
            return NO_SERIES
        error = span_rules.has_failed(
            kind, status_is_error=_is_error(span.status), attributes=attributes
        )
        if kind == span_rules.SERVER:
            self._hints[service] = _hint_of(span.attributes) or _NO_HINT
        number = self._table.learn(scope, error=error)
        if len(key) <= _KEY_BYTES_MAX:
            table[key] = number
        return number

    def _batch(
        self,
        spans: list[Any],
        classes: list[int],
        services: frozenset[str],
        versions: frozenset[tuple[str, str]],
        *,
        now_ns: int,
    ) -> SampleBatch:
        """The rows of one request; plain lists, because numpy costs fifty spans more than it saves them."""
        span_ids = [span.span_id for span in spans]
        fingerprint = blake2b(b"".join(span_ids), digest_size=16).digest()
        if NO_SERIES in classes:
            rows = [row for row, number in enumerate(classes) if number != NO_SERIES]
            spans = [spans[row] for row in rows]
            span_ids = [span_ids[row] for row in rows]
            classes = [classes[row] for row in rows]
            if not rows:
                return SampleBatch(services=services, versions=versions, fingerprint=fingerprint)
        trace_ids = [span.trace_id for span in spans]
        start_ns = [span.start_ns for span in spans]
        end_ns = [span.end_ns for span in spans]
        took_ns = list(map(sub, end_ns, start_ns))
        latest_ns = max(now_ns, 0) + FUTURE_MAX_NS
        rejected: dict[RejectReason, int] = {}
        # Nearly every request is sound; asked all at once that costs a fifth of asking one by one.
        if not (
            min(start_ns) > 0
            and min(end_ns) > 0
            and max(end_ns) <= latest_ns
            and min(took_ns) >= 0
            and max(took_ns) <= DURATION_MAX_NS
            and _ids_are_valid(trace_ids, 16)
            and _ids_are_valid(span_ids, 8)
        ):
            faults = [
                _fault_of(*span, latest_ns=latest_ns)
                for span in zip(trace_ids, span_ids, start_ns, end_ns, strict=True)
            ]
            rejected = {reason: count for reason in _FAULTS if (count := faults.count(reason)) > 0}
            rows = [row for row, fault in enumerate(faults) if fault is None]
            classes = [classes[row] for row in rows]
            end_ns = [end_ns[row] for row in rows]
            took_ns = [took_ns[row] for row in rows]
            trace_ids = [trace_ids[row] for row in rows]
        return SampleBatch(
            call_rows=CallRows(
                table=self._table,
                number=array("i", classes),
                end_ns=array("q", end_ns),
                took_ns=array("q", took_ns),
                trace_ids=b"".join(trace_ids),
            )
            if classes
            else None,
            rejected=rejected,
            services=services,
            versions=versions,
            fingerprint=fingerprint,
        )


class _Trimmed:
    """A span without the attributes that are too short to be any."""

    __slots__ = ("attributes", "kind", "name", "status")

    def __init__(self, span: Any) -> None:  # noqa: ANN401, RUF100
        self.kind = span.kind
        self.name = span.name
        self.status = span.status
        self.attributes = [attribute for attribute in span.attributes if len(attribute) > 1]


def _is_error(status: bytes) -> bool:
    if status == b"\x18\x02":
        return True
    try:
        return bool(Status.FromString(status).code == _STATUS_ERROR)
    except DecodeError:
        return False


def _ids_are_valid(ids: list[bytes], length: int) -> bool:
    """Whether all ids have the right length and none is all zeros."""
    return set(map(len, ids)) == {length} and bytes(length) not in ids


_FAULTS = (
    RejectReason.BAD_ID,
    RejectReason.NO_TIME,
    RejectReason.FUTURE,
    RejectReason.NEGATIVE,
    RejectReason.TOO_LONG,
)
"""In the order of how sure the fault is; each span is counted once, under the first that applies."""


def _fault_of(
    trace_id: bytes, span_id: bytes, start_ns: int, end_ns: int, *, latest_ns: int
) -> RejectReason | None:
    if not (_ids_are_valid([trace_id], 16) and _ids_are_valid([span_id], 8)):
        return RejectReason.BAD_ID
    if start_ns == 0 or end_ns == 0:
        return RejectReason.NO_TIME
    if end_ns > latest_ns:
        return RejectReason.FUTURE
    if end_ns < start_ns:
        return RejectReason.NEGATIVE
    return RejectReason.TOO_LONG if end_ns - start_ns > DURATION_MAX_NS else None
