"""Room on the disk: a ballast file that is given up so that pages can still be stored.

SQLite needs space even to delete (the write-ahead log grows first), so a full disk cannot be helped from
inside the database. The ballast is a file of real blocks; removing it makes room at once.

On a small disk half of what was asked for is held, or half of that, down to `RESERVE_BYTES_MIN`: pages are a
few kilobytes each, and some room for them is worth more than none.
"""

from __future__ import annotations

import os
from pathlib import Path

BALLAST_NAME = "sentinel.ballast"
RESERVE_BYTES_MIN = 256 << 10
"""Less than this would be taken up by the write-ahead log before a page is in."""


class Space:
    """Knows whether there is room for windows, and holds the ballast.

    Windows stop when less than the ballast's size is free, and start again when twice that is free and
    the ballast is back; in between nothing flips. Without any ballast there is no room for windows.
    """

    def __init__(self, directory: Path, *, reserve_bytes: int) -> None:
        self._path = directory / BALLAST_NAME
        self._directory = directory
        self._wanted_bytes = reserve_bytes
        self.is_low = False

    @property
    def is_asked_for(self) -> bool:
        """Whether a reserve is wanted at all."""
        return self._wanted_bytes > 0

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
        if not self.is_asked_for:
            self.is_low = False
            return True
        held_bytes = self._grow(self.ballast_bytes)
        free_bytes = self.free_bytes()
        if self.is_low:
            self.is_low = not held_bytes or free_bytes < 2 * held_bytes
        else:
            self.is_low = not held_bytes or free_bytes < held_bytes
        return not self.is_low

    def note_full(self) -> None:
        """A write found no room, whatever the file system said."""
        self.is_low = self.is_asked_for

    def give_up_ballast(self) -> bool:
        """Remove the ballast because the disk is full; False when there was none to give."""
        if not self.ballast_bytes:
            return False
        self._path.unlink(missing_ok=True)
        return True

    def _grow(self, held_bytes: int) -> int:
        """Hold as much of what is wanted as leaves twice that free; the bytes held then."""
        if held_bytes >= self._wanted_bytes:
            return held_bytes
        room_bytes = self.free_bytes() + held_bytes
        size_bytes = self._wanted_bytes
        while size_bytes > held_bytes:
            if room_bytes >= 3 * size_bytes and self._make(size_bytes, held_bytes):
                return size_bytes
            if size_bytes <= RESERVE_BYTES_MIN:
                break
            size_bytes = max(RESERVE_BYTES_MIN, size_bytes // 2)
        return held_bytes

    def _make(self, size_bytes: int, held_bytes: int) -> bool:
        """Make the ballast this large; False when the disk does not take it, and it is as before."""
        fd = -1
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(fd, 0, size_bytes)
        except OSError:
            if fd >= 0 and held_bytes:
                os.ftruncate(fd, held_bytes)
            else:
                self._path.unlink(missing_ok=True)
            return False
        finally:
            if fd >= 0:
                os.close(fd)
        return True
