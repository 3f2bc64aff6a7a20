"""Log records into windows: counted one by one or as columns.

A record without an event is counted by the template of its text, see `templates`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import OVERFLOW, LogColumns, LogRecord, SeriesKey
from sentinel.core.series.live import OVERFLOW_POINTS, LiveNames
from sentinel.core.series.logs import ROUTE_OTHER, STAGE_LOGS, LogWindow, NewLines, log_key
from sentinel.core.series.templates import Templates


class LogCounts:
    """Counts log records into windows, and keeps what may be evidence."""

    def __init__(self, live: LiveNames, templates: Templates, *, takes_calls: bool) -> None:
        """Count by the names that are live, and by these templates.

        Args:
            live: names that have room, or not.
            templates: of records without an event.
            takes_calls: whether the calls that records tell of are counted.
        """
        self.templates = templates
        self._live = live
        self._takes_calls = takes_calls
        self._new_lines = NewLines()

    def add(self, record: LogRecord, window: LogWindow, now_ns: int) -> None:
        """Count one record."""
        if record.call is not None and self._takes_calls:
            window.note_call(record.call)
        route = self._route(record.service, record.event, record.gist, now_ns)
        self._count(window, log_key(record.service, route, record.severity), 1)
        self._new_lines.note(record, window, template="" if record.event else route)

    def add_columns(
        self, columns: LogColumns, rows: NDArray[np.bool_], window: LogWindow, now_ns: int
    ) -> None:
        """Count the records of these rows."""
        index, buckets = columns.kind_index[rows], columns.bucket[rows]
        order = np.argsort(index, kind="stable")
        buckets = buckets[order]
        counts = np.bincount(index, minlength=len(columns.kinds))
        end = 0
        for kind, count in zip(columns.kinds, counts.tolist(), strict=True):
            if not count:
                continue
            start, end = end, end + count
            route = self._route(kind.service, kind.event, kind.gist, now_ns)
            self._count(window, log_key(kind.service, route, kind.severity), count)
            if kind.place is not None and self._takes_calls:
                window.note_calls(kind.place, buckets[start:end], error=kind.error)

    def add_counted(
        self,
        service: str,
        text: str,
        signal: str,
        count: int,
        window: LogWindow,
        now_ns: int,
        *,
        is_gist: bool,
    ) -> None:
        """Count records that another process has counted by their event, or by the gist of their text."""
        event, gist = ("", text) if is_gist else (text, "")
        route = self._route(service, event, gist, now_ns)
        key = SeriesKey(service, STAGE_LOGS, route or ROUTE_OTHER, signal)
        self._count(window, OVERFLOW_POINTS if service == OVERFLOW else key, count)

    def note(self, record: LogRecord, window: LogWindow, now_ns: int) -> None:
        """Look at a record that columns count already."""
        template = "" if record.event else self._route(record.service, "", record.gist, now_ns)
        self._new_lines.note(record, window, template=template)

    def set_back(self, now_ns: int) -> None:
        """Take what was seen later than now for seen now, because the clock that said so was wrong."""
        self.templates.set_back(now_ns)
        self._new_lines.set_back(now_ns)

    def _route(self, service: str, event: str, gist: str, now_ns: int) -> str:
        return event or (self.templates.name_of(service, gist, now_ns) if gist else "")

    def _count(self, window: LogWindow, key: SeriesKey, count: int) -> None:
        # An open window must not hold more new names than can become series.
        if (
            key not in window.counts
            and self._live.gauges.find(key) is None
            and len(window.counts) >= self._live.room
        ):
            key = OVERFLOW_POINTS
        window.counts[key] += count
