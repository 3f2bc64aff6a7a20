"""Stores in the archive what PostgreSQL hands over, and says so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.wal import is_wal_file, wal_key
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.telemetry import (
    ARCHIVE_SERVICE,
    Event,
    Telemetry,
    start_telemetry,
)
from sentinel.reference.ledger.wire.s3 import Archive

_POLL_S: Final = 0.1
_RETRY_S: Final = 2.0


class Storekeeper:
    """Stores what is handed over, in the order of the log, until it is told to stop."""

    def __init__(self, archive: Archive, spool: Path, telemetry: Telemetry) -> None:
        self._archive = archive
        self._spool = spool
        self._telemetry = telemetry
        self._stored = telemetry.meter.create_counter(
            "ledger.archive.stored",
            unit="{file}",
            description="Files of the log that the archive took, by whether it had them already.",
        )
        self._failed = telemetry.meter.create_counter(
            "ledger.archive.failed",
            unit="{attempt}",
            description="Attempts to store a file of the log that failed, by the archive's code.",
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Store files as they come; one that fails is tried again, and those after it wait."""
        while not stop.is_set():
            try:
                waiting = self._waiting()
                for file in waiting:
                    await self._store(file)
                pause_s = _POLL_S
            except (UnavailableError, PermanentError) as error:
                self._failed.add(1, {"error.type": error.code or type(error).__name__})
                self._telemetry.error(
                    Event.ARCHIVE_FAILED,
                    f"Archiving the log fails: {error}",
                    error_code=error.code,
                )
                pause_s = _RETRY_S
            try:
                await asyncio.wait_for(stop.wait(), timeout=pause_s)
            except TimeoutError:
                continue

    def _waiting(self) -> list[Path]:
        return sorted(file for file in self._spool.iterdir() if is_wal_file(file.name))

    async def _store(self, file: Path) -> None:
        fresh = await asyncio.to_thread(self._store_now, file)
        self._stored.add(1, {"ledger.archive.known": not fresh})

    def _store_now(self, file: Path) -> bool:
        fresh = self._archive.put(wal_key(file.name), file.read_bytes())
        # First it is gone, then it is told: who is killed between the two is handed the file again.
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.done").touch(mode=0o644)
        return fresh


async def keep_storing(archive: Archive, spool: Path) -> None:
    """Store what is handed over until SIGTERM or SIGINT."""
    telemetry = start_telemetry(ARCHIVE_SERVICE)
    try:
        stop = stop_on_signals()
        telemetry.info(Event.ARCHIVE_STARTED, "What PostgreSQL hands over is stored")
        say({"event": "ready", "role": "archive", "pid": os.getpid()})
        await Storekeeper(archive, spool, telemetry).run(stop)
    finally:
        telemetry.stop()


def store_one(archive: Archive, path: Path) -> bool:
    """Store one file of the log, as an archive_command itself; False when it was there already.

    Raises:
        LedgerError: it is no file of a log.
        PermanentError: the archive has another of this name.
        UnavailableError: the archive does not answer.
    """
    if not is_wal_file(path.name):
        message = f"{path.name} is no file of PostgreSQL's log"
        raise LedgerError(message)
    return archive.put(wal_key(path.name), path.read_bytes())
