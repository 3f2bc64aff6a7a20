"""What reads the records of a source, by its format and the zone of its clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from logging import Logger
from zoneinfo import ZoneInfo

from sentinel.core.model import RejectReason
from sentinel.core.normalise.kong.files import KongFileReader
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogReader, LogsRead
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.core.normalise.logs.times import LocalToUtc, utc_clock
from sentinel.receivers.log_files.config import LogSourceConfig


class SourceReader:
    """The reader of a source, kept for its life; a record that it breaks at costs itself alone.

    A batch is read again until it is handed on, so that one line would keep all files from being read for ever: a time of
    the year 1 did.
    """

    def __init__(self, reader: LogReader | KongFileReader, logger: Logger) -> None:
        self._reader = reader
        self._logger = logger

    def read(
        self,
        records: Sequence[Record],
        *,
        service: str,
        now_ns: int,
        fingerprint: bytes = b"",
        uid: str | None = None,
    ) -> LogsRead:
        """As `LogReader.read`; records that it breaks at are rejected as `BAD_SHAPE`."""

        def read(some: Sequence[Record]) -> LogsRead:
            return self._reader.read(
                some, service=service, now_ns=now_ns, fingerprint=fingerprint, uid=uid
            )

        def is_read(record: Record) -> bool:
            try:
                read([record])
            except Exception:  # noqa: BLE001  # it was told of with the others
                return False
            return True

        try:
            return read(records)
        except Exception:
            # Which of them it was is not logged: it is a text of others.
            self._logger.exception("Records of a log broke their reader and are left out")
        whole = [record for record in records if is_read(record)]
        found = read(whole)
        rejected = dict(found.batch.rejected)
        broken_count = rejected.get(RejectReason.BAD_SHAPE, 0) + len(records) - len(whole)
        rejected[RejectReason.BAD_SHAPE] = broken_count
        return replace(found, batch=replace(found.batch, rejected=rejected))


def reader_of(source: LogSourceConfig, logger: Logger) -> SourceReader:
    """A reader that is kept for the life of the source."""
    if source.format is LogFormat.KONG:
        return SourceReader(KongFileReader(), logger)
    return SourceReader(LogReader(source.reader_settings(), to_utc=_clock_of(source)), logger)


def _clock_of(source: LogSourceConfig) -> LocalToUtc:
    if source.zone == "UTC":
        return utc_clock
    zone = ZoneInfo(source.zone)

    def to_utc(local: datetime) -> int:
        return int(local.replace(tzinfo=zone).timestamp())

    return to_utc
