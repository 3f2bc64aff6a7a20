"""The windows that are not closed yet: which one an instant belongs to, and how much may be held for all of them.

What comes for a window that is closed, or that lies too far ahead, is counted and belongs to none.
"""

from __future__ import annotations

from sentinel.core.model import (
    DistributionPoint,
    MeasuredColumns,
    NumberPoint,
    RejectReason,
    ScrapedColumns,
)
from sentinel.core.series.counts import SIGNAL_METRICS, SeriesCounts
from sentinel.core.series.open_window import Held, OpenWindow, held_by
from sentinel.core.series.settings import SeriesSettings

FUTURE_MAX_NS = 300 * 10**9
"""What is further ahead of its receipt than this was stamped by a wrong clock."""


class OpenWindows:
    """Open windows by their number, which is their start over the width of a window."""

    def __init__(
        self, settings: SeriesSettings, *, start_ns: int | None, takes_running: bool = False
    ) -> None:
        """None is open yet; by default `begin` decides which is the first, otherwise the first boundary from `start_ns` on.

        With `takes_running` the first is the one that is running when `begin` is called first.
        """
        self._settings = settings
        self._takes_running = takes_running
        self._closed_until_ns = 0
        self._next: int | None = None if start_ns is None else self._boundary(start_ns)
        self._begun: int | None = None
        self._open: dict[int, OpenWindow] = {}
        self._pending_point_count = 0
        self._pending_cell_count = 0

    def __len__(self) -> int:
        """How many have got something."""
        return len(self._open)

    def begin_after(self, end_ns: int) -> None:
        """None that ends by `end_ns` is open."""
        self._closed_until_ns = end_ns

    def begin(self, now_ns: int) -> int:
        """The number of the first that is not closed; the first call decides where that begins."""
        if self._next is None:
            begun_ns = max(now_ns, self._closed_until_ns)
            if self._takes_running:
                begun_ns -= begun_ns % self._settings.window_ns
            self._next = self._begun = self._boundary(begun_ns)
        return self._next

    def due_ns(self, now_ns: int) -> int:
        """When the clock alone closes the first that is not closed."""
        return (self.begin(now_ns) + 1) * self._settings.window_ns + self._settings.lateness_ns

    def close_before(self, index: int) -> None:
        """Nothing more comes for those before this one; they are to be taken out."""
        self._next = index

    def last(self) -> int | None:
        """The number of the latest that has got something."""
        return max(self._open, default=None)

    def set_back(self, now_ns: int) -> None:
        """Drop all, and go on with the first that begins from now on: the one that is running was seen only in part."""
        self._open.clear()
        self._pending_point_count = self._pending_cell_count = 0
        self._next = self._boundary(now_ns)

    def is_late(self, time_ns: int) -> bool:
        """Whether the window of an instant is closed; the one that was running at the begin never was open."""
        index = time_ns // self._settings.window_ns
        return self._next is not None and index < self._next and index + 1 != self._begun

    def window_for(
        self, time_ns: int, now_ns: int, signal: str, counts: SeriesCounts, *, count: int = 1
    ) -> OpenWindow | None:
        """The open window an instant belongs to; None, and counted, when it is closed or too far ahead."""
        index = time_ns // self._settings.window_ns
        if self._next is not None and index < self._next:
            if index + 1 == self._begun:
                # In time, but of the window that was running when we began: "late" would blame the sender.
                counts.dropped[signal, RejectReason.BEFORE_START] += count
            else:
                counts.late[signal] += count
            return None
        if time_ns > now_ns + FUTURE_MAX_NS:
            counts.dropped[signal, RejectReason.FUTURE] += count
            return None
        window = self._open.get(index)
        if window is None:
            window = self._open[index] = OpenWindow()
        return window

    def find(self, time_ns: int) -> OpenWindow | None:
        """The open window of an instant, if it has got anything."""
        return self._open.get(time_ns // self._settings.window_ns)

    def hold(
        self,
        held: list[NumberPoint] | list[DistributionPoint],
        point: NumberPoint | DistributionPoint,
        counts: SeriesCounts,
    ) -> None:
        """Keep a metric point until its window closes; counted instead when as many are held as may be."""
        if self._pending_point_count >= self._settings.pending_point_count_max:
            counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += 1
            return
        self._pending_point_count += 1
        held.append(point)  # type: ignore[arg-type]

    def hold_page(self, columns: ScrapedColumns, now_ns: int, counts: SeriesCounts) -> None:
        """Keep a metrics page until its window closes; counted instead when as many numbers are held as may be."""
        count = len(columns.value)
        window = self.window_for(columns.time_ns, now_ns, SIGNAL_METRICS, counts, count=count)
        if window is None:
            return
        if self._pending_cell_count + count > self._settings.pending_cell_count_max:
            counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += count
            return
        self._pending_cell_count += count
        window.scraped.append(columns)

    def hold_measured(self, columns: MeasuredColumns, now_ns: int, counts: SeriesCounts) -> None:
        """Keep what was worked out for one window until that closes; what is of another width is counted, and left out."""
        count = len(columns.value)
        window_ns = self._settings.window_ns
        if columns.step_ns != window_ns or columns.start_ns % window_ns:
            counts.dropped[SIGNAL_METRICS, RejectReason.BAD_SHAPE] += count
            return
        window = self.window_for(columns.start_ns, now_ns, SIGNAL_METRICS, counts, count=count)
        if window is None:
            return
        if self._pending_cell_count + count > self._settings.pending_cell_count_max:
            counts.dropped[SIGNAL_METRICS, RejectReason.LIMIT] += count
            return
        self._pending_cell_count += count
        window.measured.append(columns)

    def filled_before(self, index: int) -> list[int]:
        """The numbers of those before `index` that have got something, ascending."""
        return sorted(each for each in self._open if each < index)

    def take_out(self, index: int) -> OpenWindow:
        """The window of this number, which is no longer held; an empty one where nothing came."""
        window = self._open.pop(index, None)
        if window is None:
            return OpenWindow()
        self._pending_point_count -= window.pending_point_count
        self._pending_cell_count -= window.pending_cell_count
        return window

    def held(self) -> Held:
        """What is held speaks of these."""
        return held_by(self._open.values())

    def _boundary(self, at_ns: int) -> int:
        return -(-at_ns // self._settings.window_ns)
