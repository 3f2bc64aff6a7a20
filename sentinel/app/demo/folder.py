"""The demo's temporary folder: gone with the demo, or with the next one when a demo was killed.

The demo keeps a file in it locked for as long as it lives, so that what a dead demo left can be told from what a living
one uses. The kernel lets the lock go with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "sentinel-demo-"
_LOCK = "in-use"


class DemoFolder:
    """A fresh folder of its own; folders of demos that were killed are removed first."""

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        # The ledger's folder lies inside. PostgreSQL does not run as root, and its user must be able to pass through.
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        draft = self.path / f"{_LOCK}.new"
        self._lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # It takes its name only once it is locked, so no other demo's sweep comes between.
        draft.rename(self.path / _LOCK)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def keep(self) -> None:
        """Leave it, and what is in it, to a person: no later demo removes it."""
        (self.path / _LOCK).unlink(missing_ok=True)
        os.close(self._lock)


def _sweep(base: Path) -> None:
    """Remove the folders of this user whose demos are gone; others' and unclaimed ones stay."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
