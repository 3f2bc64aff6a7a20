"""One export: part after part into a file that goes with the process, and from there into the database.

No more than a part is ever on the disk, and next to nothing in memory, whatever the period holds. A part is stored as soon as it is
written; nobody is shown any before the last one is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO, Final

from sentinel.reference.ledger.audit import archive, rows
from sentinel.reference.ledger.audit.archive import Head, Sink
from sentinel.reference.ledger.audit.export import Exported, Period, export_parts
from sentinel.reference.ledger.audit.exports import rows as exports
from sentinel.reference.ledger.audit.exports.rows import CHUNK_BYTES, Due, StoredPart
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.audit.rows import BrokenLogError
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.note import MalformedNoteError
from sentinel.reference.ledger.domain.exports import ExportFailure
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session, translated

# What is added to the time that a part may take, before its work counts as lost.
_LEASE_GRACE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a part of an export, and all of it, may come to.

    Attributes:
        part_entries_count: entries of a part; the next one goes on.
        part_bytes: bytes after which a part ends.
        part_seconds_max: how long a part may take.
        bytes_max: of all parts together.
    """

    part_entries_count: int = 50_000
    part_bytes: int = 64 * 1024 * 1024
    part_seconds_max: float = 600.0
    bytes_max: int = 8 * 1024 * 1024 * 1024

    @property
    def lease_s(self) -> float:
        """After how long without a part the work on an export counts as lost."""
        return self.part_seconds_max + _LEASE_GRACE_S


class ExportFailedError(LedgerError):
    """There will be no export; `reason` says why."""

    def __init__(self, message: str, *, reason: ExportFailure) -> None:
        super().__init__(message)
        self.reason = reason


class _TakenOverError(LedgerError):
    """Another process has begun it anew."""


class _Parts:
    """Takes the parts of one export, and stores each."""

    def __init__(
        self, config: PostgresConfig, due: Due, bounds: Bounds, limit: asyncio.Timeout
    ) -> None:
        self._config = config
        self._due = due
        self._bounds = bounds
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._chunks_count = 0
        self.stored: list[StoredPart] = []
        self.bytes_count = 0

    def begin(self) -> Sink:
        self._file = tempfile.TemporaryFile(prefix="sentinel-ledger-export-")  # noqa: SIM115 - `end` closes it
        return self._file

    async def end(self, head: Head, writer: archive.Writer) -> None:
        assert self._file is not None
        first_line = archive.head_line(head)
        bytes_count = len(first_line) + writer.bytes_count
        self.bytes_count += bytes_count
        if self.bytes_count > self._bounds.bytes_max:
            message = f"an export is of {self._bounds.bytes_max} bytes at most"
            raise ExportFailedError(message, reason=ExportFailure.TOO_LARGE)
        with self._file as file:
            file.seek(0)
            first_chunk = self._chunks_count
            digest = await self._store(first_line, file)
        self.stored.append(
            StoredPart(
                entries_count=writer.entries_count,
                bytes_count=bytes_count,
                sha256=digest,
                first_chunk=first_chunk,
            )
        )
        self._go_on()

    async def clear(self) -> None:
        """Remove what an earlier attempt has left; the time of the first part begins afterwards."""
        first: int | None = 0
        async with session(
            self._config, application_name="audit-export", settings=dict(SETTINGS)
        ) as connection:
            while first is not None:
                async with connection.transaction():
                    with translated():
                        if not await exports.is_mine(connection, self._due):
                            raise _TakenOverError
                        first = await exports.clear_slice(connection, self._due.key, first)
                        await exports.renew(connection, self._due, self._bounds.lease_s)
                self._go_on()

    def close(self) -> None:
        """Let go of a part that did not come to its end."""
        if self._file is not None:
            self._file.close()

    def _go_on(self) -> None:
        self._limit.reschedule(asyncio.get_running_loop().time() + self._bounds.part_seconds_max)

    async def _store(self, first_line: bytes, file: IO[bytes]) -> str:
        digest = hashlib.sha256()
        async with (
            session(
                self._config, application_name="audit-export", settings=dict(SETTINGS)
            ) as connection,
            connection.transaction(),
        ):
            with translated():
                if not await exports.is_mine(connection, self._due):
                    raise _TakenOverError
                content = first_line + file.read(CHUNK_BYTES - len(first_line))
                while content:
                    digest.update(content)
                    await exports.add_chunk(connection, self._due, self._chunks_count, content)
                    self._chunks_count += 1
                    content = file.read(CHUNK_BYTES)
                await exports.renew(connection, self._due, self._bounds.lease_s)
        return digest.hexdigest()


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
    limit = asyncio.timeout(bounds.part_seconds_max)
    parts = _Parts(config, due, bounds, limit)
    try:
        async with limit:
            await parts.clear()
            exported = await _write(config, parts, period, bounds, witnessed=witnessed)
            await _done(config, due, parts, exported, keep_s=keep_s)
    except _TakenOverError:
        return None
    except TimeoutError as error:
        if not limit.expired():
            raise
        message = f"a part of an export may take {bounds.part_seconds_max:.0f} s"
        raise ExportFailedError(message, reason=ExportFailure.TOOK_TOO_LONG) from error
    except (BrokenLogError, MalformedNoteError) as error:
        raise ExportFailedError(str(error), reason=ExportFailure.BROKEN_TRAIL) from error
    finally:
        parts.close()
    return exported, parts.bytes_count


async def _write(
    config: PostgresConfig, parts: _Parts, period: Period, bounds: Bounds, *, witnessed: bool
) -> Exported:
    # While a part is stored this one waits, in the snapshot that all parts are of.
    waits_ms = str(int(1000 * bounds.lease_s))
    settings = {**SETTINGS, "idle_in_transaction_session_timeout": waits_ms}
    async with (
        session(config, application_name="audit-export", settings=settings) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        with translated():
            return await export_parts(
                connection,
                parts,
                period,
                witnessed=witnessed,
                entries_count_max=bounds.part_entries_count,
                bytes_max=bounds.part_bytes,
            )


async def _done(
    config: PostgresConfig, due: Due, parts: _Parts, exported: Exported, *, keep_s: float
) -> None:
    async with (
        session(config, application_name="audit-export", settings=dict(SETTINGS)) as connection,
        connection.transaction(),
    ):
        with translated():
            if not await exports.is_mine(connection, due):
                raise _TakenOverError
            await exports.done(
                connection,
                due,
                keep_s=keep_s,
                entries_count=exported.entries_count,
                bytes_count=parts.bytes_count,
                parts=parts.stored,
                checkpoint_size=exported.size,
            )
