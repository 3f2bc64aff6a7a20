"""Which files there are: those that patterns lead to, and those beside them that rotation may have made."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import itertools
import os
import re
import stat
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from sentinel.receivers.log_files.config import LogSourceConfig
from sentinel.receivers.log_files.opening import Key
from sentinel.receivers.log_files.walking import PatternWalk

_MATCHES_MAX = 1_000_000
_ENTRIES_MAX = 1_000_000
NEWEST_MAX = 10_000
_BESIDE_MAX = 1024
_ROTATED_END = re.compile(r"(?:[._-](?:\d[\d._T:Z-]*|old|prev(?:ious)?|bak))(?:\.[a-z0-9]{1,4})?")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A plain file.

    Attributes:
        source: name of the source whose pattern or folder it is of.
        path: where it is.
        key: device and inode.
        size: in bytes.
        mtime_ns: when it was last written to.
    """

    source: str
    path: str
    key: Key
    size: int
    mtime_ns: int


@dataclass(slots=True, kw_only=True)
class Listing:
    """What was found.

    Attributes:
        matched: files that a pattern leads to, each once, in the order of sources and names.
        beside: files in the same folders whose names begin like theirs, or that were asked for by their inode.
        denied: paths that may not be read.
        circular: links that lead to themselves.
        left_out_count: files that a pattern leads to, and that are not among the newest.
        is_cut: there was more than is looked at.
        is_disturbed: files took other names meanwhile, so that one may have been passed over.
    """

    matched: list[FoundFile] = field(default_factory=list)
    beside: list[FoundFile] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    circular: list[str] = field(default_factory=list)
    left_out_count: int = 0
    is_cut: bool = False
    is_disturbed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """A folder in which rotation is looked for.

    Attributes:
        folder: its path.
        source: whose files are there.
        names: names of files that were followed there.
        paths, exclude: the source's patterns; what they lead to is not beside it.
    """

    folder: str
    source: str
    names: frozenset[str]
    paths: tuple[str, ...]
    exclude: tuple[str, ...]


def discover(
    sources: Sequence[LogSourceConfig],
    neighbourhoods: Iterable[Neighbourhood],
    *,
    keep: Container[Key] = (),
    newest_max: int = NEWEST_MAX,
) -> Listing:
    """Look through all patterns, and through these folders; blocks.

    Args:
        sources: whose patterns.
        neighbourhoods: where rotation is looked for.
        keep: files that are listed, whenever they were written to.
        newest_max: how many others are, those that were written to last; of a million files not each becomes an object.
    """
    listing = Listing()
    seen: set[Key] = set()
    newest = _Newest(newest_max)
    for source in sources:
        for pattern in source.paths:
            _match(source, pattern, seen, listing, newest, keep)
    listing.matched = newest.chosen()
    listing.left_out_count = newest.left_out_count
    for neighbourhood in neighbourhoods:
        _look_around(neighbourhood, seen, listing)
    return listing


class _Newest:
    """Chooses the files that were written to last, and keeps them in the order they came in."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._kept: list[tuple[int, FoundFile]] = []
        self._heap: list[tuple[int, int, FoundFile]] = []
        self._number = 0
        self.left_out_count = 0

    def offer(self, found: FoundFile, *, keep: bool = False) -> None:
        """One more; kept whatever comes, or as long as there are not enough that are newer."""
        self._number += 1
        if keep:
            self._kept.append((self._number, found))
            return
        entry = (found.mtime_ns, -self._number, found)
        if len(self._heap) < self._count_max:
            heapq.heappush(self._heap, entry)
            return
        self.left_out_count += 1
        if self._count_max:
            heapq.heappushpop(self._heap, entry)

    def chosen(self) -> list[FoundFile]:
        """What was chosen."""
        chosen = self._kept + [(-number, found) for _, number, found in self._heap]
        return [found for _, found in sorted(chosen, key=lambda each: each[0])]


def is_readable(path: str) -> bool:
    """Whether a file may be read."""
    return os.access(path, os.R_OK)


def _match(
    source: LogSourceConfig,
    pattern: str,
    seen: set[Key],
    listing: Listing,
    newest: _Newest,
    keep: Container[Key],
) -> None:
    base = _folder_of(pattern)
    if not os.access(base, os.R_OK | os.X_OK) and os.path.isdir(base):  # noqa: PTH112
        listing.denied.append(base)
    walk = PatternWalk(pattern)
    paths = list(itertools.islice(walk.paths(), _MATCHES_MAX + 1))
    if len(paths) > _MATCHES_MAX or walk.is_cut:
        listing.is_cut = True
    for path in sorted(paths[:_MATCHES_MAX]):
        if _is_excluded(path, source.exclude):
            continue
        found = _found(source.name, path, listing)
        if found is not None and found.key not in seen:
            seen.add(found.key)
            newest.offer(found, keep=found.key in keep)


def _look_around(neighbourhood: Neighbourhood, seen: set[Key], listing: Listing) -> None:
    try:
        before_ns = os.stat(neighbourhood.folder).st_mtime_ns  # noqa: PTH116  # for every folder of every look
        with os.scandir(neighbourhood.folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, _ENTRIES_MAX + 1)]
    except FileNotFoundError:
        return  # gone since something was followed in it
    except OSError:
        listing.denied.append(neighbourhood.folder)
        return
    if len(names) > _ENTRIES_MAX:
        listing.is_cut = True
    stems = tuple(sorted({stem_of(name) for name in neighbourhood.names}))
    newest = _Newest(_BESIDE_MAX)
    for name in sorted(names[:_ENTRIES_MAX]):
        if not name.startswith(stems):
            continue
        path = f"{neighbourhood.folder}/{name}"
        if any(
            fnmatch.fnmatchcase(path, pattern) for pattern in neighbourhood.paths
        ) and not _is_excluded(path, neighbourhood.exclude):
            continue
        found = _found(neighbourhood.source, path, listing)
        if found is not None and found.key not in seen:
            seen.add(found.key)
            newest.offer(found)
    listing.beside += newest.chosen()
    listing.is_cut |= newest.left_out_count > 0
    try:
        after_ns = os.stat(neighbourhood.folder).st_mtime_ns  # noqa: PTH116  # as above
    except OSError:
        return
    listing.is_disturbed |= after_ns != before_ns


def _found(source: str, path: str, listing: Listing) -> FoundFile | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # for every file of every look
    except FileNotFoundError:
        return None  # gone since it was listed, or a link to nothing
    except OSError as error:
        (listing.circular if error.errno == errno.ELOOP else listing.denied).append(path)
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FoundFile(
        source=source,
        path=path,
        key=(found.st_dev, found.st_ino),
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
    )


def _is_excluded(path: str, patterns: Sequence[str]) -> bool:
    name = path.rsplit("/", 1)[-1]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns
    )


def _folder_of(pattern: str) -> str:
    """The last folder of a pattern before its first wild card."""
    match = _WILD.search(pattern)
    fixed = pattern if match is None else pattern[: match.start()]
    return fixed.rsplit("/", 1)[0] or "/"


def stem_of(name: str) -> str:
    """What rotated files' names begin with: `app.log` becomes `app.log.1`, `app-1.log` and their like."""
    return name.partition(".")[0] or name


def is_rotated_name(name: str, followed: str) -> bool:
    """Whether rotation gives a file such a name: `app.log.1`, `app.log-20261122.gz`, `app.log.old`, `app-2026-11-22.log`.

    >>> [is_rotated_name(name, "app.log") for name in ("app.log.1", "app-2026-11-22.log", "app-errors.log", "app.log")]
    [True, True, False, False]
    """
    if name.startswith(followed) and _ROTATED_END.fullmatch(name, len(followed)):
        return True
    stem, dot, ending = followed.rpartition(".")
    if not dot or not name.startswith(stem):
        return False
    between = re.escape(ending)
    return (
        re.fullmatch(rf"[._-]\d[\d._T:-]*\.{between}(?:\.[a-z0-9]{{1,4}})?", name[len(stem) :])
        is not None
    )
