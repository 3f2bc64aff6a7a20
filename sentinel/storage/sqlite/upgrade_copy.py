"""The copy of an older store that is made before it is upgraded, for a person who wants to go back.

It is a convenience: an upgrade is one transaction a step and needs no copy to be safe. So a copy that does not
fit is not made, it is removed after some days, and it is the first thing to go when the disk is full.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sentinel.storage.sqlite.connection import Failure, failure_of

ROOM_LEFT_BYTES = 16 << 20
"""So much must be free beside the copy: with less, a store of the usual reserve stops taking windows."""


def copy_store(connection: sqlite3.Connection, path: Path, *, version: int) -> str:
    """Copy the database at `path` to `<name>.before-v<version>`; why there is no copy, or "" when there is.

    Older copies are removed first, and what a failed one leaves is too.

    Raises:
        sqlite3.Error: the database itself is damaged.
    """
    remove_copies(path)
    (page_count,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    needed_bytes = page_count * page_bytes
    free_bytes = _free_bytes(path.parent)
    if free_bytes < needed_bytes + ROOM_LEFT_BYTES:
        return f"it takes {needed_bytes} bytes and {free_bytes} are free"
    target = copy_path(path, version=version)
    try:
        target.touch(mode=0o600)
        with closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
    except (OSError, sqlite3.Error) as error:
        remove_copies(path)
        if isinstance(error, sqlite3.Error) and failure_of(error) is Failure.CORRUPT:
            raise
        return str(error)
    return ""


def copy_path(path: Path, *, version: int) -> Path:
    """Where the copy from before that version is."""
    return path.with_name(f"{path.name}.before-v{version}")


def copy_bytes(path: Path) -> int:
    """Bytes that copies take up now."""
    return sum(one.stat().st_size for one in _copies(path))


def remove_copies(path: Path, *, made_before_ns: int | None = None) -> list[str]:
    """Remove copies, all of them unless an instant is given; the names of what was removed.

    What SQLite may have left beside a copy (a journal, a log) is taken for one.
    """
    removed = []
    for one in _copies(path):
        if made_before_ns is None or one.stat().st_mtime_ns < made_before_ns:
            one.unlink(missing_ok=True)
            removed.append(one.name)
    return removed


def _copies(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.before-v*"))


def _free_bytes(directory: Path) -> int:
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize
