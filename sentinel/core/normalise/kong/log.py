"""Kong's http-log records: bytes to rows, rows to a batch.

Two steps, because records that were sent before are left out between them. Everything in a record that a client may have
written is either not looked at (query, headers, cookies), or made a label (path without ids, redacted). Fields that are not known,
absent, or of another type than Kong's are passed over; a record without a status or a time is rejected alone.

A body is one object or a list of them. What the client sent may hold bytes that are no UTF-8 and `%00`, and Kong writes
them as they are: such text is mended, because one caller must not cost the records of all others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import orjson

from sentinel.core.model import (
    CallColumns,
    CallExemplar,
    EventColumns,
    LoggedCall,
    LogRecord,
    RejectReason,
    SampleBatch,
    Scope,
    SeriesKey,
)
from sentinel.core.normalise.kong import names as kong_names
from sentinel.core.normalise.kong.names import outcome_of, route_label
from sentinel.core.normalise.kong.tiers import Tiers
from sentinel.core.normalise.labels import OTHER, label_of, without_ids
from sentinel.core.normalise.otlp_logs_encode import Scalar, encode_record
from sentinel.core.normalise.strict_json import parse_strictly
from sentinel.core.stats import log_linear
from sentinel.errors import MalformedInputError

FUTURE_MAX_NS = 300 * 10**9
EVENT_REQUEST = "kong.request"
EVENT_SESSION = "kong.session"

_INFO, _WARN, _ERROR = 9, 13, 17
_DURATION_MAX_MS = 24 * 3600 * 1000.0
_STARTED_MAX_MS = 2**53
RECORDS_MAX = 10_000
"""Most records at once: what Kong's own queue holds."""
_PLACES_MAX = 4096
_ID_CHARS_MAX = 256
_IDENTITY_BYTES = 16
_TRIES_MAX = 32
_NAMES_MAX = 64
_HEX_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_STATUSES = re.compile(r"[0-9, :-]{1,120}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KongLogSettings:
    """How records are read.

    Attributes:
        service: what the gateway is called.
        tiers: rules by which consumers have tiers.
        every_route: whether the log tells of every call of the gateway.
        as_otlp: whether rows carry their record as OTLP.
    """

    service: str = "kong"
    tiers: Tiers = field(default_factory=Tiers)
    every_route: bool = True
    as_otlp: bool = False


class Row(NamedTuple):
    """One record.

    Attributes:
        identity: the same when the record is sent again.
        end_ns: when its call ended.
        scope: where it was.
        duration_s: how long it took, NaN when that is not known.
        failed: whether it failed.
        severity, event, text: as a log record; text is "" below WARN.
        trace_id: 32 hexadecimal digits, or "".
        events: what else it tells, by series; the value is NaN where it is only counted.
        otlp: the record as OTLP, or b"".
    """

    identity: bytes
    end_ns: int
    scope: Scope
    duration_s: float
    failed: bool
    severity: int
    event: str
    text: str
    trace_id: str
    events: tuple[tuple[SeriesKey, float], ...]
    otlp: bytes


class KongLogReader:
    """Reads bodies; holds bounded caches, so use one at a time per thread."""

    def __init__(self, settings: KongLogSettings) -> None:
        self._settings = settings
        self._scopes: dict[tuple[str, str], Scope] = {}
        self._keys: dict[tuple[Scope, str], SeriesKey] = {}
        self._labels: dict[str, str] = {}

    def rows(self, body: bytes, *, now_ns: int) -> tuple[list[Row], dict[RejectReason, int]]:
        """The records of one body that can be used, and how many cannot, by reason.

        Raises:
            MalformedInputError: it is not JSON as `parse_strictly` reads it, or more than `RECORDS_MAX` records.
            InputTooLargeError: it would take far more memory than its size.
        """
        value = parse_strictly(_mended(body))
        records: Sequence[object] = value if isinstance(value, list) else [value]
        if len(records) > RECORDS_MAX:
            msg = f"more than {RECORDS_MAX} records at once"
            raise MalformedInputError(msg)
        if len(self._scopes) > _PLACES_MAX or len(self._keys) > 16 * _PLACES_MAX:
            self._scopes.clear()
            self._keys.clear()
        if len(self._labels) > _PLACES_MAX:
            self._labels.clear()
        rows: list[Row] = []
        rejected: dict[RejectReason, int] = {}
        for record in records:
            row = (
                self._row(record, now_ns=now_ns)
                if isinstance(record, dict)
                else RejectReason.BAD_SHAPE
            )
            if isinstance(row, RejectReason):
                rejected[row] = rejected.get(row, 0) + 1
            else:
                rows.append(row)
        return rows, rejected

    def batch(self, rows: Sequence[Row], *, lines: bool = True) -> SampleBatch:
        """The batch of some rows; without their lines of log where those are not wanted."""
        services = frozenset({self._settings.service})
        if not rows:
            return SampleBatch(services=services)
        every_route = self._settings.every_route
        return SampleBatch(
            calls=_calls(rows) if every_route else None,
            events=_events(rows),
            logs=tuple(self._lines(rows)) if lines or not every_route else (),
            services=services,
        )

    def _row(self, record: dict[str, Any], *, now_ns: int) -> Row | RejectReason:
        is_session = "session" in record and "response" not in record
        answered = _object(record, "session" if is_session else "response")
        latencies = _object(record, "latencies")
        status = answered.get("status")
        if type(status) is not int or not 100 <= status <= 599:
            return RejectReason.BAD_SHAPE
        started_ms = _number(record, "started_at")
        if not 0 < started_ms < _STARTED_MAX_MS:
            return RejectReason.NO_TIME
        total_ms = _milliseconds(latencies, "session" if is_session else "request")
        # Whole milliseconds first: a float cannot hold today's nanoseconds.
        end_ns = round(started_ms + (0.0 if math.isnan(total_ms) else total_ms)) * 10**6
        if end_ns > now_ns + FUTURE_MAX_NS:
            return RejectReason.FUTURE
        by_gateway = not is_session and _is_by_gateway(record, status)
        stage = kong_names.STAGE_STREAM if is_session else kong_names.STAGE_EDGE
        scope = self._scope(stage, _route_of(record))
        failed = status >= kong_names.FAILED_STATUS
        severity = _ERROR if failed else _WARN if status >= 400 else _INFO
        trace_id = _trace_id_of(record)
        tier = self._tier_of(record)
        shown = {}
        if severity >= _WARN or self._settings.as_otlp:
            shown = self._shown(record, is_session=is_session)
        event = EVENT_SESSION if is_session else EVENT_REQUEST
        text = ""
        if shown:
            text = _text(shown, scope=scope, status=status, by_gateway=by_gateway)
        return Row(
            identity=_identity_of(record),
            end_ns=end_ns,
            scope=scope,
            duration_s=total_ms / 1000.0,
            failed=failed,
            severity=severity,
            event=event,
            text=text if severity >= _WARN else "",
            trace_id=trace_id,
            events=()
            if is_session
            else self._events_of(record, scope, status, latencies, tier, by_gateway=by_gateway),
            otlp=self._otlp(
                shown, text, event, scope, status, end_ns, total_ms, severity, trace_id, tier
            )
            if self._settings.as_otlp
            else b"",
        )

    def _events_of(
        self,
        record: dict[str, Any],
        scope: Scope,
        status: int,
        latencies: Mapping[str, Any],
        tier: str,
        *,
        by_gateway: bool,
    ) -> tuple[tuple[SeriesKey, float], ...]:
        found: list[tuple[SeriesKey, float]] = []
        for name, signal in (
            ("kong", kong_names.KONG_LATENCY),
            ("proxy", kong_names.UPSTREAM_LATENCY),
        ):
            # -1 of the upstream says that none was reached.
            taken_ms = _milliseconds(latencies, name)
            if not math.isnan(taken_ms):
                found.append((self._key(scope, signal), taken_ms / 1000.0))
        outcome = outcome_of(status, by_gateway=by_gateway)
        if outcome:
            found.append((self._key(scope, outcome), math.nan))
        failed_tries = _failed_tries(record)
        found += [(self._key(scope, kong_names.FAILED_TRIES), math.nan)] * failed_tries
        if tier:
            place = self._scope(kong_names.STAGE_TIER, tier)
            found.append((self._key(place, kong_names.REQUESTS), math.nan))
            if outcome == kong_names.RATE_LIMITED:
                found.append((self._key(place, outcome), math.nan))
                at_route = self._scope(kong_names.STAGE_TIER, f"{tier} {scope.route}")
                found.append((self._key(at_route, outcome), math.nan))
        return tuple(found)

    def _tier_of(self, record: dict[str, Any]) -> str:
        """The tier of who asked, "" where no tiers are configured."""
        if not self._settings.tiers:
            return ""
        consumer = _object(record, "consumer")
        groups = record.get("consumer_groups", consumer.get("groups"))
        return self._settings.tiers.of(
            usernames=[
                _text_of(consumer, name)
                for name in ("username", "custom_id")
                if _text_of(consumer, name)
            ],
            tags=_names(consumer.get("tags")),
            groups=_names(groups),
        )

    def _lines(self, rows: Sequence[Row]) -> Iterable[LogRecord]:
        duration_s = np.array([row.duration_s for row in rows])
        known = ~np.isnan(duration_s)
        bucket = np.full(len(rows), log_linear.UNTIMED, np.int16)
        bucket[known] = log_linear.bucket_of(duration_s[known])
        for row, number in zip(rows, bucket.tolist(), strict=True):
            yield LogRecord(
                service=self._settings.service,
                time_ns=row.end_ns,
                severity=row.severity,
                event=row.event,
                body=row.text,
                trace_id=row.trace_id,
                call=None
                if self._settings.every_route
                else LoggedCall(row.scope, number, row.failed),
            )

    def _otlp(
        self,
        shown: Mapping[str, Scalar],
        text: str,
        event: str,
        scope: Scope,
        status: int,
        end_ns: int,
        total_ms: float,
        severity: int,
        trace_id: str,
        tier: str,
    ) -> bytes:
        attributes = dict(shown)
        attributes["kong.route.name"] = scope.route
        attributes["http.response.status_code"] = status
        if not math.isnan(total_ms):
            attributes["duration_ms"] = total_ms
        if tier:
            attributes["kong.consumer.tier"] = tier
        return encode_record(
            time_ns=end_ns,
            severity=severity,
            body=text,
            attributes=attributes,
            event=event,
            trace_id=bytes.fromhex(trace_id),
        )

    def _shown(self, record: Mapping[str, Any], *, is_session: bool) -> dict[str, Scalar]:
        """What of a record is shown to people, or handed on: names of ours and Kong's, and the path without ids."""
        found: dict[str, Scalar] = {}
        request = _object(record, "request")
        if not is_session:
            found["http.request.method"] = self._label(_text_of(request, "method")[:16])
            path = _text_of(request, "uri").partition("?")[0].partition("#")[0]
            found["url.path"] = self._label(without_ids(path[:1024]))
        request_id = _text_of(request, "id")
        if _HEX_ID.fullmatch(request_id):
            found["kong.request.id"] = request_id
        name = _text_of(_object(record, "service"), "name")
        if name:
            found["kong.service.name"] = self._label(name)
        statuses = _text_of(record, "upstream_status")
        if _STATUSES.fullmatch(statuses):
            found["kong.upstream.status"] = statuses
        source = record.get("source")
        if source in ("kong", "upstream", "service"):
            found["kong.response.source"] = str(source)
        if failed := _failed_tries(record):
            found["kong.failed_tries"] = failed
        for name, key in (("kong", "kong.latency_ms"), ("proxy", "kong.upstream_latency_ms")):
            taken_ms = _milliseconds(_object(record, "latencies"), name)
            if not math.isnan(taken_ms):
                found[key] = taken_ms
        return found

    def _label(self, text: str) -> str:
        """As `label_of`, remembered: most paths are alike without their ids, and looking for secrets takes longest."""
        label = self._labels.get(text)
        if label is None:
            label = self._labels[text] = label_of(text)
        return label

    def _scope(self, stage: str, route: str) -> Scope:
        scope = self._scopes.get((stage, route))
        if scope is None:
            scope = Scope(self._settings.service, stage, route_label(route))
            if len(route) <= _ID_CHARS_MAX:
                self._scopes[stage, route] = scope
        return scope

    def _key(self, scope: Scope, signal: str) -> SeriesKey:
        key = self._keys.get((scope, signal))
        if key is None:
            key = self._keys[scope, signal] = SeriesKey(*scope, signal)
        return key


def _mended(body: bytes) -> bytes:
    """A body that can be read although a client wrote into it what is no text."""
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode("utf-8", "replace").encode()
    if b"\\u0000" not in body:
        return body
    # Escaped backslashes stand aside as what is in no UTF-8, for behind one `u0000` is text; a search for both at once
    # took two seconds for a body of nothing else.
    aside = body.replace(b"\\\\", b"\xff\xff").replace(b"\\u0000", b"\\ufffd")
    return aside.replace(b"\xff\xff", b"\\\\")


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _text_of(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def _names(value: object) -> list[str]:
    """Texts of a list; Lua writes an empty list as an empty object. Objects in it are named by `name`."""
    if not isinstance(value, list):
        return []
    names = [each.get("name") if isinstance(each, dict) else each for each in value[:_NAMES_MAX]]
    return [name for name in names if isinstance(name, str)]


def _milliseconds(latencies: Mapping[str, Any], name: str) -> float:
    """A latency, NaN when it is absent, negative, no number or more than a day."""
    value = _number(latencies, name)
    return value if 0 <= value <= _DURATION_MAX_MS else math.nan


def _number(record: Mapping[str, Any], name: str) -> float:
    """A number, NaN when it is absent or something else; `true` is no number."""
    value = record.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value is not None else math.nan


def _route_of(record: Mapping[str, Any]) -> str:
    route = _object(record, "route")
    return _text_of(route, "name") or _text_of(route, "id") or OTHER


def _is_by_gateway(record: Mapping[str, Any], status: int) -> bool:
    """Whether Kong made the answer; where it does not say, whether no upstream answered so."""
    source = record.get("source")
    if source in ("kong", "upstream", "service"):
        return bool(source == "kong")
    last = _text_of(record, "upstream_status")[-3:]
    return last != str(status)


def _failed_tries(record: Mapping[str, Any]) -> int:
    tries = record.get("tries")
    if not isinstance(tries, list):
        return 0
    return sum(1 for each in tries[:_TRIES_MAX] if isinstance(each, dict) and each.get("state"))


def _trace_id_of(record: Mapping[str, Any]) -> str:
    trace_id = record.get("trace_id")
    text = trace_id.get("w3c") if isinstance(trace_id, dict) else trace_id
    if not isinstance(text, str) or not _HEX_ID.fullmatch(text) or not text.strip("0"):
        return ""
    return text


def _identity_of(record: Mapping[str, Any]) -> bytes:
    """Of the request's id, which nginx draws; of the whole record where an older Kong gives it none."""
    request_id = _text_of(_object(record, "request"), "id")
    if _HEX_ID.fullmatch(request_id):
        return bytes.fromhex(request_id)
    if request_id:
        told = request_id[:_ID_CHARS_MAX].encode("utf-8", "replace")
    else:
        told = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    return blake2b(told, digest_size=_IDENTITY_BYTES).digest()


def _text(shown: Mapping[str, Scalar], *, scope: Scope, status: int, by_gateway: bool) -> str:
    """One line for people.

    The id comes last, so that lines that say the same look alike to where they differ.
    """
    what = " ".join(
        str(shown[key]) for key in ("http.request.method", "url.path") if shown.get(key)
    )
    parts = [f"{what or 'session'} answered {status} by {'kong' if by_gateway else 'upstream'}"]
    parts.append(f"route {scope.route}")
    for key, words in (
        ("kong.service.name", "service"),
        ("kong.upstream.status", "upstream status"),
        ("kong.failed_tries", "failed tries"),
        ("kong.request.id", "request id"),
    ):
        if key in shown:
            parts.append(f"{words} {shown[key]}")
    return ", ".join(parts)


def _calls(rows: Sequence[Row]) -> CallColumns:
    numbers: dict[Scope, int] = {}
    index = np.array([numbers.setdefault(row.scope, len(numbers)) for row in rows], np.int32)
    return CallColumns(
        scopes=tuple(numbers),
        scope_index=index,
        end_ns=np.array([row.end_ns for row in rows], np.int64),
        duration_s=np.array([row.duration_s for row in rows], np.float64),
        error=np.array([row.failed for row in rows], np.bool_),
        exemplars=tuple(_exemplars(rows, index.tolist())),
        complete=True,
    )


def _exemplars(rows: Sequence[Row], index: Sequence[int]) -> Iterable[CallExemplar]:
    """The first and the slowest traced call of each place and outcome."""
    chosen: dict[tuple[int, bool], tuple[int, int]] = {}
    for at, row in enumerate(rows):
        if not row.trace_id or math.isnan(row.duration_s):
            continue
        name = (index[at], row.failed)
        first, slowest = chosen.get(name, (at, at))
        if row.end_ns < rows[first].end_ns:
            first = at
        if row.duration_s > rows[slowest].duration_s:
            slowest = at
        chosen[name] = (first, slowest)
    for (place, failed), pair in chosen.items():
        for at in sorted(set(pair)):
            yield CallExemplar(
                scope_index=place,
                trace_id=rows[at].trace_id,
                end_ns=rows[at].end_ns,
                duration_s=rows[at].duration_s,
                error=failed,
            )


def _events(rows: Sequence[Row]) -> EventColumns | None:
    numbers: dict[SeriesKey, int] = {}
    index: list[int] = []
    time_ns: list[int] = []
    value: list[float] = []
    for row in rows:
        for key, number in row.events:
            index.append(numbers.setdefault(key, len(numbers)))
            time_ns.append(row.end_ns)
            value.append(number)
    if not index:
        return None
    # Named although nothing of the kind came: what has always been 0 can be strange from its first time on.
    for scope in dict.fromkeys(
        row.scope for row in rows if row.scope.stage == kong_names.STAGE_EDGE
    ):
        for signal in kong_names.OUTCOMES:
            numbers.setdefault(SeriesKey(*scope, signal), len(numbers))
    for key in [key for key in numbers if key.signal == kong_names.REQUESTS]:
        numbers.setdefault(SeriesKey(*key.scope, kong_names.RATE_LIMITED), len(numbers))
    return EventColumns(
        keys=tuple(numbers),
        key_index=np.array(index, np.int32),
        time_ns=np.array(time_ns, np.int64),
        value=np.array(value, np.float64),
    )
