"""Files are opened by what they are, not by their names alone, and only plain ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

Key = tuple[int, int]
"""Device and inode."""
ReadAt = Callable[[int, int], bytes]
"""So many bytes of a file, at a place in it."""


class MovedError(OSError):
    """The name leads to another file than a moment ago."""


def open_found(path: str, key: Key) -> int:
    """A descriptor of a plain file that was found under this name.

    Rotation moves whole rows of files by one name while they are looked at: a name alone says nothing.

    Raises:
        MovedError: the name leads to another one.
        OSError: as `open_plain`.
    """
    fd = open_plain(path)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != key:
        os.close(fd)
        raise MovedError
    return fd


def open_plain(path: str) -> int:
    """A descriptor of a plain file, for reading.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device, which could be waited for for ever.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        msg = "not a plain file"
        raise OSError(msg)
    return fd
