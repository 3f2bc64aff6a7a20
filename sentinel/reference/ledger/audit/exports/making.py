"""One export: written to a file that goes with the process, within bounds, and then into the database in parts."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.export import (
    Exported,
    Period,
    TooManyEntriesError,
    export_period,
)
from sentinel.reference.ledger.audit.exports import rows as exports
from sentinel.reference.ledger.audit.exports.rows import PART_BYTES, Due
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.audit.rows import BrokenLogError
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.note import MalformedNoteError
from sentinel.reference.ledger.domain.exports import ExportFailure
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session, translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one export may come to."""

    entries_count_max: int = 50_000
    bytes_max: int = 128 * 1024 * 1024
    seconds_max: float = 600.0


class ExportFailedError(LedgerError):
    """There will be no export; `reason` says why."""

    def __init__(self, message: str, *, reason: ExportFailure) -> None:
        super().__init__(message)
        self.reason = reason


class _BoundedFile:
    """Counts and hashes what is written, and refuses what is too much."""

    def __init__(self, file: IO[bytes], bytes_max: int) -> None:
        self._file = file
        self._bytes_max = bytes_max
        self._hash = hashlib.sha256()
        self.bytes_count = 0

    @property
    def sha256(self) -> bytes:
        return self._hash.digest()

    def write(self, data: bytes, /) -> object:
        self.bytes_count += len(data)
        if self.bytes_count > self._bytes_max:
            message = f"an export is of {self._bytes_max} bytes at most"
            raise ExportFailedError(message, reason=ExportFailure.TOO_LARGE)
        self._hash.update(data)
        return self._file.write(data)


async def make(
    config: PostgresConfig, due: Due, bounds: Bounds, *, witnessed: bool, keep_s: float
) -> tuple[Exported, int] | None:
    """Write the export and store it; returns what it holds and its bytes, or None when another process has begun it anew.

    Raises:
        ExportFailedError: it cannot be made, now or later.
        UnavailableError: the database does not answer; it may be tried again.
        PermanentError: the database refuses.
    """
    period = Period(from_us=rows.us_of(due.start), to_us=rows.us_of(due.end), tenant=due.tenant)
    limit = asyncio.timeout(bounds.seconds_max)
    with tempfile.TemporaryFile(prefix="sentinel-ledger-export-") as file:
        out = _BoundedFile(file, bounds.bytes_max)
        try:
            async with limit:
                exported = await _write(config, out, period, bounds, witnessed=witnessed)
                stored = await _store(config, due, file, out, exported, keep_s=keep_s)
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"an export may take {bounds.seconds_max:.0f} s"
            raise ExportFailedError(message, reason=ExportFailure.TOOK_TOO_LONG) from error
        except TooManyEntriesError as error:
            raise ExportFailedError(str(error), reason=ExportFailure.TOO_MANY_ENTRIES) from error
        except (BrokenLogError, MalformedNoteError) as error:
            raise ExportFailedError(str(error), reason=ExportFailure.BROKEN_TRAIL) from error
    return (exported, out.bytes_count) if stored else None


async def _write(
    config: PostgresConfig, out: _BoundedFile, period: Period, bounds: Bounds, *, witnessed: bool
) -> Exported:
    async with (
        session(config, application_name="audit-export", settings=dict(SETTINGS)) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        with translated():
            return await export_period(
                connection,
                out,
                period,
                witnessed=witnessed,
                entries_count_max=bounds.entries_count_max,
            )


async def _store(
    config: PostgresConfig,
    due: Due,
    file: IO[bytes],
    out: _BoundedFile,
    exported: Exported,
    *,
    keep_s: float,
) -> bool:
    file.seek(0)
    async with (
        session(config, application_name="audit-export", settings=dict(SETTINGS)) as connection,
        connection.transaction(),
    ):
        with translated():
            if not await exports.is_mine(connection, due):
                return False
            await exports.clear_parts(connection, due)
            part = 0
            while content := file.read(PART_BYTES):
                await exports.add_part(connection, due, part, content)
                part += 1
            await exports.done(
                connection,
                due,
                keep_s=keep_s,
                entries_count=exported.entries_count,
                bytes_count=out.bytes_count,
                sha256=out.sha256,
                checkpoint_size=exported.size,
            )
    return True
