"""Files that name targets, read again when they change.

A file that cannot be read or makes no sense keeps the targets it named last: who writes it may be half way. One that is gone
names none any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sentinel.core.redact import redact
from sentinel.errors import InputError, InputTooLargeError
from sentinel.scrapers.prometheus.file_targets import FILE_BYTES_MAX, FileTarget, targets_of

_FILES_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What files name at the moment.

    Attributes:
        targets: each once, in the order of their names; at most so many as asked for.
        left_out_count: targets beyond that.
        problems: what is wrong with which file, by its path.
    """

    targets: tuple[FileTarget, ...] = ()
    left_out_count: int = 0
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _File:
    stamp: tuple[int, int, int] = (0, 0, 0)
    targets: tuple[FileTarget, ...] = ()
    problem: str = ""


class FileDiscovery:
    """Some files and what they named last; one thread at a time."""

    def __init__(self, patterns: tuple[str, ...], *, target_count_max: int) -> None:
        self._patterns = patterns
        self._target_count_max = target_count_max
        self._files: dict[str, _File] = {}

    def look(self) -> Discovered:
        """Look at the files and read those that have changed; waits for the disk, so not on the loop."""
        there: list[str] = []
        problems: dict[str, str] = {}
        for pattern in self._patterns:
            folder, name = Path(pattern).parent, Path(pattern).name
            matching = sorted(str(path) for path in folder.glob(name))
            if not matching and not any(mark in name for mark in "*?["):
                problems[pattern] = "it is not there"
            there += [path for path in matching if path not in there]
        if len(there) > _FILES_MAX:
            problems[there[_FILES_MAX]] = f"more than {_FILES_MAX} files; the rest is not read"
            there = there[:_FILES_MAX]
        self._files = {path: self._files.get(path) or _File() for path in there}
        for path, file in self._files.items():
            _read(path, file)
            if file.problem:
                problems[path] = file.problem
        named = {target: None for file in self._files.values() for target in file.targets}
        targets = sorted(named, key=lambda target: (target.address, target.url, target.labels))
        return Discovered(
            targets=tuple(targets[: self._target_count_max]),
            left_out_count=max(len(targets) - self._target_count_max, 0),
            problems=problems,
        )


def _read(path: str, file: _File) -> None:
    try:
        status = Path(path).stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == file.stamp and not file.problem:
            return
        if status.st_size > FILE_BYTES_MAX:
            msg = "the file is too large"
            raise InputTooLargeError(msg, size_bytes=status.st_size, limit_bytes=FILE_BYTES_MAX)
        with Path(path).open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
        file.targets = targets_of(text, is_json=path.endswith(".json"))
    except OSError as error:
        file.problem = error.strerror or type(error).__name__
    except InputError as error:
        file.problem = redact(str(error))
    else:
        file.stamp, file.problem = stamp, ""
