"""What is looked at of a file that was found to tell whether it is another, the copy of one, or the rest of one."""

from __future__ import annotations

import gzip
import os
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from sentinel.receivers.log_files.discovery import FoundFile, stem_of
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


def orphans_beside(files: Iterable[FollowedFile], path: str) -> list[FollowedFile]:
    """Files whose rest is looked for and may be in this one, because they were in its folder."""
    folder = os.path.realpath(Path(path).parent)
    return [
        file
        for file in files
        if not file.is_open
        and not file.is_done
        and file.looks_until_s
        and os.path.realpath(Path(file.path).parent) == folder
    ]


def is_copy(found: FoundFile, read_at: ReadAt, files: Collection[FollowedFile]) -> bool:
    """Whether it is the copy, perhaps not all of it yet, of one of these beside it."""
    if any(file.path == found.path for file in files):
        return False  # what comes in the place of another is no copy of it
    folder, _, name = found.path.rpartition("/")
    head = read_at(HEAD_BYTES_MAX, 0)
    for file in files:
        beside, _, followed = file.path.rpartition("/")
        if (
            beside == folder
            and name.startswith(stem_of(followed))
            and (
                is_begun_like(head, found.size, file)
                or (file.is_open and file.is_rest_of(read_at, found.size))
            )
        ):
            return True
    return False


def is_begun_like(head: bytes, size: int, file: FollowedFile) -> bool:
    """Whether what begins so may be a copy of an open file, perhaps not all of it yet; no copy is longer than what it is of."""
    if not file.is_open or size > file.size():
        return False
    beginning = file.beginning()
    return bool(head) and beginning[: len(head)] == head
