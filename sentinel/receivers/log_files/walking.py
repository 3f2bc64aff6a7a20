"""Which paths a pattern leads to, where links may lead in circles.

`glob` follows every link to a folder for as long as the kernel lets it: two links to the folder they lie in are 2**40 ways
through it, which no program comes to the end of. Here a folder is entered once, however many ways lead there.
"""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterator

FOLDERS_MAX = 10_000
"""Most folders that the `**` of one pattern are looked for in."""


class PatternWalk:
    """The paths of one pattern; `is_cut` says whether there were more folders than are looked at."""

    def __init__(self, pattern: str, *, folders_max: int = FOLDERS_MAX) -> None:
        self._pattern = pattern
        self._left_count = folders_max
        self.is_cut = False

    def paths(self) -> Iterator[str]:
        """Every path once for each way of matching; blocks. Folders that may not be read are passed over."""
        return self._paths(self._pattern)

    def _paths(self, pattern: str) -> Iterator[str]:
        before, deep, after = pattern.partition("/**/")
        if not deep and pattern.endswith("/**"):
            before, deep, after = pattern.removesuffix("/**"), "/**", "*"
        if not deep:
            yield from glob.iglob(pattern)  # noqa: PTH207  # absolute, and read by `os` as text
            return
        for base in glob.iglob(before) if before else ("/",):  # noqa: PTH207  # as above
            for folder in self._folders(base):
                yield from self._paths(f"{glob.escape(folder.rstrip('/'))}/{after}")

    def _folders(self, base: str) -> Iterator[str]:
        """A folder and all below it; those that only links lead to last, so that files keep the names of where they are."""
        ways, links = deque([base]), deque[str]()
        entered: set[tuple[int, int]] = set()
        while ways or links:
            folder = (ways or links).popleft()
            try:
                found = os.stat(folder)  # noqa: PTH116  # for every folder of every look
                if (found.st_dev, found.st_ino) in entered:
                    continue
                if not self._left_count:
                    self.is_cut = True
                    return
                self._left_count -= 1
                entered.add((found.st_dev, found.st_ino))
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda one: one.name):
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            ways.append(entry.path)
                        elif entry.is_symlink() and entry.is_dir():
                            links.append(entry.path)
            except OSError:
                continue  # gone, no folder, or not ours to read: nothing is in it for us
            yield folder
