"""Lines of Kong's file-log plugin: one record of `kong.log` each, as its http-log sends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentinel.core.model import RejectReason
from sentinel.core.normalise.kong.log import KongLogReader, KongLogSettings
from sentinel.core.normalise.kong.rows import Row
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogsRead
from sentinel.core.normalise.otlp_logs_encode import encode_uid
from sentinel.errors import InputError


class KongFileReader:
    """Reads records of files; holds bounded caches, so one is kept for the life of a source."""

    def __init__(self) -> None:
        self._readers: dict[tuple[str, bool], KongLogReader] = {}

    def read(
        self,
        records: Sequence[Record],
        *,
        service: str,
        now_ns: int,
        fingerprint: bytes = b"",
        uid: str | None = None,
    ) -> LogsRead:
        """As `LogReader.read`; a line that is no record of Kong is rejected."""
        reader = self._readers.get((service, uid is not None))
        if reader is None:
            settings = KongLogSettings(service=service, as_otlp=uid is not None)
            reader = self._readers[service, uid is not None] = KongLogReader(settings)
        rows: list[Row] = []
        rejected: dict[RejectReason, int] = {}
        encoded: list[bytes] = []
        for record in records:
            try:
                found, refused = reader.rows(record.text, now_ns=now_ns)
            except InputError:
                found, refused = [], {RejectReason.BAD_SHAPE: 1}
            rows += found
            for reason, count in refused.items():
                rejected[reason] = rejected.get(reason, 0) + count
            if uid is not None:
                encoded += [row.otlp + encode_uid(f"{uid}-{record.start:x}") for row in found]
        batch = reader.batch(rows)
        return LogsRead(
            batch=replace(batch, rejected=rejected, fingerprint=fingerprint if rows else b""),
            encoded={service: encoded} if encoded else {},
            tells_of_calls=frozenset((service,)) if rows else frozenset(),
            undecodable_count=0,
            not_json_count=rejected.get(RejectReason.BAD_SHAPE, 0),
            requests=tuple(row.identity for row in rows),
        )
