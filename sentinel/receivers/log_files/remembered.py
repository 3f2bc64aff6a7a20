"""What is remembered of files beside those that are followed: names, beginnings, and those that are none of ours."""

from __future__ import annotations

from sentinel.receivers.log_files.comparing import place_of
from sentinel.receivers.log_files.discovery import FoundFile
from sentinel.receivers.log_files.opening import Key, ReadAt
from sentinel.receivers.log_files.positions import HEAD_BYTES_MAX, hash_of

PASSED_OVER_MAX = 50_000
_HEADS_MAX = 4096
_NAMES_MAX = 256


class Remembered:
    """Bounded; the oldest is forgotten first."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, None]] = {}
        """Names of files that were followed, by folder."""
        self.heads: dict[tuple[int, bytes], None] = {}
        """Length and hash of the beginning of files that were read."""
        self._passed_over: dict[Key, tuple[int, bytes]] = {}

    def know_name(self, path: str) -> None:
        """A file of this name was followed."""
        folder, name = place_of(path)
        names = self.names.setdefault(folder, {})
        names[name] = None
        if len(names) > _NAMES_MAX:
            del names[next(iter(names))]
        if len(self.names) > PASSED_OVER_MAX:
            del self.names[next(iter(self.names))]

    def know_head(self, head_bytes: int, head: bytes) -> None:
        """A file that begins so was read."""
        if head_bytes:
            self.heads[head_bytes, head] = None
            if len(self.heads) > _HEADS_MAX:
                del self.heads[next(iter(self.heads))]

    def pass_over(self, key: Key, read_at: ReadAt) -> None:
        """A file that is looked at no more, as long as it begins as it does."""
        head = read_at(HEAD_BYTES_MAX, 0)
        self._passed_over[key] = (len(head), hash_of(head))
        if len(self._passed_over) > PASSED_OVER_MAX:
            del self._passed_over[next(iter(self._passed_over))]

    def is_passed_over(self, found: FoundFile, read_at: ReadAt) -> bool:
        """Whether it is one of those still."""
        known = self._passed_over.get(found.key)
        if known is None:
            return False
        # The inode of a file that was deleted is soon another's.
        size, head = known
        if (size > 0 or not found.size) and hash_of(read_at(size, 0)) == head:
            return True
        del self._passed_over[found.key]
        return False
