"""Parts of windows on disk, from before they are acknowledged until nothing needs them any more.

One file a window, appended to; a record is whole or was never acknowledged. Files of windows that are decided stay for a while:
after a restart they are merged again, so that counters have a number before the first that comes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from sentinel.errors import StoreError, StoreFullError

_HEAD = Struct("<4sIIQQ")
_MAGIC = b"SNP1"
_BODY_MAX = 1 << 28
_SUFFIX = ".parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part as it came.

    Attributes:
        number: in the order of their arrival.
        received_ns: when it came.
        body: its bytes.
    """

    number: int
    received_ns: int
    body: bytes


class PartFiles:
    """The parts of one folder, which is its own and is made when it is missing; one thread at a time."""

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._sizes: dict[int, int] = {}
        self._next_number = 0
        self.damaged_count = 0
        """Records that could not be read when the folder was opened."""

    @property
    def size_bytes(self) -> int:
        """What the files hold."""
        return sum(self._sizes.values())

    def open(self) -> list[StoredPart]:
        """What is there, in the order of its arrival; a record that was cut off is taken away.

        Raises:
            StoreError: the folder cannot be used.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = [
                part
                for path in sorted(self._folder.glob("*" + _SUFFIX))
                for part in self._read(path)
            ]
        except OSError as error:
            msg = f"the folder of collected windows cannot be used ({type(error).__name__})"
            raise StoreError(msg) from error
        found.sort(key=lambda part: part.number)
        self._next_number = found[-1].number + 1 if found else 0
        return found

    def add(self, start_ns: int, body: bytes, *, received_ns: int) -> None:
        """Keep a part of the window at `start_ns`; on return it is on the disk.

        Raises:
            StoreFullError: there is no room.
            StoreError: it could not be written; nothing of it is kept.
        """
        head = _HEAD.pack(_MAGIC, len(body), zlib.crc32(body), received_ns, self._next_number)
        if self.size_bytes + len(head) + len(body) > self._bytes_max:
            msg = "collected windows have taken all the room they may"
            raise StoreFullError(msg)
        path = self._path(start_ns)
        size = self._sizes.get(start_ns, 0)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _write(fd, head + body, at=size)
                os.fdatasync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
            finally:
                os.close(fd)
            if not size:
                self._sync_folder()
        except OSError as error:
            msg = f"a collected window could not be stored ({type(error).__name__})"
            raise StoreError(msg) from error
        self._sizes[start_ns] = size + len(head) + len(body)
        self._next_number += 1

    def forget_before(self, start_ns: int) -> None:
        """Remove the files of windows that begin before; one that cannot be removed is tried again the next time."""
        for old_ns in [one for one in self._sizes if one < start_ns]:
            try:
                self._path(old_ns).unlink(missing_ok=True)
            except OSError:
                continue
            del self._sizes[old_ns]

    def make_room(self, size_bytes: int, *, before_ns: int) -> None:
        """Remove the oldest files of windows that begin before, until so many bytes have room."""
        for old_ns in sorted(one for one in self._sizes if one < before_ns):
            if self.size_bytes + size_bytes <= self._bytes_max:
                return
            self.forget_before(old_ns + 1)

    def _read(self, path: Path) -> Iterator[StoredPart]:
        try:
            start_ns = int(path.name.removesuffix(_SUFFIX))
        except ValueError:
            return
        data = path.read_bytes()
        at = 0
        while at + _HEAD.size <= len(data):
            magic, length, crc, received_ns, number = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + length]
            if (
                magic != _MAGIC
                or length > _BODY_MAX
                or len(body) != length
                or zlib.crc32(body) != crc
            ):
                break
            at += _HEAD.size + length
            yield StoredPart(number=number, received_ns=received_ns, body=body)
        if at < len(data):
            self.damaged_count += 1
            os.truncate(path, at)
        self._sizes[start_ns] = at

    def _path(self, start_ns: int) -> Path:
        # Of one length, so that the order of names is that of time.
        return self._folder / f"{start_ns:020d}{_SUFFIX}"

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write(fd: int, data: bytes, *, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
