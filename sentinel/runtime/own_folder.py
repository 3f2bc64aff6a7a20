"""A temporary folder: gone with its process, or, when that was killed, with the next one of its kind.

The process keeps a file in it locked for as long as it lives, so that what a dead one left can be told from what a
living one uses. The kernel lets the lock go with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = "in-use"


class OwnFolder:
    """A fresh folder of its own, for this user alone; those that killed processes left are removed first.

    Args:
        prefix: of the folder's name; the kind. A folder of another kind is never touched.
    """

    def __init__(self, prefix: str) -> None:
        base = Path(tempfile.gettempdir())
        _sweep(base, prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        draft = self.path / f"{_LOCK}.new"
        self._lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # It takes its name only once it is locked, so no other process's sweep comes between.
        draft.rename(self.path / _LOCK)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def keep(self) -> None:
        """Leave it, and what is in it, to a person: nothing removes it later."""
        (self.path / _LOCK).unlink(missing_ok=True)
        os.close(self._lock)


def _sweep(base: Path, prefix: str) -> None:
    """Remove the folders of this user whose processes are gone; others' and unclaimed ones stay."""
    for folder in base.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
