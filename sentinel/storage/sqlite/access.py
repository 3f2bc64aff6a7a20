"""Every transaction goes through here, and so does every way in which one can fail.

- The disk is full: the ballast is given up for work that may use it, and it is tried once more.
- The disk fails: the session ends; the next call opens the file anew, checks it, and goes on.
- The structure is damaged: the file is put aside and rebuilt, and the work tried once more.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sentinel.errors import StoreCorruptError, StoreError, StoreFullError
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.connection import (
    DATABASE_NAME,
    DirectoryLock,
    Failure,
    checkpoint,
    failure_of,
    make_directory,
    store_error,
    wal_bytes,
)
from sentinel.storage.sqlite.salvage import finish_interrupted, rebuild
from sentinel.storage.sqlite.session import Session, open_session
from sentinel.storage.sqlite.space import RESERVE_BYTES_MIN, Space
from sentinel.storage.sqlite.trouble import Topic, Trouble
from sentinel.storage.sqlite.upgrade_copy import copy_bytes, remove_copies

Result = TypeVar("Result")

_WAL_BYTES_ALARM = 64 << 20


class Access:
    """The open database of one folder; its `lock` lets one thread through at a time.

    Attributes:
        path: the database file.
        lock: to be held over calls that belong together.
        space: room on the disk.
        trouble: what is wrong now.
    """

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self._directory = Path(config.directory)
        self._keep_copy_s = config.keep_upgrade_copy
        self.path = self._directory / DATABASE_NAME
        self.lock = threading.RLock()
        self.space = Space(self._directory, reserve_bytes=config.reserve_bytes)
        self.trouble = Trouble()
        self._metrics = surroundings.metrics
        self._flow = Flow("storage.sqlite", surroundings.metrics)
        self._logger = surroundings.logger
        self._folder_lock = DirectoryLock(self._directory)
        self._session: Session | None = None
        self._is_open = False
        self._is_checking = False

    @property
    def is_open(self) -> bool:
        """Whether the folder is ours."""
        return self._is_open

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk: database, write-ahead log, ballast, and the copy from before an upgrade."""
        main_bytes = self.path.stat().st_size if self.path.exists() else 0
        held_bytes = self.space.ballast_bytes + copy_bytes(self.path)
        return main_bytes + wal_bytes(self.path) + held_bytes

    def open(self) -> None:
        """See `SqliteStore.open`."""
        make_directory(self._directory)
        self._folder_lock.acquire()
        try:
            finish_interrupted(self.path)
            self._begin_session()
            self._hold_space_back()
        except OSError as error:
            self._end_session()
            self._folder_lock.release()
            msg = f"the store in {self._directory} cannot be opened: {error.strerror}"
            raise StoreError(msg) from error
        except BaseException:
            self._end_session()
            self._folder_lock.release()
            raise
        self._is_open = True

    def close(self) -> None:
        """Let go of file and folder."""
        self._is_open = False
        self._end_session()
        self._folder_lock.release()

    def ready(self) -> Session:
        """The session; begun anew when it was ended by a failure.

        Raises:
            StoreError: the store is not open, or cannot be opened again now.
        """
        if not self._is_open:
            msg = f"the store in {self._directory} is not open"
            raise StoreError(msg)
        session = self._session
        if session is None:
            finish_interrupted(self.path)
            session = self._begin_session()
            self.trouble.clear(Topic.FAILING)
            self._logger.warning("Store was opened again after a failure")
        elif self._is_checking and not session.check.is_running:
            self._is_checking = False
            if session.check.damage:
                return self._rebuild_session(session.check.damage)
            session.keep_first_page(self.path)
        return session

    def write(
        self,
        operation: str,
        work: Callable[[Session], Result],
        *,
        may_use_reserve: bool = False,
    ) -> Result:
        """Run `work` in a transaction that is on the disk when this returns.

        A full disk gives up the ballast and tries once more, for work that may use it; a damaged
        file is rebuilt and the work tried once more.

        Raises:
            StoreFullError: no room.
            StoreError: nothing was kept.
        """
        try:
            return self._transact(operation, work)
        except StoreFullError:
            self.space.note_full()
            self._note_full()
            if not may_use_reserve or not self._make_way():
                raise
        except StoreCorruptError as error:
            self._rebuild_session(str(error))
        return self._transact(operation, work)

    def read(self, operation: str, work: Callable[[Session], Result]) -> Result:
        """Run `work`, which changes nothing.

        Raises:
            StoreError: the file cannot be read.
        """
        with self.lock:
            session = self.ready()
            try:
                return work(session)
            except sqlite3.Error as error:
                failure = self._failed(operation, error)
                if not isinstance(failure, StoreCorruptError):
                    raise failure from error
                session = self._rebuild_session(str(failure))
            try:
                return work(session)
            except sqlite3.Error as error:
                raise self._failed(operation, error) from error

    def attempt(self, operation: str, work: Callable[[], object]) -> None:
        """Do work whose failure must not fail the call it rides on; it is tried again later."""
        try:
            work()
        except (StoreError, OSError) as error:
            self._logger.warning(
                "Store work is put off", extra={"operation": operation, "reason": str(error)}
            )

    def has_room(self) -> bool:
        """Whether there is room for windows; looks at the disk anew."""
        try:
            has_room = self.space.refresh()
            if not has_room and self.remove_upgrade_copies(reason="the disk is full"):
                has_room = self.space.refresh()
        except OSError:
            return True  # the write itself will tell
        if has_room:
            self.trouble.clear(Topic.FULL)
        else:
            self._note_full()
        return has_room

    def remove_upgrade_copies(self, *, reason: str, made_before_ns: int | None = None) -> bool:
        """Remove copies from before an upgrade, all unless an instant is given; whether there was one."""
        removed = remove_copies(self.path, made_before_ns=made_before_ns)
        if removed:
            self._logger.info(
                "Copy of the store from before its upgrade was removed",
                extra={"file": ", ".join(removed), "reason": reason},
            )
        return bool(removed)

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the database; on a full disk its room is used again."""
        if self.ready().check.is_running:
            return  # it reads, and this would wait for it
        cut = not self.space.is_low
        if self.read("checkpoint", lambda session: checkpoint(session.connection, cut=cut)):
            self.trouble.clear(Topic.LOG)
        elif wal_bytes(self.path) > _WAL_BYTES_ALARM:
            self.trouble.note(
                Topic.LOG, "A reader keeps the write-ahead log from being brought in"
            )
            self._metrics.count(
                "sentinel_store_errors_total", operation="checkpoint", reason=Failure.BUSY
            )

    def _begin_session(self) -> Session:
        try:
            session = self._open_session()
        except StoreCorruptError as error:
            return self._rebuild_session(str(error))
        self._session = session
        self._is_checking = session.check.is_running
        return session

    def _open_session(self) -> Session:
        """Open the database; on a full disk what can make way does.

        Without any room SQLite cannot make the file it shares memory by, and calls that a failing disk.
        """
        while True:
            try:
                return open_session(self.path, on_copy=self._tell_of_copy)
            except StoreError as error:
                is_full = isinstance(error, StoreFullError) or (
                    type(error) is StoreError and self.space.free_bytes() < RESERVE_BYTES_MIN
                )
                if not is_full:
                    raise
                if self.remove_upgrade_copies(reason="the disk is full"):
                    continue
                if not self.space.give_up_ballast():
                    msg = f"{error}; the disk of {self._directory} is full and no reserve is held"
                    raise StoreFullError(msg) from error
                self._logger.warning("Disk is full; the reserve was given up to open the store")

    def _tell_of_copy(self, name: str, reason: str) -> None:
        if reason:
            self._logger.warning(
                "Store is upgraded without a copy of it as it was", extra={"reason": reason}
            )
        else:
            self._logger.info(
                "Store is upgraded; a copy of it as it was is kept for a while",
                extra={"file": name, "keep_s": self._keep_copy_s},
            )

    def _rebuild_session(self, reason: str) -> Session:
        self._end_session()
        self._logger.error("Store is damaged and will be rebuilt", extra={"reason": reason})
        self._metrics.count("sentinel_store_corrupt_chunks_total", what="database")
        try:
            salvage = rebuild(self.path)
        except (OSError, sqlite3.Error) as error:
            msg = f"the damaged store in {self._directory} cannot be rebuilt: {error}"
            raise StoreError(msg) from error
        self.trouble.note(Topic.DAMAGE, salvage.sentence)
        self._logger.error(salvage.sentence)
        session = open_session(self.path)
        self._session = session
        self._is_checking = session.check.is_running
        return session

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _hold_space_back(self) -> None:
        """Make the ballast, and say so when there is no room for it."""
        self.has_room()
        if self.space.is_asked_for and not self.space.ballast_bytes:
            self._logger.warning(
                "No disk space could be held back: once the disk is full, pages are in memory only",
                extra={"free_bytes": self.space.free_bytes(), "folder": str(self._directory)},
            )

    def _note_full(self) -> None:
        kept = "pages are kept"
        if not self.space.ballast_bytes:
            kept = "no reserve is held, so pages are kept only as far as there is room"
        self.trouble.note(Topic.FULL, f"The disk is full: windows are dropped, {kept}")

    def _make_way(self) -> bool:
        """Find room on a full disk: the ballast, or else what the write-ahead log holds already."""
        if self.space.give_up_ballast():
            self._logger.warning("Disk is full; the reserve was given up for pages")
            return True
        try:
            self.checkpoint()
        except StoreError:
            return False
        return True

    def _transact(self, operation: str, work: Callable[[Session], Result]) -> Result:
        session = self.ready()
        try:
            session.connection.execute("BEGIN IMMEDIATE")
            result = work(session)
            session.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(session)
            raise self._failed(operation, error) from error
        except BaseException:
            self._roll_back(session)
            raise
        self._metrics.count("sentinel_store_writes_total")
        return result

    def _roll_back(self, session: Session) -> None:
        try:
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
            session.forget()
        except (sqlite3.Error, StoreCorruptError):
            self._end_session()  # the next call opens the file anew and checks it

    def _failed(self, operation: str, error: sqlite3.Error) -> StoreError:
        """Count a failure and say what it means.

        After a failure of the disk, what reached it is unknown: nothing is believed before the file
        has been opened and checked anew, so the session ends here.
        """
        failure = failure_of(error)
        self._metrics.count("sentinel_store_errors_total", operation=operation, reason=failure)
        reason = FlowReason.DISK_FULL if failure is Failure.FULL else FlowReason.FAULT
        self._flow.error(FlowStage.STORE, reason)
        if failure is Failure.IO:
            self._end_session()
            self.trouble.note(Topic.FAILING, f"The disk fails: {error}")
        return store_error(error, operation=operation)
