"""What is looked at of a file that was found to tell whether it is another, the copy of one, or the rest of one."""

from __future__ import annotations

import gzip
import os
from functools import lru_cache

from sentinel.receivers.log_files.followed import FollowedFile
from sentinel.receivers.log_files.opening import Key, MovedError, ReadAt, open_found
from sentinel.receivers.log_files.positions import HEAD_BYTES_MAX, hash_of

_LAST_LINE_BYTES = 64 * 1024


@lru_cache(maxsize=8192)
def place_of(path: str) -> tuple[str, str]:
    """Folder and name of a file behind any links; remembered, because it is asked for every file at every look."""
    folder, _, name = os.path.realpath(path).rpartition("/")
    return folder or "/", name


def reader_of(path: str, key: Key) -> ReadAt | None:
    """What reads so many bytes at a place of a file; None when it cannot be read.

    Raises:
        MovedError: the name leads to another file, now or whenever it is read from.
    """

    def read_at(count: int, offset: int) -> bytes:
        try:
            fd = open_found(path, key)
        except MovedError:
            raise
        except OSError:
            return b""
        try:
            return os.pread(fd, count, offset)
        finally:
            os.close(fd)

    try:
        os.close(open_found(path, key))
    except MovedError:
        raise
    except OSError:
        return None
    return read_at


def after_last_line(read_at: ReadAt, size: int) -> int:
    """The end of a file, or where its last line begins when that is not whole."""
    start = max(size - _LAST_LINE_BYTES, 0)
    at = read_at(size - start, start).rfind(b"\n")
    return start + at + 1 if at >= 0 else (0 if start == 0 else size)


def compressed_is_rest(orphan: FollowedFile, path: str) -> bool:
    """Whether a gzipped file holds what was read of another; OSError or EOFError when it cannot be read."""
    with gzip.open(path, "rb") as file:
        head = file.read(HEAD_BYTES_MAX)
        if not orphan.head_bytes or hash_of(head[: orphan.head_bytes]) != orphan.head:
            return False
        handed = orphan.handed
        if not handed.tail_bytes:
            return True
        file.seek(handed.offset - handed.tail_bytes)
        return hash_of(file.read(handed.tail_bytes)) == handed.tail


def unzipped(path: str, count: int) -> bytes:
    """The first bytes of a gzipped file; OSError or EOFError when it cannot be read."""
    with gzip.open(path, "rb") as file:
        return file.read(count)


def is_begun_like(head: bytes, size: int, file: FollowedFile) -> bool:
    """Whether what begins so may be a copy of an open file, perhaps not all of it yet; no copy is longer than what it is of."""
    if not file.is_open or size > file.size():
        return False
    beginning = file.beginning()
    return bool(head) and beginning[: len(head)] == head
