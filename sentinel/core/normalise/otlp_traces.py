"""OTLP traces to calls, in columns.

Nothing here looks at a span twice. The loop takes a span's kind, name, status and those attributes that a rule of
`span_rules` reads, all as bytes, and joins them into one key; what the key means (place, failed or not) is worked
out once and kept. Times and ids become numpy columns after the loop, for the whole request at once.

The caches are bounded: when one is full it is emptied before the next request, which costs an attacker's sender
speed and nobody memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from sentinel.core.model import CallColumns, CallExemplar, RejectReason, SampleBatch, Scope
from sentinel.core.normalise import span_rules
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
_EXEMPLARS_MAX = 256
_NAMED_FOR_NS = 10 * 10**9
_NO_SERIES = -1
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
        self._scopes: list[Scope] = []
        self._scope_number: dict[Scope, int] = {}
        # A class is a distinct (place, failed); the tables find it by the bytes that decide it.
        self._tables: dict[str, list[dict[bytes, int]]] = {}
        self._class_scope = array("i")
        self._class_error = array("b")
        self._without_series = 0
        # How slow the slowest call was that was named lately, by failed or not and by place.
        self._named_s = np.zeros((2, 0))
        self._named_since_ns = 0
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
        if len(self._class_scope) + len(self._tables) + self._without_series > _CLASSES_MAX:
            self._forget_classes()
        spans: list[Any] = []
        classes: list[int] = []
        services: set[str] = set()
        for resource_spans in request.resource_spans:
            service = self._resources.service(resource_spans.resource)
            services.add(service)
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
            return SampleBatch(services=frozenset(services))
        return self._batch(spans, np.array(classes, np.int32), frozenset(services), now_ns=now_ns)

    def _forget_classes(self) -> None:
        self._scopes.clear()
        self._scope_number.clear()
        self._tables.clear()
        self._hints.clear()
        self._complete.clear()
        self._without_series = 0
        del self._class_scope[:], self._class_error[:]
        self._named_s = np.zeros((2, 0))

    def _classify(self, service: str, spans: Sequence[Any], classes: list[int]) -> None:
        """Append the class of each span, or `_NO_SERIES`."""
        tables = self._tables.get(service)
        if tables is None:
            tables = self._tables[service] = [{} for _ in range(2 * _KINDS)]
        append = classes.append
        hint = self._hints.get(service, _NO_HINT)
        last, (at_0, at_1, at_2), (start_0, start_1, start_2) = hint
        complete = self._complete.setdefault(service, ({}, {}))
        for span in spans:
            kind = span.kind
            wanted = _WANTED.get(kind)
            if wanted is None:
                append(_NO_SERIES)
                continue
            key = span.name
            attributes = span.attributes
            known: dict[bytes, int] | None = None
            if kind == span_rules.SERVER and len(attributes) > last:
                first, second, third = attributes[at_0], attributes[at_1], attributes[at_2]
                whole = key + first + second + third
                status = span.status
                known = complete[1 if status and _is_error(status) else 0]
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
                table[key] = _NO_SERIES
            return _NO_SERIES
        error = span_rules.has_failed(
            kind, status_is_error=_is_error(span.status), attributes=attributes
        )
        number = self._scope_number.get(scope)
        if number is None:
            number = self._scope_number[scope] = len(self._scopes)
            self._scopes.append(scope)
        if kind == span_rules.SERVER:
            self._hints[service] = _hint_of(span.attributes) or _NO_HINT
        self._class_scope.append(number)
        self._class_error.append(error)
        if len(key) <= _KEY_BYTES_MAX:
            table[key] = len(self._class_scope) - 1
        return len(self._class_scope) - 1

    def _batch(
        self,
        spans: list[Any],
        classes: NDArray[np.int32],
        services: frozenset[str],
        *,
        now_ns: int,
    ) -> SampleBatch:
        trace_ids = [span.trace_id for span in spans]
        span_ids = [span.span_id for span in spans]
        start = np.array([span.start_ns for span in spans], np.uint64)
        end = np.array([span.end_ns for span in spans], np.uint64)
        took = end - start  # unsigned: what ends before it begins took immensely long
        latest_ns = max(now_ns, 0) + FUTURE_MAX_NS
        rejected: dict[RejectReason, int] = {}
        sound = (
            np.minimum.reduce(start) > 0
            and np.minimum.reduce(end) > 0
            and np.maximum.reduce(end) <= latest_ns
            and np.maximum.reduce(took) <= DURATION_MAX_NS
            and _ids_are_valid(trace_ids, 16)
            and _ids_are_valid(span_ids, 8)
        )
        # Nearly every batch is sound; asked all at once that costs a small batch a fifth of asking one by one.
        kept = classes >= 0
        if not sound:
            # In the order of how sure the fault is; each span is counted once, under the first that applies.
            for reason, bad in (
                (RejectReason.BAD_ID, ~(_valid_ids(trace_ids, 16) & _valid_ids(span_ids, 8))),
                (RejectReason.NO_TIME, (start == 0) | (end == 0)),
                (RejectReason.FUTURE, end > np.uint64(latest_ns)),
                (RejectReason.NEGATIVE, end < start),
                (RejectReason.TOO_LONG, took > np.uint64(DURATION_MAX_NS)),
            ):
                bad &= kept
                if count := int(np.count_nonzero(bad)):
                    rejected[reason] = count
                    kept &= ~bad
        if not kept.all():
            rows = np.flatnonzero(kept)
            classes, end, took = classes[rows], end[rows], took[rows]
            trace_ids = [trace_ids[row] for row in rows.tolist()]
        # Not only "later than": a clock that stepped ahead and back must not silence exemplars until then.
        if not 0 <= now_ns - self._named_since_ns < _NAMED_FOR_NS:
            self._named_s[:] = 0.0
            self._named_since_ns = now_ns
        return SampleBatch(
            calls=self._calls(classes, end, took, trace_ids) if trace_ids else None,
            rejected=rejected,
            services=services,
            fingerprint=blake2b(b"".join(span_ids), digest_size=16).digest(),
        )

    def _calls(
        self,
        classes: NDArray[np.int32],
        end: NDArray[np.uint64],
        took: NDArray[np.uint64],
        trace_ids: list[bytes],
    ) -> CallColumns:
        # The views end here: an array that is looked at cannot grow.
        number = np.frombuffer(self._class_scope, np.int32)[classes]
        error = np.frombuffer(self._class_error, np.bool_)[classes]
        # What `np.unique` finds, by marking: the places are few and known.
        place = np.zeros(len(self._scopes), np.int32)
        place[number] = 1
        distinct = place.nonzero()[0]
        place[distinct] = np.arange(len(distinct), dtype=np.int32)
        scope_index = place[number]
        end_ns = end.astype(np.int64)
        duration_s = took / 1e9
        exemplars = tuple(
            [
                CallExemplar(
                    scope_index=int(scope_index[row]),
                    trace_id=trace_ids[row].hex(),
                    end_ns=int(end_ns[row]),
                    duration_s=float(duration_s[row]),
                    error=bool(error[row]),
                )
                for row in self._worth_naming(number, end_ns, duration_s, error)
            ]
        )
        return CallColumns(
            scopes=tuple([self._scopes[each] for each in distinct.tolist()]),
            scope_index=scope_index,
            end_ns=end_ns,
            duration_s=duration_s,
            error=error,
            exemplars=exemplars,
        )

    def _worth_naming(
        self,
        number: NDArray[np.int32],
        end_ns: NDArray[np.int64],
        duration_s: NDArray[np.float64],
        error: NDArray[np.bool_],
    ) -> list[int]:
        """Rows of calls slower than any of their place and outcome that was named in the last seconds.

        So each window's slowest call and slowest failure of a place are named, and an ordinary call costs nothing.
        Where none was named lately the first is named too: the first failure tells when failing began.
        """
        if self._named_s.shape[1] < len(self._scopes):
            grown = np.zeros((2, 2 * len(self._scopes)))
            grown[:, : self._named_s.shape[1]] = self._named_s
            self._named_s = grown
        outcome = error.view(np.int8)
        # At least equal at first: a place whose calls all take no time has its exemplar, too.
        named = self._named_s[outcome, number]
        slower = np.flatnonzero((duration_s > named) | (named == 0.0))
        if not len(slower):
            return []
        group = 2 * number[slower] + outcome[slower]
        order = np.lexsort((duration_s[slower], group))
        slowest = slower[order[_last_of_each(group[order])]][:_EXEMPLARS_MAX]
        rows: set[int] = set(slowest.tolist())
        fresh = np.flatnonzero(named == 0.0)
        if len(fresh):
            group = 2 * number[fresh] + outcome[fresh]
            order = np.lexsort((-end_ns[fresh], group))
            rows.update(fresh[order[_last_of_each(group[order])]][:_EXEMPLARS_MAX].tolist())
        self._named_s[outcome[slowest], number[slowest]] = duration_s[slowest]
        return sorted(rows)


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


def _valid_ids(ids: list[bytes], length: int) -> NDArray[np.bool_]:
    """Which ids have the right length and are not all zeros."""
    zeros = bytes(length)
    return np.array([len(each) == length and each != zeros for each in ids], np.bool_)


def _last_of_each(group: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.concatenate((group[1:] != group[:-1], [True]))
