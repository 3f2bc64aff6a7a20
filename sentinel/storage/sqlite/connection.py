"""Opening the database: the folder, the lock, the settings of SQLite, and what its errors mean here."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from enum import StrEnum
from pathlib import Path

from sentinel.errors import StoreCorruptError, StoreError, StoreFullError, StoreLockedError

DATABASE_NAME = "sentinel.db"
_BUSY_TIMEOUT_S = 5.0
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs"})


class Failure(StrEnum):
    """Why an operation failed; fit to be a metric label."""

    FULL = "full"
    CORRUPT = "corrupt"
    IO = "io"
    BUSY = "busy"
    OTHER = "other"


_FAILURE_BY_CODE = {
    sqlite3.SQLITE_FULL: Failure.FULL,
    sqlite3.SQLITE_CORRUPT: Failure.CORRUPT,
    sqlite3.SQLITE_NOTADB: Failure.CORRUPT,
    sqlite3.SQLITE_IOERR: Failure.IO,
    sqlite3.SQLITE_CANTOPEN: Failure.IO,
    sqlite3.SQLITE_READONLY: Failure.IO,
    sqlite3.SQLITE_BUSY: Failure.BUSY,
    sqlite3.SQLITE_LOCKED: Failure.BUSY,
}


def failure_of(error: sqlite3.Error) -> Failure:
    """What kind of failure SQLite reports; extended codes count as their primary one."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The module itself raises without a code, such as for text that is not UTF-8.
        return Failure.CORRUPT if isinstance(error, sqlite3.OperationalError) else Failure.OTHER
    return _FAILURE_BY_CODE.get(code & 0xFF, Failure.OTHER)


def store_error(error: sqlite3.Error, *, operation: str) -> StoreError:
    """SQLite's error as one of ours."""
    failure = failure_of(error)
    message = f"{operation} failed: {error}"
    if failure is Failure.FULL:
        return StoreFullError(message)
    if failure is Failure.CORRUPT:
        return StoreCorruptError(message)
    return StoreError(message)


def make_directory(directory: Path) -> None:
    """Make the store's folder, readable by its owner alone.

    Raises:
        StoreError: it cannot be made, or lies on a network file system, where locks and WAL do not hold.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the store's folder {directory} cannot be made: {error.strerror}"
        raise StoreError(msg) from error
    kind = _file_system(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        msg = f"the store's folder {directory} lies on {kind}; it must be on a local disk"
        raise StoreError(msg)


class DirectoryLock:
    """The right to use a store's folder, held on the folder itself until the process ends or lets go.

    A lock on a file descriptor and not a file with a process id: the kernel gives it back at the
    moment the process dies, however it dies. On the folder and not on a file in it: a lock file that
    somebody removes, in the belief that it is a leftover, would let a second process in.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock at once, or raise.

        Raises:
            StoreLockedError: another process holds it.
            StoreError: the folder cannot be opened or written.
        """
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"the store's folder {self._directory} cannot be opened: {error.strerror}"
            raise StoreError(msg) from error
        if not os.access(self._directory, os.W_OK | os.X_OK):
            os.close(fd)
            msg = f"the store's folder {self._directory} cannot be written"
            raise StoreError(msg)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            msg = f"another process uses the store in {self._directory}"
            raise StoreLockedError(msg) from error
        self._fd = fd

    def release(self) -> None:
        """Let go; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes, with every setting made; the file is made when it is missing."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    is_new = path.stat().st_size == 0
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        if is_new:  # it has effect then only, and would write to a file that may not be ours
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in (
            "journal_mode = WAL",
            # FULL: what is committed is on the disk. It costs 1 ms a window of 10,000 series.
            "synchronous = FULL",
            # Checkpoints are ours to call, because SQLite's own ones hide a failing disk.
            "wal_autocheckpoint = 0",
            "journal_size_limit = 4194304",
            "cache_size = -2048",
            "temp_store = MEMORY",
            "cell_size_check = ON",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection beside the one that writes; it cannot change anything.

    Beside a log that is read with it SQLite makes a file. On a file system that takes none, such as a mounted copy, there is
    no writer either, and where no log was left the database alone is all there is.
    """
    is_still = not os.access(path.parent, os.W_OK) and wal_bytes(path) == 0
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -2048")
    except BaseException:
        connection.close()
        raise
    return connection


def checkpoint(connection: sqlite3.Connection, *, cut: bool) -> bool:
    """Bring the write-ahead log into the database; False when a reader was in the way.

    Then the log is cut, or kept at its length to be written over: what is given back to a full disk
    is gone.
    """
    mode = "TRUNCATE" if cut else "RESTART"
    busy, _, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(busy == 0)


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _file_system(directory: Path) -> str:
    """Name of the file system a folder lies on, or "" when the machine does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    resolved = directory.resolve()
    best = ("", "")
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ")
        if resolved.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, fields[2])
    return best[1]
