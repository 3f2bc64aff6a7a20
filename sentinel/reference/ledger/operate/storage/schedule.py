"""Takes base backups again and again, says how old the newest is, and lets go of what none needs any more."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.backups import Backup, restorable
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.operate.storage.backup import find_backups, prune, take_backup
from sentinel.reference.ledger.telemetry import BACKUP_SERVICE, Event, Telemetry, start_telemetry
from sentinel.reference.ledger.telemetry.backups import BackupSignals
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.s3 import Archive

_LOOK_S: Final = 900.0
_RETRY_FIRST_S: Final = 30.0
_RETRY_MAX_S: Final = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """When a backup is taken, and whether old ones go.

    Attributes:
        every_s: from the end of one to the next.
        prunes: whether what no point of the last `keep_days` needs is removed after each.
        look_s: between two looks at what the archive holds.
        retry_s: until an attempt that failed is made again; twice as long each time, half an hour at most.
    """

    every_s: float
    prunes: bool = False
    look_s: float = _LOOK_S
    retry_s: float = _RETRY_FIRST_S


class Schedule:
    """Backups of one server into one archive, until it is told to stop."""

    def __init__(
        self,
        config: ScheduleConfig,
        archive: Archive,
        postgres: PostgresConfig,
        telemetry: Telemetry,
    ) -> None:
        self._config = config
        self._archive = archive
        self._postgres = postgres
        self._telemetry = telemetry
        self._signals = BackupSignals(telemetry, every_s=config.every_s)
        self._newest_s: float | None = None
        # At the start too: who was here before may have ended between a backup and this.
        self._to_prune = config.prunes

    async def run(self, stop: asyncio.Event) -> None:
        """Take each backup when it is due: what others took counts, and so does what was there before the start."""
        stopping = asyncio.create_task(stop.wait(), name="backup-stop")
        retry_s = self._config.retry_s
        warned = False
        try:
            while not stop.is_set():
                if not warned:
                    warned = await self._warn()
                # Half a backup is worth nothing, and harms nothing: it may end anywhere.
                turn = asyncio.create_task(self._turn(), name="backup-turn")
                await asyncio.wait({turn, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not turn.done():
                    turn.cancel()
                    await asyncio.wait({turn})
                    return
                if turn.result():
                    pause_s, retry_s = self._pause_s(), self._config.retry_s
                else:
                    pause_s, retry_s = retry_s, min(2 * retry_s, _RETRY_MAX_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), timeout=pause_s)
        finally:
            stopping.cancel()

    async def _turn(self) -> bool:
        """Look, take one if it is due, and let go of what is old; False when that failed."""
        try:
            found = await self._look()
            if not found or time.time() >= found[-1].ended_s + self._config.every_s:
                backup = await take_backup(self._archive, self._postgres)
                self._signals.took()
                self._newest_s = backup.ended_s
                self._telemetry.info(
                    Event.BACKUP_TAKEN, "A base backup is stored", name=backup.name
                )
                say({"event": "backup_done", **asdict(backup)})
                await self._look()
                self._to_prune = self._config.prunes
            if self._to_prune:
                gone = await asyncio.to_thread(prune, self._archive, now_s=time.time())
                self._signals.removed(len(gone))
                self._to_prune = False
        # The scratch folder's disk may be full: it is tried again, as what the servers refuse.
        except (LedgerError, OSError) as error:
            code = error.code if isinstance(error, UnavailableError | PermanentError) else ""
            self._signals.failed(code or type(error).__name__)
            self._telemetry.error(
                Event.BACKUP_FAILED, f"No base backup can be taken: {error}", error_code=code
            )
            return False
        return True

    async def _look(self) -> list[Backup]:
        """Return the backups, and note which of them a server can come back from."""
        backups = await asyncio.to_thread(find_backups, self._archive)
        keys = await asyncio.to_thread(self._archive.keys, "wal/")
        good = restorable(backups, {key.rpartition("/")[2] for key in keys})
        self._newest_s = backups[-1].ended_s if backups else None
        self._signals.found(count=len(good), newest_s=good[-1].ended_s if good else None)
        return backups

    def _pause_s(self) -> float:
        assert self._newest_s is not None
        due_s = self._newest_s + self._config.every_s - time.time()
        return max(min(due_s, self._config.look_s), 0.0)

    async def _warn(self) -> bool:
        """Tell of rules of the bucket that would remove the last good backup; False when it could not be asked."""
        try:
            folders = await asyncio.to_thread(self._archive.expiring)
        except UnavailableError:
            return False
        except PermanentError:
            return True  # the credentials may not ask
        if set(folders) & {"base/", "wal/"}:
            self._telemetry.warning(
                Event.BACKUP_EXPIRES,
                "The bucket's rules remove backups and log by their age, the last good ones too: run `archive setup` again",
            )
        return True


async def keep_backing_up(
    config: ScheduleConfig, archive: Archive, postgres: PostgresConfig
) -> None:
    """Take backups until SIGTERM or SIGINT."""
    telemetry = start_telemetry(BACKUP_SERVICE)
    try:
        stop = stop_on_signals()
        telemetry.info(Event.BACKUP_STARTED, "Base backups are taken", every_s=config.every_s)
        say({"event": "ready", "role": "backup", "pid": os.getpid()})
        await Schedule(config, archive, postgres, telemetry).run(stop)
        telemetry.info(Event.BACKUP_STOPPED, "Base backups are no longer taken")
    finally:
        telemetry.stop()
