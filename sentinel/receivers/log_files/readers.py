"""What reads the records of a source, by its format and the zone of its clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sentinel.core.normalise.kong.files import KongFileReader
from sentinel.core.normalise.logs.reader import LogReader
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.core.normalise.logs.times import LocalToUtc, utc_clock
from sentinel.receivers.log_files.config import LogSourceConfig


def reader_of(source: LogSourceConfig) -> LogReader | KongFileReader:
    """A reader that is kept for the life of the source."""
    if source.format is LogFormat.KONG:
        return KongFileReader()
    return LogReader(source.reader_settings(), to_utc=_clock_of(source))


def _clock_of(source: LogSourceConfig) -> LocalToUtc:
    if source.zone == "UTC":
        return utc_clock
    zone = ZoneInfo(source.zone)

    def to_utc(local: datetime) -> int:
        return int(local.replace(tzinfo=zone).timestamp())

    return to_utc
