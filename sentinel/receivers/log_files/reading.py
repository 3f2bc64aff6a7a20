"""The part of following files that may block: looking for files, reading them, and making durable how far.

The order is what no line is lost or doubled by: how far a batch reaches is durable before the batch is handed on, and that
it was handed on is durable before anything that was learnt of it is forgotten. Used by one thread at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from sentinel.receivers.log_files.batches import Batch, Timing
from sentinel.receivers.log_files.config import LogFilesConfig
from sentinel.receivers.log_files.followed import FollowedFile, TruncatedError
from sentinel.receivers.log_files.following import Following
from sentinel.receivers.log_files.positions import Positions
from sentinel.runtime.clock import thread_cpu_s

_REST_S = 5.0
_FORGET_NS = 7 * 86_400 * 10**9


class Reading:
    """Every file, its position, and the batches that wait to be handed on."""

    def __init__(self, config: LogFilesConfig, directory: str) -> None:
        self._chunk_max = config.chunk_max
        self.files_max = config.files_max
        self.unshipped_after_s = float(config.unshipped_after)
        self._positions = Positions(directory)
        self._patterns = {
            source.name: json.dumps([source.paths, source.exclude]) for source in config.sources
        }
        self.following = Following(config.sources, files_max=config.files_max)
        self._timing = Timing(
            finished_after_s=config.finished_after,
            unfinished_after_s=config.unfinished_after,
            joined_after_s=config.joined_after,
        )
        self.unsaved: Exception | None = None
        """Why positions could not be made durable the last time; None when they were."""
        self.unsaved_count = 0
        self.unreadable: tuple[str, str] | None = None
        """Path of a file that could not be read the last time, and why; None when all could."""
        self.unreadable_count = 0
        self.look_cost_s = 0.0
        """CPU that the last look took."""
        self.is_startled = False
        """Whether files changed their names or contents, so that they should be looked for at once."""

    @property
    def files(self) -> Sequence[FollowedFile]:
        """The files that are followed."""
        return self.following.files

    def uid_of(self, file: FollowedFile) -> str:
        """What a file's records are named by, together with their place in it: the same after a restart."""
        return f"{self._positions.store_id}-{file.file_id:x}"

    def open(self) -> str:
        """Know how far files were read before; a sentence when that was damaged, else "".

        Raises:
            OSError, sqlite3.Error: positions can neither be read nor made.
        """
        note = self._positions.open()
        before = self._positions.sources()
        unchanged = {name for name, paths in self._patterns.items() if before.get(name) == paths}
        self.following.know(self._positions.rows(), unchanged=unchanged)
        return note

    def close(self) -> None:
        """Let go of every file; idempotent."""
        self.following.close()
        self._positions.close()

    def look(self, *, now_s: float, now_ns: int) -> None:
        """Look for files."""
        self.is_startled = False
        begun_s = thread_cpu_s()
        self.following.look(now_s=now_s, now_ns=now_ns)
        self.look_cost_s = thread_cpu_s() - begun_s

    def due(self, now_s: float) -> list[FollowedFile]:
        """Files of which there is more, or a batch that waits."""
        found = [file for file in self.files if file.has_more(now_s, self._timing)]
        if any(file.is_replaced() for file in self.files if now_s - file.data_s < _REST_S):
            self.is_startled = True
        return found

    def take(self, due: Sequence[FollowedFile], *, now_s: float, now_ns: int) -> None:
        """Read a piece of each of these files, and make durable how far their batches reach."""
        is_new = False
        for file in due:
            had = file.batch is not None
            try:
                file.take(self._chunk_max, now_s, now_ns, self._timing)
                file.rests_until_s = 0.0
            except TruncatedError:
                self.following.truncated(file, now_s)
                self.is_startled = True
            except (OSError, EOFError) as error:
                file.rests_until_s = now_s + _REST_S
                self.unreadable = (file.path, type(error).__name__)
                self.unreadable_count += 1
            is_new = is_new or (file.batch is not None and not had)
        if not any(file.rests_until_s for file in self.files):
            self.unreadable = None
        if is_new:
            self.save(now_ns, more=due)

    def again(
        self, file: FollowedFile, endpoint: str, *, bytes_max: int, now_ns: int, is_noted: bool
    ) -> Batch:
        """What of a file an endpoint has not got, a piece of it; with `is_noted` only after all that it got is durable.

        Raises:
            TruncatedError, OSError: it can no longer be read, or not now.
        """
        behind = file.unshipped[endpoint]
        if behind.start == behind.until:
            # Durable before any of it is handed on: where records end is the same after a kill.
            behind = file.unshipped[endpoint] = replace(behind, until=file.handed)
            file.is_dirty = is_noted = True
        if is_noted and self.is_dirty:
            self.save(now_ns)
        return file.again(behind, self.following.joiner_of(file.source), bytes_max, now_ns)

    def end(self, file: FollowedFile) -> None:
        """Let go of a file of which nothing more comes, and all of which was handed on."""
        self.following.end(file)

    @property
    def is_dirty(self) -> bool:
        """Whether there is something that is not durable yet."""
        return bool(self.following.ended) or any(file.is_dirty for file in self.files)

    def save(self, now_ns: int, *, more: Sequence[FollowedFile] = ()) -> None:
        """Make durable how far every file was handed on, and how far the batches of `more` reach.

        When it fails reading goes on: what a crash would bring twice is worth less than what nobody reads.
        """
        ended = self.following.ended
        files = [file for file in (*self.files, *ended) if file.is_dirty]
        files += [file for file in more if file.batch is not None and not file.is_dirty]
        try:
            self._positions.save(
                # Not when it is written down: what was made since the last look is not known by then.
                [file.row(self.following.looked_ns) for file in files],
                forget_before_ns=now_ns - _FORGET_NS,
                sources=self._patterns,
            )
        except (OSError, sqlite3.Error) as error:
            self.unsaved = error
            self.unsaved_count += 1
            return
        self.unsaved = None
        self.following.ended = []
        for file in files:
            file.is_dirty = False
