"""Room on the disk: a ballast file that is given up so that pages can still be stored.

SQLite needs space even to delete (the write-ahead log grows first), so a full disk cannot be helped from
inside the database. The ballast is a file of real blocks; removing it makes room at once.
"""

from __future__ import annotations

import os
from pathlib import Path

BALLAST_NAME = "sentinel.ballast"


class Space:
    """Knows whether there is room for windows, and holds the ballast.

    Windows stop when less than the reserve is free, and start again when twice the reserve is free
    and the ballast is back; in between nothing flips.
    """

    def __init__(self, directory: Path, *, reserve_bytes: int) -> None:
        self._path = directory / BALLAST_NAME
        self._directory = directory
        self._reserve_bytes = reserve_bytes
        self.is_low = False

    @property
    def ballast_bytes(self) -> int:
        """Bytes now held back."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def free_bytes(self) -> int:
        """Bytes that this process could still write."""
        state = os.statvfs(self._directory)
        return state.f_bavail * state.f_frsize

    def refresh(self) -> bool:
        """Look at the disk again; whether there is room for windows."""
        if self._reserve_bytes == 0:
            self.is_low = False
            return True
        missing_bytes = self._reserve_bytes - self.ballast_bytes
        free_bytes = self.free_bytes()
        if self.is_low:
            if free_bytes >= 2 * self._reserve_bytes + missing_bytes:
                self.is_low = not self.hold()
        elif missing_bytes > 0:
            self.is_low = free_bytes < 2 * self._reserve_bytes + missing_bytes or not self.hold()
        elif free_bytes < self._reserve_bytes:
            self.is_low = True
        return not self.is_low

    def hold(self) -> bool:
        """Make the ballast when it is missing; False when there is no room for it."""
        if self.ballast_bytes >= self._reserve_bytes:
            return True
        fd = -1
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(fd, 0, self._reserve_bytes)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            if fd >= 0:
                os.close(fd)
        return True

    def note_full(self) -> None:
        """A write found no room, whatever the file system said."""
        self.is_low = self._reserve_bytes > 0

    def give_up_ballast(self) -> bool:
        """Remove the ballast because the disk is full; False when there was none to give."""
        if not self.ballast_bytes:
            return False
        self._path.unlink(missing_ok=True)
        return True
