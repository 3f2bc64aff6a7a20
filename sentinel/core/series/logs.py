"""Rates of log records by severity and event, and which of their lines are evidence.

Of errors two things are kept: lines whose like was not seen in the last hour, and the newest lines of each event, a few of
each.
"""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import OVERFLOW, LoggedCall, LogLine, LogRecord, Scope, SeriesKey
from sentinel.core.redact.varying import without_what_varies
from sentinel.core.stats import log_linear

STAGE_LOGS = "logs"
ROUTE_OTHER = "other"
SEVERITY_ERROR = 17

_HOUR_NS = 3600 * 10**9
_SEEN_MAX = 4096
_LINES_MAX = 32
_NEWEST_EVENTS_MAX = 64
_NEWEST_LINES_MAX = 2
_CALLS_MAX = 50_000
_ROWS_MAX = 500_000
_OVERFLOW_SCOPE = Scope(OVERFLOW, OVERFLOW, OVERFLOW)
_CLASSES = ("unset", "trace", "debug", "info", "warn", "error", "fatal")


def severity_class(severity: int) -> str:
    """The class of an OTLP severity number.

    >>> [severity_class(n) for n in (0, 1, 8, 9, 16, 17, 24)]
    ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal']
    """
    return _CLASSES[(severity + 3) // 4] if 0 < severity <= 24 else _CLASSES[0]


def log_key(service: str, route: str, severity: int) -> SeriesKey:
    """The series that counts records: by service, event or template, and severity class."""
    return SeriesKey(service, STAGE_LOGS, route or ROUTE_OTHER, f"logs_{severity_class(severity)}")


class LogWindow:
    """The log records of one open window, and the calls that they tell of."""

    __slots__ = ("_calls", "_columns", "_row_count", "counts", "lines", "newest")

    def __init__(self) -> None:
        self._calls: Counter[LoggedCall] = Counter()
        self._columns: dict[tuple[Scope, bool], list[NDArray[np.int16]]] = {}
        self._row_count = 0
        self.counts: Counter[SeriesKey] = Counter()
        self.lines: list[LogLine] = []
        self.newest: dict[tuple[str, str], deque[LogLine]] = {}

    @property
    def calls(self) -> Counter[LoggedCall]:
        """The calls that its records tell of, counted."""
        columns, self._columns, self._row_count = self._columns, {}, 0
        for (scope, error), parts in columns.items():
            buckets, counts = np.unique(np.concatenate(parts), return_counts=True)
            for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
                self.note_call(LoggedCall(scope, bucket, error), count)
        return self._calls

    def note_call(self, call: LoggedCall, count: int = 1) -> None:
        """Count a call; a window that holds too many different ones counts the others on the overflow's place."""
        if call not in self._calls and len(self._calls) >= _CALLS_MAX:
            call = LoggedCall(_OVERFLOW_SCOPE, log_linear.UNTIMED, call.error)
        self._calls[call] += count

    def note_calls(self, scope: Scope, buckets: NDArray[np.int16], *, error: bool) -> None:
        """Count the calls of one place and outcome, by the buckets of their durations."""
        if (scope, error) not in self._columns and len(self._columns) >= _CALLS_MAX:
            scope = _OVERFLOW_SCOPE
            buckets = np.full(len(buckets), log_linear.UNTIMED, np.int16)
        self._columns.setdefault((scope, error), []).append(buckets)
        self._row_count += len(buckets)
        if self._row_count >= _ROWS_MAX:
            _ = self.calls  # counted, they take no room by their number

    def evidence(self) -> tuple[LogLine, ...]:
        """The new lines and the newest of each event, in order of time."""
        found = dict.fromkeys(self.lines)
        found.update(dict.fromkeys(line for lines in self.newest.values() for line in lines))
        return tuple(sorted(found, key=lambda line: line.time_ns))


class NewLines:
    """Which error lines are new: their like was not seen in the last hour; remembers at most `_SEEN_MAX` likes."""

    def __init__(self) -> None:
        self._seen_ns: dict[tuple[str, str, str], int] = {}

    def note(self, record: LogRecord, window: LogWindow, *, template: str = "") -> None:
        """Keep the record's line for the window's evidence when it is an error, and new or among the newest."""
        if record.severity < SEVERITY_ERROR:
            return
        like = (record.service, record.event, without_what_varies(record.body))
        last_ns = self._seen_ns.pop(like, None)
        # Put back at the end: the dict is in order of last sight, so the first is the one to forget.
        self._seen_ns[like] = max(record.time_ns, last_ns or 0)
        if len(self._seen_ns) > _SEEN_MAX:
            del self._seen_ns[next(iter(self._seen_ns))]
        is_new = last_ns is None or record.time_ns - last_ns > _HOUR_NS
        line = LogLine(
            service=record.service,
            time_ns=record.time_ns,
            severity=record.severity,
            event=record.event,
            body=record.body,
            trace_id=record.trace_id,
            template=template,
            is_new=is_new,
        )
        if is_new:
            if len(window.lines) < _LINES_MAX:
                window.lines.append(line)
            return
        newest = window.newest.get((line.service, line.about))
        if newest is None:
            if len(window.newest) >= _NEWEST_EVENTS_MAX:
                return
            newest = window.newest[line.service, line.about] = deque(maxlen=_NEWEST_LINES_MAX)
        newest.append(line)

    def set_back(self, now_ns: int) -> None:
        """Take what was seen later than now for seen now, because the clock that said so was wrong."""
        for like, seen_ns in self._seen_ns.items():
            self._seen_ns[like] = min(seen_ns, now_ns)
