"""The check of the whole file's structure, which reads all of it and so takes time with the size of the store.

Some 3 s a GiB from a disk of 350 MB/s: too long for a start to wait for, and not to be left out after a clean
stop either, because files are damaged while nobody uses them, too. So the check runs beside the store, in a
thread and on a connection of its own. The start waits for it for `CHECK_WAIT_S`, which is enough for a store of a
few hundred MiB; a larger one is used meanwhile. What is stored has checksums, and damage that is met by a read or
a write is found in any case; what only this check finds is mended when it ends.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from sentinel.errors import StoreCorruptError
from sentinel.storage.sqlite.connection import Failure, connect_read_only, failure_of

CHECK_WAIT_S = 2.0
"""How long a start waits for the check."""
_LOOK_AGAIN_S = 0.05


class SoundnessCheck:
    """One run of SQLite's own check over a database that is open already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._stop = False
        self._damage = ""
        self._error: sqlite3.Error | None = None
        self._thread = threading.Thread(target=self._run, name="store-check", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it has not come to an end."""
        return self._thread.is_alive()

    @property
    def damage(self) -> str:
        """What is wrong with the structure as far as it was looked at, or ""."""
        return self._damage

    def start(self, *, wait_s: float) -> None:
        """Begin, and wait for the end for so long at most.

        Raises:
            StoreCorruptError: the structure is damaged.
            sqlite3.Error: it failed within that time for another reason, such as a failing disk.
        """
        self._thread.start()
        self._thread.join(wait_s)
        if self._damage:
            raise StoreCorruptError(self._damage)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Break it off; idempotent, also when it was never started."""
        self._stop = True
        while self.is_running:
            connection = self._connection
            if connection is not None:
                # It may close itself in this very moment, or not have begun to look yet.
                with suppress(sqlite3.ProgrammingError):
                    connection.interrupt()
            self._thread.join(_LOOK_AGAIN_S)

    def _run(self) -> None:
        try:
            with closing(connect_read_only(self._path)) as connection:
                self._connection = connection
                try:
                    if not self._stop:
                        self._look(connection)
                finally:
                    self._connection = None
        except UnicodeDecodeError:  # in what the check says of a damaged name
            self._damage = f"{self._path} is damaged"
        except sqlite3.Error as error:
            if failure_of(error) is Failure.CORRUPT:
                self._damage = f"{self._path} is damaged"
            elif not self._stop:
                self._error = error

    def _look(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("PRAGMA quick_check(1)").fetchone()
        if row is None or row[0] != "ok":
            self._damage = f"{self._path} is damaged"
