"""A queue on disk: bounded in bytes, oldest first out, oldest dropped when it is full, whole after a crash.

Files of records (`segment.py`), the newest written, the oldest read; `cursor` says how far reading has got. What is lost:

- by a kill of the process: nothing that `append` took. What was sent and not yet noted in `cursor` is sent again. A record
  is whole or cut off, and its marks with it: what was taken is known, and every new file begins with all that is.
- by a loss of power: what was not yet synced, at most what came within one `fsync` interval.
- by damage to a file: the records it lies in. The rest is read; the file is set aside afterwards, not removed.

One thread at a time uses it. Only `OSError` leaves, and only from `open`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

from sentinel.runtime.disk_queue.marks import Marks
from sentinel.runtime.disk_queue.records import Record, encode
from sentinel.runtime.disk_queue.segment import Segment
from sentinel.runtime.otlp_reply import OtlpEncoding

SEGMENT_BYTES_MAX = 16 << 20
SEGMENT_BYTES_MIN = 16 << 10
_SEGMENTS_IN_BOUND = 8
ASIDE_FILES_MAX = 4
_UNSYNCED_MAX = 64
_MARKS_SHARE = 8
"""What of a file its marks may take at most, as a divisor."""
_CURSOR = Struct("<QQ")
_CRC = Struct("<I")
_NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(slots=True, kw_only=True)
class Losses:
    """What was lost since it was last asked, in items, and events worth counting."""

    full_items: int = 0
    damaged_items: int = 0
    damaged_events: int = 0
    disk_errors: int = 0


@dataclass(slots=True, kw_only=True)
class _Place:
    number: int
    at: int


@dataclass(slots=True)
class _Peeked:
    """What was read and is not yet acknowledged."""

    end: _Place
    items_by_segment: dict[int, int] = field(default_factory=dict)


class DiskQueue:
    """The queue of one folder, which is its own and is made when it is missing."""

    def __init__(self, folder: Path, *, bytes_max: int, free_bytes_min: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._segment_bytes = min(
            SEGMENT_BYTES_MAX, max(SEGMENT_BYTES_MIN, bytes_max // _SEGMENTS_IN_BOUND)
        )
        self._segments: deque[Segment] = deque()
        self._read = _Place(number=0, at=0)
        self._peeked: _Peeked | None = None
        self._cursor_fd = -1
        self._storing = threading.Lock()
        self._stored = (0, 0)
        self._is_dirty = False
        self._unsynced: list[int] = []
        # A process writes to files of its own, never on to those it found.
        self._is_sealed = True
        self._next_number = 1
        self.losses = Losses()
        self.marks = Marks()
        """How far what was taken reaches in what it was read from, sent or not."""

    @property
    def size_bytes(self) -> int:
        """What its files hold, records that were sent but whose file is not yet removed among them."""
        return sum(segment.size_bytes for segment in self._segments)

    @property
    def item_count(self) -> int:
        """Items that wait."""
        return sum(segment.item_count for segment in self._segments)

    def open(self) -> None:
        """Find again what a process before left; OSError when the folder cannot be used.

        A file that cannot be read is set aside. Nothing that is found in a file makes this fail.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._cursor_fd = os.open(self._folder / "cursor", flags, 0o600)
        cursor = self._stored_cursor()
        self._stored = (cursor.number, cursor.at)
        numbers = Segment.numbers(self._folder)
        self._next_number = max([*numbers, cursor.number]) + 1
        for number in numbers:
            segment = Segment(self._folder, number)
            start = cursor.at if number == cursor.number else 0
            try:
                if number < cursor.number:
                    # All of it was sent; only the removal is missing.
                    segment.path.unlink()
                    continue
                seen = segment.open(start, self.marks, is_last=number == numbers[-1])
            except (OSError, ValueError):
                self.losses.disk_errors += 1
                segment.close()
                self._set_aside(segment)
                continue
            self.losses.damaged_events += seen.damaged
            self._segments.append(segment)
        first = self._segments[0].number if self._segments else self._next_number
        self._read = cursor if cursor.number == first else _Place(number=first, at=0)
        self._drop_spent()

    def take_losses(self) -> Losses:
        """What was lost since this was last asked."""
        losses, self.losses = self.losses, Losses()
        return losses

    def could_hold(self, record: Record) -> bool:
        """Whether the bound is wide enough for it, whatever there is now."""
        first_bytes = self._first_record().size_bytes if self.marks else 0
        return record.size_bytes + first_bytes <= self._bytes_max

    def holds(self, record: Record) -> bool:
        """Whether the bound has room for it without any being dropped."""
        return self.size_bytes + record.size_bytes <= self._bytes_max and self.could_hold(record)

    def append(self, record: Record) -> bool:
        """Write a record; False when the disk did not take it.

        The oldest are dropped when the bound asks for it; one that is larger than the whole bound is not taken.
        """
        data = encode(record)
        if not self.could_hold(record):
            return False
        if self._free_bytes_min and self._free_bytes() < self._free_bytes_min + len(data):
            return False
        while self._segments and self.size_bytes + len(data) > self._bytes_max:
            self._drop_oldest()
        try:
            segment = self._writable(len(data))
            segment.append(data)
        except OSError as error:
            self.losses.disk_errors += error.errno not in _NO_SPACE
            return False
        segment.item_count += record.item_count
        self.marks.note(record.marks)
        self._is_dirty = True
        return True

    def peek(self, *, bytes_max: int) -> list[Record]:
        """The oldest records of one encoding, at least one if there is any, as many as fit; they stay until `ack`."""
        records: list[Record] = []
        place = _Place(number=self._read.number, at=self._read.at)
        peeked = _Peeked(end=place)
        size_bytes = 0
        for segment in list(self._segments):
            if segment.number < place.number:
                continue
            if segment.number > place.number:
                place.number, place.at = segment.number, 0
            while True:
                found = self._read_at(segment, place.at)
                record = found[0]
                if record is None:
                    place.at = found[1]
                    break
                if not record.body:
                    place.at = found[1]
                    continue
                fits = not records or (
                    record.encoding is records[0].encoding
                    and size_bytes + len(record.body) <= bytes_max
                )
                if not fits:
                    self._peeked = peeked
                    return records
                records.append(record)
                size_bytes += len(record.body)
                place.at = found[1]
                items = peeked.items_by_segment
                items[segment.number] = items.get(segment.number, 0) + record.item_count
        self._peeked = peeked if records else None
        if not records:
            # Only damage lay there, if anything.
            self._read = place
            self._drop_spent()
        return records

    def note_delivered(self) -> None:
        """Note that what was peeked was answered for, before `ack` has its turn; from any thread, and short.

        What lies between an answer and this is all that a kill brings twice, so it does not wait for the queue's thread.
        """
        peeked = self._peeked
        if peeked is not None:
            self._store(peeked.end)

    def ack(self) -> None:
        """What was peeked has been dealt with."""
        peeked, self._peeked = self._peeked, None
        if peeked is None:
            return
        for segment in self._segments:
            done = peeked.items_by_segment.get(segment.number, 0)
            segment.item_count = max(0, segment.item_count - done)
        self._read = peeked.end
        self._store_cursor()
        self._drop_spent()

    def to_sync(self) -> list[int]:
        """Descriptors of what was written and not yet brought to the disk, for any thread to sync.

        A disk may take its time for it, and nothing must wait behind that. Who takes them closes them.
        """
        fds, self._unsynced = self._unsynced, []
        if self._is_dirty and self._segments:
            self._is_dirty = False
            self._keep_to_sync(self._segments[-1], fds)
        return fds

    def note_unsynced(self) -> None:
        """A sync failed: the kernel may have let go of those pages, so nothing more is written to that file."""
        self.losses.disk_errors += 1
        self._seal()

    def close(self) -> None:
        """Sync and let go; idempotent."""
        for fd in self.to_sync():
            try:
                os.fdatasync(fd)
            except OSError:
                self.losses.disk_errors += 1
            finally:
                os.close(fd)
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        fd, self._cursor_fd = self._cursor_fd, -1
        if fd >= 0:
            os.close(fd)

    def _writable(self, size_bytes: int) -> Segment:
        last = self._segments[-1] if self._segments else None
        if last is not None and not last.is_damaged and not self._is_sealed:
            is_empty = last.size_bytes <= last.begun_bytes
            if is_empty or last.size_bytes + size_bytes <= self._segment_bytes:
                return last
            if self._is_dirty:
                self._keep_to_sync(last, self._unsynced)
        segment = Segment(self._folder, self._next_number)
        self._next_number += 1
        segment.create()
        if self.marks:
            try:
                segment.append(encode(self._first_record()))
            except OSError:
                segment.close()
                segment.path.unlink()
                raise
            segment.begun_bytes = segment.size_bytes
        self._is_sealed = False
        self._segments.append(segment)
        if self._read.number < self._segments[0].number:
            self._read = _Place(number=self._segments[0].number, at=0)
        self._is_dirty = False
        if len(self._unsynced) < _UNSYNCED_MAX:
            with contextlib.suppress(OSError):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                self._unsynced.append(os.open(self._folder, flags))
        return segment

    def _keep_to_sync(self, segment: Segment, fds: list[int]) -> None:
        if len(fds) >= _UNSYNCED_MAX:
            # So many files within one interval: what is not synced is in the kernel's hands.
            return
        try:
            fds.append(segment.duplicate())
        except OSError:
            self.note_unsynced()

    def _seal(self) -> None:
        self._is_sealed = True

    def _read_at(self, segment: Segment, at: int) -> tuple[Record | None, int]:
        try:
            found = segment.read(at)
        except (OSError, ValueError):
            # ValueError: the file is shorter than it was, so that it cannot be mapped.
            self.losses.disk_errors += 1
            self.losses.damaged_items += segment.item_count
            segment.item_count = 0
            segment.is_damaged = True
            return None, segment.size_bytes
        if found.damaged:
            self.losses.damaged_events += 1
            self.losses.damaged_items += found.damaged_items
            segment.item_count = max(0, segment.item_count - found.damaged_items)
        return found.record, found.next_bytes

    def _drop_oldest(self) -> None:
        segment = self._segments.popleft()
        # What is being sent is not lost by it: the sender holds it.
        held = self._peeked.items_by_segment.pop(segment.number, 0) if self._peeked else 0
        self.losses.full_items += max(0, segment.item_count - held)
        was_read = self._read.number
        self._keep_marks()
        self._remove(segment)
        following = self._segments[0].number if self._segments else self._next_number
        if was_read <= segment.number:
            self._read = _Place(number=following, at=0)
            self._store_cursor()
        if self._peeked is not None and self._peeked.end.number <= segment.number:
            self._peeked.end = _Place(number=following, at=0)
        if not self._segments:
            self._seal()

    def _drop_spent(self) -> None:
        """Remove the files that were read to their end; the one that is written stays while it is small."""
        while self._segments:
            first = self._segments[0]
            is_written = len(self._segments) == 1 and not self._is_sealed
            is_spent = first.number < self._read.number or (
                first.number == self._read.number and self._read.at >= first.size_bytes
            )
            if not is_spent or (is_written and first.size_bytes < self._segment_bytes):
                return
            self._segments.popleft()
            if is_written:
                self._seal()
            self._keep_marks()
            self._remove(first)
        self._seal()

    def _keep_marks(self) -> None:
        """Before the last file is removed: what it knew of marks lies in a new one by then."""
        if self._segments or not self.marks:
            return
        # A disk that does not take so little costs what a kill before the next record would bring twice.
        with contextlib.suppress(OSError):
            self._writable(0)

    def _first_record(self) -> Record:
        """What a file begins with, so that those before it can be removed."""
        marks = self.marks.newest(self._segment_bytes // _MARKS_SHARE)
        return Record(encoding=OtlpEncoding.PROTOBUF, item_count=0, body=b"", marks=marks)

    def _remove(self, segment: Segment) -> None:
        segment.close()
        if segment.is_damaged:
            self._set_aside(segment)
            return
        with contextlib.suppress(OSError):
            segment.path.unlink()

    def _set_aside(self, segment: Segment) -> None:
        """Keep a damaged file for a person, and only the newest few of them."""
        aside = self._folder / "aside"
        with contextlib.suppress(OSError):
            aside.mkdir(mode=0o700, exist_ok=True)
            segment.path.rename(aside / segment.path.name)
            for old in sorted(aside.iterdir())[:-ASIDE_FILES_MAX]:
                old.unlink()

    def _stored_cursor(self) -> _Place:
        raw = os.pread(self._cursor_fd, _CURSOR.size + _CRC.size, 0)
        fields = raw[: _CURSOR.size]
        if len(raw) == _CURSOR.size + _CRC.size and raw[_CURSOR.size :] == _crc(fields):
            number, at = _CURSOR.unpack(fields)
            if number < 1 << 62:
                return _Place(number=number, at=at)
        # Not known: everything that is there is sent again, rather than left out.
        return _Place(number=0, at=0)

    def _store_cursor(self) -> None:
        self._store(self._read)

    def _store(self, place: _Place) -> None:
        with self._storing:
            stored = max((place.number, place.at), self._stored)
            fields = _CURSOR.pack(*stored)
            try:
                os.pwrite(self._cursor_fd, fields + _crc(fields), 0)
            except OSError:
                self.losses.disk_errors += 1
            else:
                self._stored = stored

    def _free_bytes(self) -> int:
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize


def _crc(fields: bytes) -> bytes:
    return _CRC.pack(zlib.crc32(fields))
