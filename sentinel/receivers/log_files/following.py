"""All files that are followed: which are new, which were rotated, and where the rest of a truncated one is.

Called by one thread at a time; everything here may block on the file system.

Whether a file that was not known is read, and from where:

| it is | then |
|---|---|
| known from before a restart, by device, inode and hash of its beginning | from where it was read to |
| the copy of a file that was truncated, or of one that is gone, also compressed | the rest of that one |
| the copy of a file that is there | not at all |
| there when the program begins for the first time | from its end or its beginning, as configured |
| new, by a pattern, also since a process before this one looked last | whole |
| new beside one that was rotated, written since the last look, and no copy of what was read | whole: it was made and rotated between two looks, or while nobody looked |
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence, Set

from sentinel.core.normalise.logs.joined import LineJoiner
from sentinel.core.normalise.logs.paths import service_of_path
from sentinel.receivers.log_files.comparing import (
    after_last_line,
    compressed_is_rest,
    is_begun_like,
    is_copy,
    orphans_beside,
    place_of,
    reader_of,
    unzipped,
)
from sentinel.receivers.log_files.config import LogSourceConfig, StartAt
from sentinel.receivers.log_files.discovery import (
    FoundFile,
    Listing,
    discover,
    is_rotated_name,
)
from sentinel.receivers.log_files.followed import (
    COMPRESSED_MAGICS,
    GZIP_MAGIC,
    FollowedFile,
)
from sentinel.receivers.log_files.neighbourhoods import CLOCK_STEP_NS, Neighbourhoods
from sentinel.receivers.log_files.opening import Key, MovedError, ReadAt
from sentinel.receivers.log_files.positions import HEAD_BYTES_MAX, Row, hash_of
from sentinel.receivers.log_files.remembered import PASSED_OVER_MAX, Remembered

_LOOKS_S = 20.0
_WRITTEN_LATELY_NS = 3 * 10**9


class Following:
    """The files of every source."""

    def __init__(self, sources: Sequence[LogSourceConfig], *, files_max: int) -> None:
        self._sources = {source.name: source for source in sources}
        self._joining = {source.name: source.join_settings() for source in sources}
        self._files_max = files_max
        self.files: list[FollowedFile] = []
        self.events: Counter[str] = Counter()
        """What happened to files since it was last looked at: renamed, truncated, finished, found."""
        self.refused: Counter[str] = Counter()
        """Files that are not followed, by why, as of the last look."""
        self.refused_path = ""
        self.looks_around = True
        """Whether the next look is for rotated files too."""
        self._by_key: dict[Key, FollowedFile] = {}
        self._rows: dict[Key, Row] = {}
        self._remembered = Remembered()
        self._next_id = 1
        self._is_first = True
        self.looked_ns = 0
        """When files were last looked for: all that was written before in what is known was seen."""
        self.ended: list[FollowedFile] = []
        """Files of which nothing more comes, whose last position is not durable yet."""
        self._unchanged: Set[str] = frozenset()
        self._reused: set[Key] = set()
        self._maybe_missed: dict[Key, None] = {}
        self._alive_ns = 0
        self._neighbourhoods = Neighbourhoods(self._sources)

    def know(self, rows: Sequence[Row], *, unchanged: Set[str]) -> None:
        """Know what a process before this one had read, of which sources with the same patterns as now."""
        self._unchanged = unchanged
        for row in rows:
            self._next_id = max(self._next_id, row.file_id + 1)
            self._alive_ns = max(self._alive_ns, row.seen_ns)
            self._remembered.know_head(row.head_bytes, row.head)
            self._remembered.know_name(row.path)
            if row.source not in self._sources:
                continue
            if row.inode:
                # Of two that had the same inode one after the other, the first is gone.
                older = self._rows.get((row.device, row.inode))
                if older is not None:
                    self.files.append(self._orphan(older, now_s=0.0))
                    self._reused.add((row.device, row.inode))
                self._rows[row.device, row.inode] = row
            else:
                self.files.append(self._orphan(row, now_s=0.0))

    def look(self, *, now_s: float, now_ns: int) -> None:
        """Look for files, and sort out what was not known."""
        for orphan in self.files:
            if not orphan.is_open and not orphan.looks_until_s:
                orphan.looks_until_s = now_s + _LOOKS_S
        listing = discover(
            tuple(self._sources.values()),
            (),
            keep={*self._by_key, *self._rows},
            newest_max=self._files_max,
        )
        self.refused.clear()
        self.refused_path = next(iter(listing.denied or listing.circular), "")
        self.refused["circular"] = len(listing.circular)
        self.refused["denied"] = len(listing.denied)
        self.refused["limit"] = listing.left_out_count + int(listing.is_cut)
        self._note_names(listing, now_s)
        everywhere = (
            self._is_first or self.looks_around or any(not file.is_open for file in self.files)
        )
        self.looks_around = False
        known = (*self.files, *(self._rows.values() if self._is_first else ()), *listing.matched)
        if folders := self._neighbourhoods.due(known, now_ns, everywhere=everywhere):
            keys = {found.key for found in listing.matched}
            around = discover((), folders)
            listing.beside += [found for found in around.beside if found.key not in keys]
            listing.is_disturbed |= around.is_disturbed
        matched = {found.key for found in listing.matched}
        for found in listing.matched:
            self._remembered.know_name(found.path)
        listed = [
            one for one in (*listing.matched, *listing.beside) if one.key not in self._by_key
        ]
        unknown: list[FoundFile] = []
        for found in listed:
            try:
                if not self._resume(found, now_s, is_named=found.key in matched):
                    unknown.append(found)
            except MovedError:
                listing.is_disturbed = True
        self._orphan_rows(now_s, but={found.key for found in listed})
        # Where not all find room, those that were written to last do.
        unknown.sort(key=lambda found: -found.mtime_ns)
        for found in unknown:
            if len(self.files) >= self._files_max and all(file.is_open for file in self.files):
                # It cannot be the rest of one that is followed, and there is no room for another.
                if found.key in matched:
                    self._refuse("limit", found.path)
                continue
            try:
                self._sort_out(found, is_matched=found.key in matched, now_s=now_s)
            except MovedError:
                listing.is_disturbed = True
        self._is_first = False
        self._note_looked(now_ns, is_disturbed=listing.is_disturbed)
        if len(self._maybe_missed) > PASSED_OVER_MAX:
            self._maybe_missed.clear()

    def truncated(self, file: FollowedFile, now_s: float) -> None:
        """Begin a file anew that was truncated; what was not read of it is looked for in a copy."""
        if file.is_copy or file.key is None:
            # It holds less than what was read: nothing is missing.
            file.lose_rest()
            return
        anew = self._new(file.source, file.path)
        anew.take_over(file)
        file.looks_until_s = now_s + _LOOKS_S
        if not file.has_begun():
            file.lose_rest()  # a copy of it is read like any other file that nobody knew
        self.events["truncated"] += 1
        self.looks_around = True
        self._add(anew, now_s)

    def end(self, file: FollowedFile) -> None:
        """Let go of a file of which nothing more comes."""
        file.close()
        self.files.remove(file)
        if file.key is not None:
            self._by_key.pop(file.key, None)
            if not file.is_named:
                with contextlib.suppress(MovedError):
                    read_at = reader_of(file.path, file.key)
                    if read_at is not None:
                        self._remembered.pass_over(file.key, read_at)
        if file.came_from is not None:
            # Nothing of it was found. Its folder may not be there yet, so it stays known for some days.
            key = (file.came_from.device, file.came_from.inode)
            if file.came_from.inode and key not in self._reused:
                self._rows[key] = file.came_from
            return
        self._remembered.know_head(file.head_bytes, file.head)
        self.ended.append(file)
        self.events["finished"] += 1

    def joiner_of(self, source: str) -> LineJoiner:
        """What joins the lines of a file of a source, from anywhere in it."""
        return LineJoiner(self._joining[source])

    def close(self) -> None:
        """Let go of every file; idempotent."""
        for file in self.files:
            file.close()

    # Below: what a file that was found is.

    def _note_names(self, listing: Listing, now_s: float) -> None:
        named = {found.key: found.path for found in listing.matched}
        for file in self.files:
            if file.key is None:
                continue
            path = named.get(file.key)
            if path is not None:
                if path != file.path:
                    self.looks_around = True
                    self.events["renamed"] += 1
                file.path, file.is_named, file.named_s = path, True, now_s
            elif file.is_replaced():
                file.is_named, file.named_s = False, now_s
                self.looks_around = True
                self.events["renamed"] += 1

    def _resume(self, found: FoundFile, now_s: float, *, is_named: bool) -> bool:
        """Go on with a file that a process before this one had read."""
        row = self._rows.get(found.key)
        if row is None or row.source not in self._sources:
            return False
        read_at = reader_of(found.path, found.key)
        if read_at is None:
            return False
        if row.head_bytes and hash_of(read_at(row.head_bytes, 0)) != row.head:
            # Another file in the same place: that one's row is an orphan's.
            if self._is_first:
                del self._rows[found.key]
                self.files.append(self._orphan(row, now_s))
            return False
        if len(self.files) >= self._files_max:
            # What is known of it stays: it goes on from there when there is room, and does not begin anew.
            self._refuse("limit", found.path)
            return True
        file = self._followed(row.file_id, row.source, found.path)
        file.resume(row)
        self._opened(file, found, now_s, is_named=is_named)
        self._rows.pop(found.key, None)
        return True

    def _orphan_rows(self, now_s: float, *, but: Set[Key]) -> None:
        """Files of which nothing was found at first: what was not read of them may be in a copy."""
        for key, row in list(self._rows.items()) if self._is_first else ():
            if key not in but:
                del self._rows[key]
                self.files.append(self._orphan(row, now_s))

    def _note_looked(self, now_ns: int, *, is_disturbed: bool) -> None:
        """Up to when all was seen: not up to now when files took other names while they were looked at."""
        if not is_disturbed:
            self.looked_ns = now_ns
            return
        self.looked_ns = self.looked_ns or self._alive_ns or now_ns
        self.looks_around = True

    def _orphan(self, row: Row, now_s: float) -> FollowedFile:
        file = self._followed(row.file_id, row.source, row.path)
        file.resume(row)
        file.key, file.is_named, file.came_from, file.is_dirty = None, False, row, False
        file.looks_until_s = now_s + _LOOKS_S if now_s else 0.0
        return file

    def _sort_out(self, found: FoundFile, *, is_matched: bool, now_s: float) -> None:
        read_at = reader_of(found.path, found.key)
        if read_at is None:
            self._refuse("denied", found.path)
            return
        magic = read_at(8, 0)
        if magic.startswith(COMPRESSED_MAGICS):
            if magic.startswith(GZIP_MAGIC):
                self._sort_out_compressed(found, read_at, now_s)
            return
        if self._remembered.is_passed_over(found, read_at):
            return
        for orphan in orphans_beside(self.files, found.path):
            if orphan.is_rest_of(read_at, found.size):
                orphan.is_copy = True
                self._opened(orphan, found, now_s, is_named=is_matched)
                return
        if is_copy(found, read_at, self.files):
            if self._is_recent(found):
                self._maybe_missed[found.key] = None
            return
        is_missed = self._is_missed(found, lambda count: read_at(count, 0))
        if not is_matched:
            if not is_missed:
                self._remembered.pass_over(found.key, read_at)
                return
            self.events["missed"] += 1
        file = self._new(found.source, found.path)
        starts_at_end = self._sources[found.source].start is StartAt.END
        # What a source with the same patterns did not know was made since.
        is_new = found.source in self._unchanged and self._is_recent(found)
        if self._is_first and starts_at_end and is_matched and not is_new:
            file.begin_at(after_last_line(read_at, found.size), read_at)
        self._opened(file, found, now_s, is_named=is_matched)

    def _is_missed(self, found: FoundFile, beginning: Callable[[int], bytes]) -> bool:
        """Whether it was written after anybody looked last, and is no copy of what was read."""
        if not self._is_recent(found) and found.key not in self._maybe_missed:
            return False
        folder, name = place_of(found.path)
        if not any(
            is_rotated_name(name, known) for known in self._remembered.names.get(folder, ())
        ):
            return False
        head = beginning(HEAD_BYTES_MAX)
        if not head or any(is_begun_like(head, len(head), file) for file in self.files):
            return False
        known = [(file.head_bytes, file.head) for file in self.files if not file.is_open]
        return not any(
            0 < size <= len(head) and hash_of(head[:size]) == hashed
            for size, hashed in (*known, *self._remembered.heads)
        )

    def _is_recent(self, found: FoundFile) -> bool:
        """Whether it was written after anybody looked last, over a restart as well."""
        if self._is_first:
            return 0 < self._alive_ns <= found.mtime_ns + CLOCK_STEP_NS
        return found.mtime_ns >= self.looked_ns - _WRITTEN_LATELY_NS

    def _sort_out_compressed(self, found: FoundFile, read_at: ReadAt, now_s: float) -> None:
        if self._remembered.is_passed_over(found, read_at):
            return
        try:
            for orphan in orphans_beside(self.files, found.path):
                if compressed_is_rest(orphan, found.path):
                    orphan.open_compressed(found.path)
                    self._remembered.pass_over(found.key, read_at)
                    return
            if any(file.is_open and compressed_is_rest(file, found.path) for file in self.files):
                return  # the copy of one that is open, and may be looked for when that was truncated
            if self._is_missed(found, lambda count: unzipped(found.path, count)):
                missed = self._new(found.source, found.path)
                missed.open_compressed(found.path)
                missed.data_s = now_s
                self.files.append(missed)
                self._remembered.pass_over(found.key, read_at)
                self.events["missed"] += 1
                return
        except MovedError:
            raise
        except (OSError, EOFError):
            return  # not all of it is written yet, or it is damaged
        if not orphans_beside(self.files, found.path):
            self._remembered.pass_over(found.key, read_at)

    def _opened(
        self, file: FollowedFile, found: FoundFile, now_s: float, *, is_named: bool = True
    ) -> bool:
        if file not in self.files and len(self.files) >= self._files_max:
            self._refuse("limit", found.path)
            return True
        try:
            file.open(found.path, found.key)
        except MovedError:
            raise
        except OSError:
            self._refuse("denied", found.path)
            return True
        file.is_named, file.came_from = is_named, None
        self._add(file, now_s)
        return True

    def _add(self, file: FollowedFile, now_s: float) -> None:
        file.named_s = file.data_s = now_s
        assert file.key is not None, "it was opened"
        self._by_key[file.key] = file
        self._rows.pop(file.key, None)
        if any(
            other.came_from is not None
            and (other.came_from.device, other.came_from.inode) == file.key
            for other in self.files
        ):
            # What a process before this one knew by this inode is gone for good.
            self._reused.add(file.key)
        if file not in self.files:
            self.files.append(file)
            self.events["found"] += 1

    def _new(self, source: str, path: str) -> FollowedFile:
        file_id, self._next_id = self._next_id, self._next_id + 1
        return self._followed(file_id, source, path)

    def _followed(self, file_id: int, source: str, path: str) -> FollowedFile:
        return FollowedFile(
            file_id=file_id,
            source=source,
            path=path,
            service=self._sources[source].service or service_of_path(path),
            joiner=self.joiner_of(source),
        )

    def _refuse(self, reason: str, path: str) -> None:
        self.refused[reason] += 1
        self.refused_path = self.refused_path or path
