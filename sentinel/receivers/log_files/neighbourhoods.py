"""Where to look for what rotation has made: the folders of the files that are known, when something changed in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Protocol

from sentinel.receivers.log_files.comparing import place_of
from sentinel.receivers.log_files.config import LogSourceConfig
from sentinel.receivers.log_files.discovery import Neighbourhood

CLOCK_STEP_NS = 20 * 10**6
"""How much older than its last write a file's time may be: the kernel's clock for it moves in steps."""


class Known(Protocol):
    """What was found, is followed, or was read by a process before this one."""

    @property
    def path(self) -> str:
        """Its name."""

    @property
    def source(self) -> str:
        """Name of its source."""


class Neighbourhoods:
    """The folders of known files, and when each was looked through."""

    def __init__(self, sources: Mapping[str, LogSourceConfig]) -> None:
        self._sources = sources
        self._looked_through: dict[tuple[str, str], int] = {}

    def due(self, known: Iterable[Known], now_ns: int, *, everywhere: bool) -> list[Neighbourhood]:
        """Folders in which rotation may have made something: all, or those that changed since they were looked through."""
        names: dict[tuple[str, str], set[str]] = {}
        for one in known:
            folder, name = place_of(one.path)
            names.setdefault((folder, one.source), set()).add(name)
        folders: list[Neighbourhood] = []
        for (folder, source), beside in names.items():
            try:
                changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116  # for every folder of every look
            except OSError:
                continue
            if (
                everywhere
                or changed_ns >= self._looked_through.get((folder, source), 0) - CLOCK_STEP_NS
            ):
                of = self._sources.get(source)
                folders.append(
                    Neighbourhood(
                        folder=folder,
                        source=source,
                        names=frozenset(beside),
                        paths=of.paths if of is not None else (),
                        exclude=of.exclude if of is not None else (),
                    )
                )
                self._looked_through[folder, source] = now_ns
        if len(self._looked_through) > 2 * len(names) + 16:
            self._looked_through = dict.fromkeys(names, now_ns)
        return folders
