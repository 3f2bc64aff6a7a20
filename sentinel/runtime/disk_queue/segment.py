"""One file of the queue: written at its end, read from its beginning, looked through once when it is found again."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from sentinel.runtime.disk_queue.marks import Marks, decode_marks
from sentinel.runtime.disk_queue.records import (
    HEADER_BYTES,
    MAGIC,
    Header,
    Record,
    header_of,
    record_of,
)

_SUFFIX = ".queue"


@dataclass(slots=True, kw_only=True)
class Found:
    """What reading at one place gave.

    Attributes:
        record: the record there, or None at the end of the file.
        next_bytes: where the next one begins.
        damaged_items: items of records between that could not be read, as far as their headers tell.
        damaged: whether anything could not be read.
    """

    record: Record | None
    next_bytes: int
    damaged_items: int = 0
    damaged: bool = False


class Segment:
    """A file named by its number; `size_bytes` is what it holds, `item_count` what of it still waits.

    `begun_bytes` is what it began with before any record of items.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.path = folder / f"{number:016x}{_SUFFIX}"
        self.size_bytes = 0
        self.begun_bytes = 0
        self.item_count = 0
        self.is_damaged = False
        self._fd = -1

    @classmethod
    def numbers(cls, folder: Path) -> list[int]:
        """The numbers of the files in a folder, in order; other names are passed over."""
        found = []
        for path in folder.iterdir():
            if path.suffix == _SUFFIX and len(path.stem) == 16:
                try:
                    found.append(int(path.stem, 16))
                except ValueError:
                    continue
        return sorted(found)

    def create(self) -> None:
        """Make the file; OSError when it cannot be."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, 0o600)

    def open(self, start_bytes: int, marks: Marks, *, is_last: bool) -> Found:
        """Open a file that is there, and count what waits in it from a place on; OSError when it cannot be.

        A record that the end of the last file cuts off was being written when the process ended, and is cut off it.

        Args:
            start_bytes: up to where records were sent; a header there or the file's end.
            marks: told of what lies in the file, sent or not.
            is_last: whether this file was the one that was written.
        """
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.size_bytes = os.fstat(self._fd).st_size
        seen = Found(record=None, next_bytes=min(start_bytes, self.size_bytes))
        at = 0
        while at < self.size_bytes:
            header, found = self._header_from(at)
            seen.damaged |= found > max(at, start_bytes)
            if header is None or found + header.size_bytes > self.size_bytes:
                if is_last:
                    # The write that was under way, or the tail of the file as far as it got to the disk.
                    os.ftruncate(self._fd, found if header is not None else at)
                    self.size_bytes = found if header is not None else at
                seen.damaged |= found >= start_bytes
                break
            if header.marks_count:
                self._note_marks(header, found, marks, is_last=is_last)
            if found >= start_bytes:
                self.item_count += header.item_count
            at = found + header.size_bytes
        self.is_damaged |= seen.damaged and not is_last
        seen.next_bytes = max(at, seen.next_bytes)
        return seen

    def append(self, data: bytes) -> None:
        """Write at the end, all or nothing; OSError when it cannot be."""
        written = 0
        try:
            while written < len(data):
                count = os.pwrite(
                    self._fd, data[written:] if written else data, self.size_bytes + written
                )
                written += count
        except OSError:
            # What got there is taken back, so that the next record does not follow half of one.
            os.ftruncate(self._fd, self.size_bytes)
            raise
        self.size_bytes += len(data)

    def read(self, at: int) -> Found:
        """The first record at or after a place; OSError when the file cannot be read."""
        found = Found(record=None, next_bytes=at)
        while found.next_bytes < self.size_bytes:
            header, start = self._header_from(found.next_bytes)
            found.damaged |= start > found.next_bytes
            if header is None:
                found.next_bytes = self.size_bytes
                break
            rest = os.pread(self._fd, header.rest_bytes, start + HEADER_BYTES)
            found.next_bytes = min(start + header.size_bytes, self.size_bytes)
            found.record = record_of(header, rest)
            if found.record is not None:
                break
            found.damaged_items += header.item_count
            found.damaged = True
        self.is_damaged |= found.damaged
        return found

    def duplicate(self) -> int:
        """Another descriptor of the file, which is the caller's to close; OSError when there is none to be had."""
        return os.dup(self._fd)

    def close(self) -> None:
        """Let go of the file; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _note_marks(self, header: Header, at: int, marks: Marks, *, is_last: bool) -> None:
        """What a record says was taken; where not all may have come to the disk, only when the record is whole."""
        if not is_last:
            bytes_before = HEADER_BYTES + header.body_bytes
            size_bytes = header.size_bytes - bytes_before
            marks.note(decode_marks(os.pread(self._fd, size_bytes, at + bytes_before)))
            return
        record = record_of(header, os.pread(self._fd, header.rest_bytes, at + HEADER_BYTES))
        if record is not None:
            marks.note(record.marks)

    def _header_from(self, at: int) -> tuple[Header | None, int]:
        """The first right header at or after a place, and where it is; None and the end when there is none."""
        header = header_of(os.pread(self._fd, HEADER_BYTES, at))
        if header is not None:
            return header, at
        with mmap.mmap(self._fd, self.size_bytes, access=mmap.ACCESS_READ) as view:
            while (at := view.find(MAGIC, at + 1)) >= 0:
                header = header_of(view[at : at + HEADER_BYTES])
                if header is not None:
                    return header, at
        return None, self.size_bytes
