"""Metrics pages to increases and levels, a whole page at a time: what `streams` does for points, for columns.

The table there holds here as well, for every stream, to the last bit. One line is of pages alone:

| the stream, against the page before | means | increase |
|---|---|---|
| counter or histogram that was not on it, though others of its metric were | it began at 0 since | its value |

A bucket that a known histogram had not before is one that nothing was counted in: some exporters leave those out.

The last numbers of a target's streams are arrays. They are numbered here as they come, in a `StreamTable` of our own: who
scrapes a target may begin a new one at any time, and the streams stay the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from sentinel.core.model import RejectReason, ScrapedColumns
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.scraped.gains import ScrapedGains
from sentinel.core.series.scraped.target import ScrapedTarget


class ScrapedStreams:
    """The last numbers of every target's streams; bounded by `cell_count_max` in all."""

    def __init__(self, *, cell_count_max: int) -> None:
        self._cell_count_max = cell_count_max
        self._targets: dict[str, ScrapedTarget] = {}

    @property
    def cell_count(self) -> int:
        """How many numbers are remembered."""
        return sum(target.table.cell_count for target in self._targets.values())

    def gains(self, held: Iterable[ScrapedColumns], counts: SeriesCounts) -> list[ScrapedGains]:
        """What each target's streams came to by the pages of one window."""
        by_target: dict[str, list[ScrapedColumns]] = {}
        for columns in held:
            by_target.setdefault(columns.table.target, []).append(columns)
        found: list[ScrapedGains] = []
        for name, pages in sorted(by_target.items()):
            target = self._target(name, pages)
            if target is None:
                counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += sum(
                    len(page.value) for page in pages
                )
                continue
            target.begin_window()
            for page in _in_order(pages):
                target.take(page, counts)
            found.append(target.gains())
        return found

    def forget_idle(self, before_ns: int, held: Collection[ScrapedColumns]) -> None:
        """Forget streams whose last number is older and that are not held; they start anew if they come back."""
        for name, target in list(self._targets.items()):
            own = [columns for columns in held if columns.table.target == name]
            target.forget(target.last_ns < before_ns, own)
            if target.page_ns < before_ns and not own:
                del self._targets[name]
            elif target.is_mostly_gone:
                self._targets[name] = target.without_gone()

    def set_back(self, now_ns: int) -> None:
        """Forget streams whose last number is later than now: all that comes would look like an overlap with it."""
        for target in self._targets.values():
            target.forget(target.last_ns > now_ns, ())
            if target.page_ns > now_ns:
                target.page_ns, target.families = 0, frozenset()

    @property
    def targets(self) -> Collection[str]:
        """Whose streams are remembered."""
        return self._targets.keys()

    def _target(self, name: str, pages: list[ScrapedColumns]) -> ScrapedTarget | None:
        target = self._targets.get(name)
        # A page may be new to the last cell.
        added = max(len(page.cell) for page in pages) if target is None else 0
        if self.cell_count + added > self._cell_count_max:
            return None
        if target is None:
            target = self._targets[name] = ScrapedTarget(name)
        return target


def _in_order(pages: list[ScrapedColumns]) -> list[ScrapedColumns]:
    """Pages in order of time; two of one time in the same order however they came."""
    pages = sorted(pages, key=lambda page: page.time_ns)
    if all(one.time_ns < after.time_ns for one, after in pairwise(pages)):
        return pages
    return sorted(
        pages, key=lambda page: (page.time_ns, page.cell.tobytes(), page.value.tobytes())
    )
