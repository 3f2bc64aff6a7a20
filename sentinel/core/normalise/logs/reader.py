"""Records of a log source to a batch: what is counted, what may be evidence, and, when it is to be handed on, OTLP.

Text is redacted where it may be evidence (the first and the last line of each kind of a batch, from WARN upwards), and all of
it when it is handed on; what is only counted is not, because its text goes nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from sentinel.core.model import LogColumns, LogKind, LogRecord, RejectReason, SampleBatch
from sentinel.core.normalise.logs.fields import UNKNOWN_DURATION, FieldReader, Fields
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.settings import LogFormat, ReaderSettings
from sentinel.core.normalise.logs.text import TextFormat, TextReader
from sentinel.core.normalise.logs.times import LocalToUtc, LogTimes, utc_clock
from sentinel.core.normalise.otlp_logs import BODY_CHARS_MAX, FUTURE_MAX_NS
from sentinel.core.normalise.otlp_logs_encode import encode_record, encode_uid
from sentinel.core.redact import redact, redact_fields
from sentinel.core.redact.text import LINE_CHARS_MAX
from sentinel.core.stats import log_linear

_PAST_NS = 10**9 * 86_400 * 365
_BRACE = ord("{")


@dataclass(slots=True, kw_only=True)
class LogsRead:
    """What some records of one file are.

    Attributes:
        batch: what is counted, and what may be evidence.
        encoded: OTLP log records by service, redacted; empty unless they were asked for.
        tells_of_calls: services of which finished calls were told.
        undecodable_count: records whose bytes are not text in the source's encoding; what cannot be read is replaced.
        not_json_count: records that should have been JSON, and were read as text.
    """

    batch: SampleBatch
    encoded: dict[str, list[bytes]]
    tells_of_calls: frozenset[str]
    undecodable_count: int
    not_json_count: int


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
        reading = _Reading(self._fields.kinds)
        loads, told = orjson.loads, self._fields.told
        number_of, time_of, duration_of = reading.kind, reading.time_ns, reading.duration_s
        is_json, severe = self._json, self._fields.severe
        encoded: dict[str, list[bytes]] = {}
        rejected_count = 0
        latest_ns, earliest_ns = now_ns + FUTURE_MAX_NS, _PAST_NS
        for record in records:
            raw = record.text
            fields: Fields | None = None
            if is_json and raw and raw[0] == _BRACE:
                try:
                    fields = loads(raw)
                except orjson.JSONDecodeError:
                    fields = self._mended(raw, reading)
            is_object = fields is not None
            if fields is None:
                text = self._decoded(raw, reading)
                fields = self._text.fields(text, now_ns=now_ns)
            number, time_ns, duration_s = told(fields, service)
            if not earliest_ns < time_ns <= latest_ns:
                if time_ns > latest_ns:
                    rejected_count += 1
                    continue
                time_ns = (self._times.of_text(record.time) if record.time else None) or now_ns
                if time_ns > latest_ns:
                    time_ns = now_ns
            number_of.append(number)
            time_of.append(time_ns)
            duration_of.append(duration_s)
            if severe[number]:
                reading.note(number, time_ns, fields, raw)
            if uid is not None:
                kind = reading.kinds[number]
                encoded.setdefault(kind.service, []).append(
                    self._encoded(record, fields, kind, time_ns, now_ns, uid, is_object=is_object)
                )
        return LogsRead(
            batch=self._batch(reading, service, fingerprint, rejected_count),
            encoded=encoded,
            tells_of_calls=frozenset(
                kind.service for kind in reading.used() if kind.place is not None
            ),
            undecodable_count=reading.undecodable_count,
            not_json_count=reading.not_json_count,
        )

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

    def _batch(
        self, reading: _Reading, service: str, fingerprint: bytes, rejected_count: int
    ) -> SampleBatch:
        rejected = {RejectReason.FUTURE: rejected_count} if rejected_count else {}
        if not reading.kind:
            return SampleBatch(rejected=rejected, services=frozenset((service,)))
        numbers, index = np.unique(np.array(reading.kind, np.int32), return_inverse=True)
        duration_s = np.array(reading.duration_s, np.float64)
        bucket = np.full(len(duration_s), log_linear.UNTIMED, np.int16)
        timed = duration_s != UNKNOWN_DURATION
        if timed.any():
            bucket[timed] = log_linear.bucket_of(duration_s[timed])
        kinds = tuple(reading.kinds[number] for number in numbers.tolist())
        columns = LogColumns(
            kinds=kinds,
            kind_index=index.astype(np.int32),
            time_ns=np.array(reading.time_ns, np.int64),
            bucket=bucket,
            noted=tuple(
                self._noted(reading.kinds[number], time_ns, fields, raw)
                for number, time_ns, fields, raw in reading.noted()
            ),
        )
        return SampleBatch(
            log_columns=columns,
            rejected=rejected,
            services=frozenset(kind.service for kind in kinds),
            fingerprint=fingerprint,
        )

    def _noted(self, kind: LogKind, time_ns: int, fields: Fields, raw: bytes) -> LogRecord:
        text = self._fields.message_of(fields) or raw.decode(self._settings.encoding, "replace")
        return LogRecord(
            service=kind.service,
            time_ns=time_ns,
            severity=kind.severity,
            event=kind.event,
            body=redact(text[:BODY_CHARS_MAX], cut_end=len(text) > BODY_CHARS_MAX),
            trace_id=self._fields.ids_of(fields)[0],
            gist=kind.gist,
        )

    def _encoded(
        self,
        record: Record,
        fields: Fields,
        kind: LogKind,
        time_ns: int,
        now_ns: int,
        uid: str,
        *,
        is_object: bool,
    ) -> bytes:
        if is_object:
            # By its fields: their names say more than the text does, and most values were seen before.
            text = orjson.dumps(redact_fields(fields)).decode()
        else:
            text = redact(
                record.text.decode(self._settings.encoding, "replace"),
                cut_end=len(record.text) >= LINE_CHARS_MAX,
            )
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


class _Reading:
    """What has been read so far: columns, and the lines of each kind that may be evidence."""

    __slots__ = (
        "duration_s",
        "first",
        "kind",
        "kinds",
        "last",
        "not_json_count",
        "time_ns",
        "undecodable_count",
    )

    def __init__(self, kinds: list[LogKind]) -> None:
        self.kinds = kinds
        self.kind: list[int] = []
        self.time_ns: list[int] = []
        self.duration_s: list[float] = []
        self.first: dict[int, tuple[int, int, Fields, bytes]] = {}
        self.last: dict[int, tuple[int, int, Fields, bytes]] = {}
        self.undecodable_count = 0
        self.not_json_count = 0

    def note(self, number: int, time_ns: int, fields: Fields, raw: bytes) -> None:
        if number in self.first:
            self.last[number] = (number, time_ns, fields, raw)
        else:
            self.first[number] = (number, time_ns, fields, raw)

    def noted(self) -> list[tuple[int, int, Fields, bytes]]:
        return [*self.first.values(), *self.last.values()]

    def used(self) -> list[LogKind]:
        return [self.kinds[number] for number in set(self.kind)]
