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
from typing import Any

import numpy as np

from sentinel.core.model import (
    LoggedCall,
    LogRecord,
    RejectReason,
    SampleBatch,
    Scope,
    SeriesKey,
)
from sentinel.core.normalise.kong import names as kong_names
from sentinel.core.normalise.kong.names import outcome_of, route_label
from sentinel.core.normalise.kong.record import (
    HEX_ID,
    failed_tries,
    identity_of,
    is_by_gateway,
    mended,
    milliseconds,
    names_of,
    number_of,
    object_of,
    route_of,
    text_of,
    trace_id_of,
)
from sentinel.core.normalise.kong.rows import Row, calls_of, events_of
from sentinel.core.normalise.kong.tiers import Tiers
from sentinel.core.normalise.labels import label_of, without_ids
from sentinel.core.normalise.otlp_logs_encode import Scalar, encode_record
from sentinel.core.normalise.strict_json import parse_strictly
from sentinel.core.stats import log_linear
from sentinel.errors import MalformedInputError

FUTURE_MAX_NS = 300 * 10**9
EVENT_REQUEST = "kong.request"
EVENT_SESSION = "kong.session"

_INFO, _WARN, _ERROR = 9, 13, 17
_STARTED_MAX_MS = 2**53
RECORDS_MAX = 10_000
"""Most records at once: what Kong's own queue holds."""
_PLACES_MAX = 4096
_ROUTE_CHARS_MAX = 256
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
        value = parse_strictly(mended(body))
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
            calls=calls_of(rows) if every_route else None,
            events=events_of(rows),
            logs=tuple(self._lines(rows)) if lines or not every_route else (),
            services=services,
        )

    def _row(self, record: dict[str, Any], *, now_ns: int) -> Row | RejectReason:
        is_session = "session" in record and "response" not in record
        answered = object_of(record, "session" if is_session else "response")
        latencies = object_of(record, "latencies")
        status = answered.get("status")
        if type(status) is not int or not 100 <= status <= 599:
            return RejectReason.BAD_SHAPE
        started_ms = number_of(record, "started_at")
        if not 0 < started_ms < _STARTED_MAX_MS:
            return RejectReason.NO_TIME
        total_ms = milliseconds(latencies, "session" if is_session else "request")
        # Whole milliseconds first: a float cannot hold today's nanoseconds.
        end_ns = round(started_ms + (0.0 if math.isnan(total_ms) else total_ms)) * 10**6
        if end_ns > now_ns + FUTURE_MAX_NS:
            return RejectReason.FUTURE
        by_gateway = not is_session and is_by_gateway(record, status)
        stage = kong_names.STAGE_STREAM if is_session else kong_names.STAGE_EDGE
        scope = self._scope(stage, route_of(record))
        failed = status >= kong_names.FAILED_STATUS
        severity = _ERROR if failed else _WARN if status >= 400 else _INFO
        trace_id = trace_id_of(record)
        tier = self._tier_of(record)
        shown = {}
        if severity >= _WARN or self._settings.as_otlp:
            shown = self._shown(record, is_session=is_session)
        event = EVENT_SESSION if is_session else EVENT_REQUEST
        text = ""
        if shown:
            text = _text(shown, scope=scope, status=status, by_gateway=by_gateway)
        return Row(
            identity=identity_of(record),
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
            taken_ms = milliseconds(latencies, name)
            if not math.isnan(taken_ms):
                found.append((self._key(scope, signal), taken_ms / 1000.0))
        outcome = outcome_of(status, by_gateway=by_gateway)
        if outcome:
            found.append((self._key(scope, outcome), math.nan))
        found += [(self._key(scope, kong_names.FAILED_TRIES), math.nan)] * failed_tries(record)
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
        consumer = object_of(record, "consumer")
        groups = record.get("consumer_groups", consumer.get("groups"))
        return self._settings.tiers.of(
            usernames=[
                text_of(consumer, name)
                for name in ("username", "custom_id")
                if text_of(consumer, name)
            ],
            tags=names_of(consumer.get("tags")),
            groups=names_of(groups),
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
        request = object_of(record, "request")
        if not is_session:
            found["http.request.method"] = self._label(text_of(request, "method")[:16])
            path = text_of(request, "uri").partition("?")[0].partition("#")[0]
            found["url.path"] = self._label(without_ids(path[:1024]))
        request_id = text_of(request, "id")
        if HEX_ID.fullmatch(request_id):
            found["kong.request.id"] = request_id
        name = text_of(object_of(record, "service"), "name")
        if name:
            found["kong.service.name"] = self._label(name)
        statuses = text_of(record, "upstream_status")
        if _STATUSES.fullmatch(statuses):
            found["kong.upstream.status"] = statuses
        source = record.get("source")
        if source in ("kong", "upstream", "service"):
            found["kong.response.source"] = str(source)
        if tries := failed_tries(record):
            found["kong.failed_tries"] = tries
        for name, key in (("kong", "kong.latency_ms"), ("proxy", "kong.upstream_latency_ms")):
            taken_ms = milliseconds(object_of(record, "latencies"), name)
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
            if len(route) <= _ROUTE_CHARS_MAX:
                self._scopes[stage, route] = scope
        return scope

    def _key(self, scope: Scope, signal: str) -> SeriesKey:
        key = self._keys.get((scope, signal))
        if key is None:
            key = self._keys[scope, signal] = SeriesKey(*scope, signal)
        return key


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
