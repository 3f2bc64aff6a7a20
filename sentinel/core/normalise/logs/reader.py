"""Records of a log source to a batch: what is counted, what may be evidence, and, when it is to be handed on, OTLP.

Text is redacted where it may be evidence (the first and the last line of each kind of a batch, from WARN upwards), and all of
it when it is handed on; what is only counted is not, because its text goes nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import orjson
from numpy.typing import NDArray

from sentinel.core.model import LogColumns, LogKind, LogRecord, RejectReason, SampleBatch
from sentinel.core.normalise.logs.fields import FieldReader
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.settings import LogFormat, ReaderSettings
from sentinel.core.normalise.logs.severity import WARN
from sentinel.core.normalise.logs.text import TextFormat, TextReader
from sentinel.core.normalise.logs.times import LocalToUtc, LogTimes, utc_clock
from sentinel.core.normalise.logs.values import UNKNOWN_DURATION, Fields, Told
from sentinel.core.normalise.otlp_logs import BODY_CHARS_MAX, FUTURE_MAX_NS
from sentinel.core.normalise.otlp_logs_encode import encode_record, encode_uid
from sentinel.core.redact import redact, redact_fields
from sentinel.core.redact.text import LINE_CHARS_MAX
from sentinel.core.stats import log_linear

_PAST_NS = 10**9 * 86_400 * 365
_BRACE = ord("{")
_first_byte = itemgetter(0)


@dataclass(slots=True, kw_only=True)
class LogsRead:
    """What some records of one file are.

    Attributes:
        batch: what is counted, and what may be evidence.
        encoded: OTLP log records by service, redacted; empty unless they were asked for.
        tells_of_calls: services of which finished calls were told.
        undecodable_count: records whose bytes are not text in the source's encoding; what cannot be read is replaced.
        not_json_count: records that should have been JSON, and were read as text.
        requests: of a gateway's records: by what each request is known again.
    """

    batch: SampleBatch
    encoded: dict[str, list[bytes]]
    tells_of_calls: frozenset[str]
    undecodable_count: int
    not_json_count: int
    requests: tuple[bytes, ...] = ()


class LogReader:
    """Reads the records of one source; holds bounded caches, so one is kept for its life."""

    def __init__(
        self, settings: ReaderSettings | None = None, *, to_utc: LocalToUtc = utc_clock
    ) -> None:
        self._settings = settings or ReaderSettings()
        times = LogTimes(to_utc)
        self._times = times
        self._fields = FieldReader(
            self._settings.keys, times, own_service=self._settings.own_service
        )
        form = self._settings.format
        self._json = form in (LogFormat.AUTO, LogFormat.JSON)
        only = None if self._json or form is LogFormat.KONG else TextFormat(form.value)
        self._text = TextReader(times, only)

    def read(
        self,
        records: Sequence[Record],
        *,
        service: str,
        now_ns: int,
        fingerprint: bytes = b"",
        uid: str | None = None,
    ) -> LogsRead:
        """What these records say.

        Args:
            records: in the order of the file.
            service: who wrote them, as far as is known without them.
            now_ns: when they were read.
            fingerprint: of the batch, the same when the same records are read again.
            uid: when given, each record is encoded to be handed on, and named by this and its place in the file.
        """
        self._fields.make_room()
        reading = _Reading(records=records)
        self._read_fields(reading, now_ns)
        told = self._fields.told(reading.fields, service)
        time_ns, taken = self._times_of(told, records, now_ns)
        numbers, index = np.unique(told.number[taken], return_inverse=True)
        kinds = tuple(self._fields.kinds[number] for number in numbers.tolist())
        encoded: dict[str, list[bytes]] = {}
        if uid is not None:
            for at, kind_at in zip(taken.tolist(), index.tolist(), strict=True):
                kind = kinds[kind_at]
                encoded.setdefault(kind.service, []).append(
                    self._encoded(reading, at, kind, int(time_ns[at]), now_ns, uid)
                )
        columns = None
        if kinds:
            columns = LogColumns(
                kinds=kinds,
                kind_index=index.astype(np.int32),
                time_ns=time_ns[taken],
                bucket=_buckets_of(told.duration_s[taken]),
                noted=tuple(
                    self._noted(reading, int(taken[row]), kinds[index[row]], time_ns)
                    for row in _severe_rows(kinds, index)
                ),
            )
        rejected_count = len(records) - len(taken)
        return LogsRead(
            batch=SampleBatch(
                log_columns=columns,
                rejected={RejectReason.FUTURE: rejected_count} if rejected_count else {},
                services=frozenset(kind.service for kind in kinds) or frozenset((service,)),
                fingerprint=fingerprint if kinds else b"",
            ),
            encoded=encoded,
            tells_of_calls=frozenset(kind.service for kind in kinds if kind.place is not None),
            undecodable_count=reading.undecodable_count,
            not_json_count=reading.not_json_count,
        )

    def _read_fields(self, reading: _Reading, now_ns: int) -> None:
        if self._json and (objects := _objects_of([record.text for record in reading.records])):
            reading.fields = objects
            return
        loads, is_json, given = orjson.loads, self._json, reading.fields
        for record in reading.records:
            raw = record.text
            fields: Fields | None = None
            if is_json and raw and raw[0] == _BRACE:
                try:
                    fields = loads(raw)
                except orjson.JSONDecodeError:
                    fields = self._mended(raw, reading)
            if fields is None:
                reading.texts.add(len(given))
                fields = self._text.fields(self._decoded(raw, reading), now_ns=now_ns)
            given.append(fields)

    def _times_of(
        self, told: Told, records: Sequence[Record], now_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """When each was written, and which of them are taken: none that is of a time to come."""
        latest_ns = now_ns + FUTURE_MAX_NS
        time_ns = told.time_ns
        for at in np.flatnonzero(time_ns <= _PAST_NS).tolist():
            # The line names no time, or none that can be: then the one at which the runtime got it.
            given = records[at].time
            given_ns = (self._times.of_text(given) if given else None) or now_ns
            time_ns[at] = given_ns if given_ns <= latest_ns else now_ns
        return time_ns, np.flatnonzero(time_ns <= latest_ns)

    def _mended(self, raw: bytes, reading: _Reading) -> Fields | None:
        """Fields of a record with bytes that are no UTF-8, which JSON does not allow; None when it is no JSON at all."""
        text = raw.decode(self._settings.encoding, "replace")
        try:
            fields = orjson.loads(text)
        except orjson.JSONDecodeError:
            reading.not_json_count += 1
            return None
        reading.undecodable_count += "\ufffd" in text
        return fields if type(fields) is dict else None

    def _decoded(self, raw: bytes, reading: _Reading) -> str:
        try:
            return raw.decode(self._settings.encoding)
        except UnicodeDecodeError:
            reading.undecodable_count += 1
            return raw.decode(self._settings.encoding, "replace")

    def _noted(
        self, reading: _Reading, at: int, kind: LogKind, time_ns: NDArray[np.int64]
    ) -> LogRecord:
        fields = reading.fields[at]
        text = self._fields.message_of(fields) or reading.records[at].text.decode(
            self._settings.encoding, "replace"
        )
        return LogRecord(
            service=kind.service,
            time_ns=int(time_ns[at]),
            severity=kind.severity,
            event=kind.event,
            body=redact(text[:BODY_CHARS_MAX], cut_end=len(text) > BODY_CHARS_MAX),
            trace_id=self._fields.ids_of(fields)[0],
            gist=kind.gist,
        )

    def _encoded(
        self, reading: _Reading, at: int, kind: LogKind, time_ns: int, now_ns: int, uid: str
    ) -> bytes:
        record, fields = reading.records[at], reading.fields[at]
        if at in reading.texts:
            text = redact(
                record.text.decode(self._settings.encoding, "replace"),
                cut_end=len(record.text) >= LINE_CHARS_MAX,
            )
        else:
            # By its fields: their names say more than the text does, and most values were seen before.
            text = orjson.dumps(redact_fields(fields)).decode()
        trace_id, span_id = self._fields.ids_of(fields)
        encoded = encode_record(
            time_ns=time_ns,
            observed_ns=now_ns,
            severity=kind.severity,
            body=text,
            event=kind.event,
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(span_id),
        )
        return encoded + encode_uid(f"{uid}-{record.start:x}")


@dataclass(slots=True, kw_only=True)
class _Reading:
    """Records, and what has been read of them; `texts` are the places of those that are no objects."""

    records: Sequence[Record]
    fields: list[Fields] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)
    undecodable_count: int = 0
    not_json_count: int = 0


def _objects_of(texts: Sequence[bytes]) -> list[Fields] | None:
    """The fields of records that are JSON objects all of them; None when any is something else."""
    try:
        return list(map(orjson.loads, texts)) if set(map(_first_byte, texts)) == {_BRACE} else None
    except (IndexError, orjson.JSONDecodeError):
        return None


def _severe_rows(kinds: Sequence[LogKind], index: NDArray[np.intp]) -> list[int]:
    """The first row of each severe kind, then the last of each that has more than one; in the order of the rows."""
    severe = np.array([kind.severity >= WARN for kind in kinds], np.bool_)
    rows = np.flatnonzero(severe[index]).tolist()
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for row, kind_at in zip(rows, index[rows].tolist(), strict=True):
        if kind_at in first:
            last[kind_at] = row
        else:
            first[kind_at] = row
    return [*first.values(), *last.values()]


def _buckets_of(duration_s: NDArray[np.float64]) -> log_linear.Buckets:
    bucket = np.full(len(duration_s), log_linear.UNTIMED, np.int16)
    timed = duration_s != UNKNOWN_DURATION
    if timed.any():
        bucket[timed] = log_linear.bucket_of(duration_s[timed])
    return bucket
