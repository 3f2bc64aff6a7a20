"""What tenants have taken, in a file that the edges of one machine map into their memory: one limit, however many processes.

Invariant: a tenant's number stands in at most one slot of its window, and it is only read or written under the file's lock. So
what two edges admit together is what one edge would have admitted.

The kernel lets the lock go with a process that is killed, and what it may leave half done is a slot that owes nothing. A process
that is stopped inside the lock cannot hold the others up: after some milliseconds they decide without it for a while, which can
let a request more pass than there should be, and is counted. Numbers are of this machine's steady clock, which begins anew when it
starts: so does the file, which names the start it was written in.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from sentinel.reference.ledger.domain import UnreadableError, UsageError

_T = TypeVar("_T")
_MAGIC: Final = b"LEDGTAT1"
_HEADER: Final = struct.Struct("<8sI36s16x")  # 64 bytes
_SLOT_BYTES: Final = 32  # 16 of a tenant's key, 8 of its number, the rest unused
_KEY_BYTES: Final = 16
_NUMBER: Final = struct.Struct("<Q")
_FREE: Final = bytes(_KEY_BYTES)
_WINDOW: Final = 16
_SLOTS_COUNT: Final = 16_384
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# Whoever holds the lock needs some microseconds, or a turn at a processor; this much longer, and it has been stopped.
_LOCK_PATIENCE_S: Final = 0.02
_WITHOUT_S: Final = 1.0


class SharedTats:
    """A theoretical arrival time a tenant, shared by the processes that open one file."""

    def __init__(self, descriptor: int, content: mmap.mmap, *, slots_count: int) -> None:
        """Store what `open_shared` has opened."""
        self._descriptor = descriptor
        self._content = content
        self._slots_count = slots_count
        self._known: dict[str, int] = {}
        self._without_until_s = 0.0
        self.on_forgotten: Callable[[], None] = lambda: None
        self.on_unlocked: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Close the file; what is in it stays for the others."""
        self._content.close()
        os.close(self._descriptor)

    def update(self, name: str, *, steady_ns: int, decide: Callable[[int], tuple[int, _T]]) -> _T:
        """Have a tenant's number decided anew while nobody else does.

        Args:
            name: the tenant's.
            steady_ns: now, on the machine's steady clock.
            decide: given the number, 0 for a tenant that owes nothing; returns the new one, and the decision.
        """
        key, first = _place(name, self._slots_count)
        with self._lock():
            slot = self._find(name, key, first)
            before = 0 if slot is None else self._number(slot)
            number, decision = decide(before)
            if number != before:
                if slot is None:
                    slot = self._room(first, steady_ns)
                    self._claim(slot, key)
                self._keep(slot, number)
                if len(self._known) >= self._slots_count:
                    self._known.clear()
                self._known[name] = slot
        return decision

    def _find(self, name: str, key: bytes, first: int) -> int | None:
        known = self._known.get(name)
        if known is not None and self._key(known) == key:
            return known
        self._known.pop(name, None)
        return next((slot for slot in self._window(first) if self._key(slot) == key), None)

    def _room(self, first: int, steady_ns: int) -> int:
        """Return a slot that is free, or whose tenant owes nothing; failing that, of who owes least."""
        window = list(self._window(first))
        slot = min(window, key=self._number)
        if self._key(slot) != _FREE and self._number(slot) > steady_ns:
            self.on_forgotten()
        return slot

    def _window(self, first: int) -> range:
        return range(first, first + _WINDOW)

    def _key(self, slot: int) -> bytes:
        at = _HEADER.size + slot * _SLOT_BYTES
        return self._content[at : at + _KEY_BYTES]

    def _claim(self, slot: int, key: bytes) -> None:
        # In this order: whoever dies in between leaves a tenant that owes nothing.
        self._keep(slot, 0)
        at = _HEADER.size + slot * _SLOT_BYTES
        self._content[at : at + _KEY_BYTES] = key

    def _number(self, slot: int) -> int:
        at = _HEADER.size + slot * _SLOT_BYTES + _KEY_BYTES
        number: int = _NUMBER.unpack_from(self._content, at)[0]
        return number

    def _keep(self, slot: int, number: int) -> None:
        _NUMBER.pack_into(self._content, _HEADER.size + slot * _SLOT_BYTES + _KEY_BYTES, number)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        locked = self._try_lock()
        if not locked:
            self.on_unlocked()
        try:
            yield
        finally:
            if locked:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _try_lock(self) -> bool:
        began_s = time.monotonic()
        if began_s < self._without_until_s:
            return False
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - began_s > _LOCK_PATIENCE_S:
                    self._without_until_s = time.monotonic() + _WITHOUT_S
                    return False
                time.sleep(0)  # whoever has it may be waiting for this processor
            else:
                return True


def open_shared(file: Path, *, slots_count: int = _SLOTS_COUNT) -> SharedTats:
    """Open the file, or make it.

    Args:
        file: where; readable and writable by its owner only.
        slots_count: how many tenants there is room for, of a file that is made.

    Raises:
        UnreadableError: it cannot be opened, or the disk has no room for all of it.
        UsageError: it is something else.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        message = f"cannot open the file of limits {file}: {error.strerror}"
        raise UnreadableError(message) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            content = _mapped(descriptor, file, slots_count)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BaseException:
        os.close(descriptor)
        raise
    return SharedTats(
        descriptor, content, slots_count=(len(content) - _HEADER.size) // _SLOT_BYTES
    )


def _mapped(descriptor: int, file: Path, slots_count: int) -> mmap.mmap:
    boot = _BOOT_ID.read_bytes().strip()
    size = os.fstat(descriptor).st_size
    made_size = _HEADER.size + slots_count * _SLOT_BYTES
    is_new = size == 0
    size = size or made_size
    try:
        # Every byte of it, also of a file that is there: to write to a mapped page for which the disk has no room ends the process.
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if is_new:
            # Some of it may be there by now, and would be no file of limits.
            os.ftruncate(descriptor, 0)
        message = f"no room for the file of limits {file}: {error.strerror}"
        raise UnreadableError(message) from error
    content = mmap.mmap(descriptor, size)
    magic, count, written_in = (
        _HEADER.unpack_from(content) if size >= _HEADER.size else (b"", 0, b"")
    )
    if size == made_size and content[: _HEADER.size] == bytes(_HEADER.size):
        # New, or left so by somebody who died in this place.
        _HEADER.pack_into(content, 0, _MAGIC, slots_count, boot)
        return content
    if magic != _MAGIC or count < _WINDOW or size != _HEADER.size + count * _SLOT_BYTES:
        content.close()
        message = f"{file} is no file of limits"
        raise UsageError(message)
    if written_in != boot:
        # Nobody else has it open: whoever had has ended with the machine. Its numbers are of another clock.
        content[_HEADER.size :] = bytes(size - _HEADER.size)
        _HEADER.pack_into(content, 0, _MAGIC, count, boot)
    return content


@lru_cache(maxsize=_SLOTS_COUNT)
def _place(name: str, slots_count: int) -> tuple[bytes, int]:
    """Return a tenant's key and the first slot of its window."""
    key = hashlib.blake2b(name.encode(), digest_size=_KEY_BYTES).digest()
    return key, int.from_bytes(key[:8], "little") % (slots_count - _WINDOW + 1)
