"""One file that is followed: from its bytes to records, and what becomes of it when it is rotated.

A file is known by its device and inode, and by hashes of its first bytes and of those before the position read to; its name
may change. Each read brings the bytes before the position along, so that a file that was truncated and written anew is noticed
even when it is longer than before.

| what happens | what is done |
|---|---|
| renamed, another made in its place | read on until nothing came for a while, then it is finished |
| deleted | the same, as long as it is open |
| truncated (`copytruncate`) | begins anew; what was not read yet is looked for in the copy |
| compressed | what was not read yet is read from the compressed file |
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, field, replace

from sentinel.core.normalise.logs.joined import LineJoiner, Record
from sentinel.receivers.log_files.batches import Batch, Counts, Timing
from sentinel.receivers.log_files.cutting import LineCutter
from sentinel.receivers.log_files.opening import Key, ReadAt, open_found
from sentinel.receivers.log_files.positions import (
    HEAD_BYTES_MAX,
    TAIL_BYTES_MAX,
    Position,
    Row,
    Unshipped,
    hash_of,
)

_UNFINISHED_BYTES_MAX = 1 << 20
_UNZIPPED_BYTES_MAX = 1 << 30
GZIP_MAGIC = b"\x1f\x8b"
COMPRESSED_MAGICS = (GZIP_MAGIC, b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")


class TruncatedError(Exception):
    """The file is shorter than it was, or holds something else where it was read."""


@dataclass(slots=True, kw_only=True, eq=False)
class FollowedFile:
    """A file and how far it was read; used by one thread at a time.

    Attributes:
        file_id: of its row.
        source: name of the source.
        path: the name it was last seen under.
        service: who writes it, as far as is known without its lines.
        key: device and inode; None while it has none.
        handed: up to where lines were handed on.
        batch: what waits to be handed on; nothing more is read until it was.
        unshipped: what of that which endpoints have not got.
        done_s: when nothing more came of it, while it waits for endpoints.
        again_from_s: when what is unshipped is tried to be read once more.
        named_s: when a pattern last led to it.
        looks_until_s: until when the rest of it is looked for in a copy, 0 when it is not.
        is_named: whether a pattern leads to it.
        is_copy: whether what is read is the copy of a file that was truncated.
        is_done: nothing more comes of it.
        is_dirty: whether its row is not what is kept of it.
        came_from: what a process before this one knew, as long as nothing of the file was found.
        rests_until_s: until when it is left alone, because it could not be read.
        tells_of_calls: services whose finished calls its lines told of.
    """

    file_id: int
    source: str
    path: str
    service: str
    joiner: LineJoiner
    key: Key | None = None
    handed: Position = field(default_factory=Position)
    head: bytes = b""
    head_bytes: int = 0
    batch: Batch | None = None
    unshipped: dict[str, Unshipped] = field(default_factory=dict)
    done_s: float = 0.0
    again_from_s: float = 0.0
    replayed: Position | None = None
    replayed_ns: int = 0
    counts: Counts = field(default_factory=Counts)
    named_s: float = 0.0
    data_s: float = 0.0
    looks_until_s: float = 0.0
    is_named: bool = True
    is_copy: bool = False
    is_done: bool = False
    is_dirty: bool = True
    came_from: Row | None = None
    rests_until_s: float = 0.0
    tells_of_calls: frozenset[str] = frozenset()
    _fd: int = -1
    _unzipped: gzip.GzipFile | None = None
    _lines: LineCutter = field(default_factory=LineCutter)
    _tail: bytes | None = b""
    _begun: bytes = b""
    _after: dict[str, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be read from."""
        return self._fd >= 0 or self._unzipped is not None

    @property
    def can_be_read_again(self) -> bool:
        """Whether what was read may be; of a compressed one only from its beginning, which is too dear."""
        return self._fd >= 0

    @property
    def at(self) -> int:
        """Up to where its bytes were read."""
        return self._lines.at

    def open(self, path: str, key: Key) -> None:
        """Read from the file of this name and key from now on, at the place reached so far.

        Raises:
            MovedError: the name leads to another one; nothing has changed.
            OSError: it cannot be opened, or is no plain file.
        """
        self._fd, self.path, self.key = open_found(path, key), path, key
        self.looks_until_s = 0.0
        self.is_dirty = True

    def take_over(self, other: FollowedFile) -> None:
        """Read the file that another reads, from its beginning, and leave that one without."""
        self._fd, other._fd = other._fd, -1  # of the same class
        self.path, self.key, other.key = other.path, other.key, None
        self.is_named, other.is_named = other.is_named, False
        self.is_dirty = other.is_dirty = True

    def open_compressed(self, path: str) -> None:
        """Read the rest from a compressed copy; nothing more will come of it.

        Raises:
            OSError, EOFError: it cannot be read.
        """
        self._unzipped = gzip.open(path, "rb")  # noqa: SIM115  # closed by `close`
        at = min(self.at, _UNZIPPED_BYTES_MAX)
        size = min(TAIL_BYTES_MAX, at)
        self._unzipped.seek(at - size)
        self._tail = self._unzipped.read(size)
        self.key = None
        self.looks_until_s = 0.0
        self.is_named = False

    def resume(self, row: Row) -> None:
        """Go on where a process before this one was: first the batch that was under way, if there is one."""
        self.handed, self.head, self.head_bytes = row.handed, row.head, row.head_bytes
        self._lines.offset = row.handed.low
        self._tail = None
        self._after = row.handed.places()
        self.replayed, self.replayed_ns = row.next, row.next_read_ns
        self.unshipped = dict(row.unshipped)

    def begin_at(self, offset: int, read_at: ReadAt) -> None:
        """Leave out what is before this place."""
        head = read_at(min(HEAD_BYTES_MAX, offset), 0)
        tail = read_at(size := min(TAIL_BYTES_MAX, offset), offset - size)
        self.head, self.head_bytes = hash_of(head), len(head)
        self._lines.offset = offset
        self._tail = tail
        self.handed = Position(
            offset=offset, tail_bytes=len(tail), tail=hash_of(tail) if tail else b""
        )

    def is_replaced(self) -> bool:
        """Whether its name leads to another file now, or to none."""
        if not self.is_named or self.key is None:
            return False
        try:
            found = os.stat(self.path)  # noqa: PTH116  # for every file of every round
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self.key

    def beginning(self) -> bytes:
        """What it begins with now; b"" when it is not open or cannot be read."""
        if self._fd < 0:
            return b""
        try:
            return os.pread(self._fd, HEAD_BYTES_MAX, 0)
        except OSError:
            return b""

    def size(self) -> int:
        """How long it is now, in bytes; 0 when it is not open."""
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def lag_bytes(self) -> int:
        """How much of it was not read yet."""
        if self._fd < 0:
            return 0
        return max(os.fstat(self._fd).st_size - self.at, 0)

    def has_more(self, now_s: float, timing: Timing) -> bool:
        """Whether reading would bring something."""
        if now_s < self.rests_until_s:
            return False
        if self.batch is not None or self.replayed is not None or self._unzipped is not None:
            return True
        if self.is_done and self.unshipped:
            return False  # only open for those that have not got all of it
        if self._fd < 0:
            return self.looks_until_s <= now_s
        found = os.fstat(self._fd)
        if found.st_size != self.at:
            return True
        idle_s = now_s - self.data_s
        return (
            (self.joiner.is_waiting and idle_s >= timing.joined_after_s)
            or (self._lines.rest_bytes > 0 and idle_s >= timing.unfinished_after_s)
            or self._is_finished(found, now_s, timing)
        )

    def take(self, bytes_max: int, now_s: float, now_ns: int, timing: Timing) -> None:
        """Read on; what came of it is `batch`.

        Raises:
            TruncatedError: it begins anew; what was read so far stays to be handed on.
            OSError, EOFError: it cannot be read.
        """
        if self.batch is not None:
            return
        ready: list[Record] = []
        if self.replayed is not None:
            self._replay(self.replayed, ready)
            return
        data = self._read(bytes_max)
        if data:
            self.data_s = now_s
            self._split(data, ready)
            if self._lines.offset - min(
                self.joiner.starts().values(), default=self._lines.offset
            ) > (_UNFINISHED_BYTES_MAX):
                self.joiner.flush(ready)
        else:
            self._settle(ready, now_s, timing)
        if self._lines.offset < self.handed.offset:
            return  # what was handed on before the restart is passed over once more
        self._after = None
        position = self._position(self.handed.record_count + len(ready))
        if ready or position.offset != self.handed.offset or position.starts != self.handed.starts:
            self.batch = Batch(before=self.handed, after=position, records=ready, read_ns=now_ns)

    def again(
        self, unshipped: Unshipped, joiner: LineJoiner, bytes_max: int, now_ns: int
    ) -> Batch:
        """What of it an endpoint has not got, a piece of it; nothing of this file changes.

        The piece depends on where it begins alone, so that it is the same when it is read once more after a kill.

        Raises:
            TruncatedError: the file no longer holds it.
            OSError: it cannot be read.
        """
        reader = FollowedFile(
            file_id=self.file_id,
            source=self.source,
            path=self.path,
            service=self.service,
            joiner=joiner,
            handed=unshipped.start,
            head=self.head,
            head_bytes=self.head_bytes,
        )
        reader._fd = self._fd  # of the same class; lent, and never closed by it
        return reader._piece(unshipped.until, bytes_max, now_ns)  # of the same class

    def _piece(self, until: Position, bytes_max: int, now_ns: int) -> Batch:
        start, ready = self.handed, []  # type: Position, list[Record]
        self._lines.offset, self._tail, self._after = start.low, None, start.places()
        reaches = start.offset + bytes_max
        while self._lines.offset < until.offset and (
            self.at < reaches
            or self._lines.offset <= start.offset  # at least a line, however long
        ):
            self._read_towards(until, bytes_max, ready)
        if self._lines.offset >= until.offset:
            self.joiner.flush(ready, before=until.places())
            after = until
        else:
            after = self._position(start.record_count + len(ready))
        return Batch(before=start, after=after, records=ready, read_ns=now_ns)

    def has_begun(self) -> bool:
        """Whether anything of it was taken: handed on, under way, or waiting for its end."""
        return bool(
            self.handed.offset or self.handed.starts or self.batch is not None or self.replayed
        )

    def lose_rest(self) -> None:
        """Look no further for what was not read yet; what there is of it is the end."""
        self.close()
        self.replayed = None
        self.looks_until_s = 0.0
        if not self.has_begun():
            self._lines.forget()

    def handed_on(self) -> None:
        """Note that the batch was handed on."""
        assert self.batch is not None, "there is a batch"
        self.handed, self.batch = self.batch.after, None
        self.is_dirty = True

    def row(self, seen_ns: int) -> Row:
        """What is kept of it, as it was seen then."""
        device, inode = self.key or (0, 0)
        next_position = self.batch.after if self.batch is not None else self.replayed
        return Row(
            file_id=self.file_id,
            source=self.source,
            path=self.path,
            device=device,
            inode=inode,
            head_bytes=self.head_bytes,
            head=self.head,
            handed=self.handed,
            next=next_position,
            next_read_ns=self.batch.read_ns if self.batch is not None else self.replayed_ns,
            seen_ns=seen_ns,
            unshipped=dict(self.unshipped),
        )

    def is_rest_of(self, read_at: ReadAt, size: int) -> bool:
        """Whether another file holds what this one held, up to where it was read; it may hold less or more than that."""
        if size >= self.head_bytes > 0:
            if hash_of(read_at(self.head_bytes, 0)) != self.head:
                return False
        elif not self._begun or read_at(HEAD_BYTES_MAX, 0) != self._begun[:size]:
            return False
        known = self.handed if self.batch is None else self.batch.after
        if not known.tail_bytes or size < known.offset:
            return size >= self.head_bytes > 0 or b"\n" in self._begun[:size]
        return hash_of(read_at(known.tail_bytes, known.offset - known.tail_bytes)) == known.tail

    def close(self) -> None:
        """Let go of the file; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        unzipped, self._unzipped = self._unzipped, None
        if unzipped is not None:
            unzipped.close()

    def _read(self, bytes_max: int) -> bytes:
        if self._unzipped is not None:
            at = self.at
            data = self._unzipped.read(bytes_max)
            if data and at == len(self._begun) < HEAD_BYTES_MAX:
                self._begin_with(self._begun + data)
            self._tail = ((self._tail or b"") + data)[-TAIL_BYTES_MAX:]
            return data
        if self._fd < 0:
            return b""
        at = self.at
        known = self._tail
        if known is None:
            # After a restart: what the file began with, and what is before the position, is known by hashes.
            handed = self.handed
            begun = os.pread(self._fd, self.head_bytes, 0)
            before = os.pread(self._fd, handed.tail_bytes, handed.offset - handed.tail_bytes)
            if self.head_bytes and hash_of(begun) != self.head:
                raise TruncatedError
            if handed.tail_bytes and hash_of(before) != handed.tail:
                raise TruncatedError
            size = min(TAIL_BYTES_MAX, at)
            known = self._tail = os.pread(self._fd, size, at - size)
        if os.fstat(self._fd).st_size < at:
            raise TruncatedError
        data = os.pread(self._fd, len(known) + bytes_max, at - len(known))
        if data[: len(known)] != known:
            raise TruncatedError
        data = data[len(known) :]
        if data:
            self._tail = (known + data)[-TAIL_BYTES_MAX:]
            if self.head_bytes < HEAD_BYTES_MAX:
                head = os.pread(self._fd, HEAD_BYTES_MAX, 0)
                # Only what is before the end of what was just read is certain to be of the same content.
                self._begin_with(head[: at + len(data)])
        self.counts.bytes_read += len(data)
        return data

    def _begin_with(self, begun: bytes) -> None:
        self._begun = begun[:HEAD_BYTES_MAX]
        # Files that begin alike in the middle of a line may still differ in it.
        whole = len(self._begun)
        if whole < HEAD_BYTES_MAX:
            whole = self._begun.rfind(b"\n") + 1
        if whole > self.head_bytes:
            self.head, self.head_bytes = hash_of(self._begun[:whole]), whole
            self.is_dirty = True

    def _split(self, data: bytes, ready: list[Record]) -> None:
        self.counts.cut_lines += self._lines.feed(data, self.joiner, ready, self._after)

    def _settle(self, ready: list[Record], now_s: float, timing: Timing) -> None:
        """Nothing came: what was waited for long enough is taken for whole."""
        idle_s = now_s - self.data_s
        if self._unzipped is not None or (self._fd < 0 and self.looks_until_s <= now_s):
            finished = True
        else:
            finished = self._fd >= 0 and self._is_finished(os.fstat(self._fd), now_s, timing)
        if self._lines.rest_bytes and (finished or idle_s >= timing.unfinished_after_s):
            self.counts.unfinished += 1
            self._lines.end(self.joiner, ready, self._after)
        if self.joiner.is_waiting and (finished or idle_s >= timing.joined_after_s):
            self.joiner.flush(ready)
        self.is_done = finished
        if finished:
            self.done_s = self.done_s or now_s

    def _is_finished(self, found: os.stat_result, now_s: float, timing: Timing) -> bool:
        if self.is_named and found.st_nlink:
            return False
        # Whoever wrote it may write on for a while, until it was told that its file was renamed.
        return now_s - max(self.data_s, self.named_s) >= timing.finished_after_s

    def _replay(self, until: Position, ready: list[Record]) -> None:
        """Make the batch again that was under way when the process ended."""
        while self._lines.offset < until.offset:
            self._read_towards(until, until.offset - self.at, ready)
        # The batch is made of what was read then, or not at all.
        if until.tail_bytes and hash_of((self._tail or b"")[-until.tail_bytes :]) != until.tail:
            raise TruncatedError
        self.joiner.flush(ready, before=until.places())
        # Counted by a version that did not yet count, it would seem known.
        count = max(until.record_count, self.handed.record_count + len(ready))
        after = replace(until, record_count=count)
        self.batch = Batch(
            before=self.handed, after=after, records=ready, read_ns=self.replayed_ns
        )
        self._after = None
        self.replayed = None

    def _read_towards(self, until: Position, bytes_max: int, ready: list[Record]) -> None:
        """Read on to a place that was reached before, and not beyond it."""
        data = self._read(min(until.offset - self.at, bytes_max))
        if not data:
            # The file ends before: it was truncated meanwhile, and what is left up to there is gone.
            raise TruncatedError
        self._split(data, ready)
        if self._lines.rest_bytes and self.at >= until.offset:
            # A line was taken for whole that has no end.
            self._lines.end(self.joiner, ready, self._after)

    def _position(self, record_count: int) -> Position:
        tail = self._tail or b""
        # The last bytes that were read end at `at`; the position may be before that.
        certain = tail[: max(len(tail) - self._lines.rest_bytes, 0)]
        if self._lines.rest_bytes and not certain:
            return Position(
                offset=self._lines.offset, starts=self.joiner.starts(), record_count=record_count
            )
        return Position(
            offset=self._lines.offset,
            starts=self.joiner.starts(),
            tail_bytes=len(certain),
            tail=hash_of(certain) if certain else b"",
            record_count=record_count,
        )
