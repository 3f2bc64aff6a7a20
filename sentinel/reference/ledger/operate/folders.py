"""Folders for one run, removed at its end, or at the start of the next when a run was killed.

A folder holds a file that its process keeps locked for as long as it lives, so that what a dead run
left behind can be told from what a living one uses. The kernel lets the lock go with the process.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.children import Owner

_PREFIX: Final = "sentinel-ledger-"
_LOCK: Final = "in-use"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a fresh folder that PostgreSQL's user can pass through, though not look around in.

    Some people's own temporary folder is closed to others; then the machine's is used. The folders
    of runs that were killed are removed first.

    Raises:
        LedgerError: there is no place for it.
    """
    owner = unprivileged_owner()
    bases = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - mkdtemp
    for base in dict.fromkeys(bases):
        _sweep(base)
    for base in bases:
        if owner is None or all(may_enter(part, owner) for part in (base, *base.parents)):
            break
    else:
        message = "no temporary folder that PostgreSQL's user can enter; give --dir"
        raise LedgerError(message)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = -1
    try:
        folder.chmod(0o700 if owner is None else 0o711)
        lock = _claim(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def unprivileged_owner() -> Owner | None:
    """Return the user PostgreSQL runs as when this process is root; None otherwise."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def may_enter(folder: Path, owner: Owner) -> bool:
    """Say whether `owner` can pass through a folder."""
    status = folder.stat()
    if status.st_uid == owner.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == owner.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _claim(folder: Path) -> int:
    """Lock the folder's file; it takes its name only once it is locked, so no sweep comes between."""
    draft = folder / f"{_LOCK}.new"
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder / _LOCK)
    return lock


def _sweep(base: Path) -> None:
    """Remove the folders of this user whose processes are gone; others' and unclaimed ones stay."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
