"""Log records to rates by severity, and which error lines are new."""

from __future__ import annotations

import re
from collections import Counter

from sentinel.core.model import OVERFLOW, LoggedCall, LogLine, LogRecord, Scope, SeriesKey
from sentinel.core.stats import log_linear

STAGE_LOGS = "logs"
ROUTE_OTHER = "other"
SEVERITY_ERROR = 17

_HOUR_NS = 3600 * 10**9
_SEEN_MAX = 4096
_LINES_MAX = 32
_CALLS_MAX = 50_000
_OVERFLOW_SCOPE = Scope(OVERFLOW, OVERFLOW, OVERFLOW)
_TEMPLATE_CHARS = 200
_VARYING = re.compile(r"[0-9a-fA-F]*\d[0-9a-fA-F]*|'[^']*'|\"[^\"]*\"")
_CLASSES = ("unset", "trace", "debug", "info", "warn", "error", "fatal")


def severity_class(severity: int) -> str:
    """The class of an OTLP severity number.

    >>> [severity_class(n) for n in (0, 1, 8, 9, 16, 17, 24)]
    ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal']
    """
    return _CLASSES[(severity + 3) // 4] if 0 < severity <= 24 else _CLASSES[0]


def log_key(record: LogRecord) -> SeriesKey:
    """The series that counts a record: by service, event and severity class."""
    signal = f"logs_{severity_class(record.severity)}"
    return SeriesKey(record.service, STAGE_LOGS, record.event or ROUTE_OTHER, signal)


def template_of(body: str) -> str:
    """What stays of a line when its numbers and quoted values are taken out.

    >>> template_of("transfer 8842 failed after 0.3 s: 'timeout'")
    'transfer * failed after *.* s: *'
    """
    return _VARYING.sub("*", body[:_TEMPLATE_CHARS])


class LogWindow:
    """The log records of one open window, and the calls that they tell of."""

    __slots__ = ("calls", "counts", "lines")

    def __init__(self) -> None:
        self.calls: Counter[LoggedCall] = Counter()
        self.counts: Counter[SeriesKey] = Counter()
        self.lines: list[LogLine] = []

    def note_call(self, call: LoggedCall) -> None:
        """Count a call; a window that holds too many different ones counts the others on the overflow's place."""
        if call not in self.calls and len(self.calls) >= _CALLS_MAX:
            call = LoggedCall(_OVERFLOW_SCOPE, log_linear.UNTIMED, call.error)
        self.calls[call] += 1


class NewLines:
    """Error lines whose template was not seen in the last hour; remembers at most `_SEEN_MAX` templates."""

    def __init__(self) -> None:
        self._seen_ns: dict[tuple[str, str, str], int] = {}

    def note(self, record: LogRecord, window: LogWindow) -> None:
        """Keep the record's line for the window's evidence when it is an error and new."""
        if record.severity < SEVERITY_ERROR:
            return
        template = (record.service, record.event, template_of(record.body))
        last_ns = self._seen_ns.pop(template, None)
        # Put back at the end: the dict is in order of last sight, so the first is the one to forget.
        self._seen_ns[template] = max(record.time_ns, last_ns or 0)
        if len(self._seen_ns) > _SEEN_MAX:
            del self._seen_ns[next(iter(self._seen_ns))]
        new = last_ns is None or record.time_ns - last_ns > _HOUR_NS
        if new and len(window.lines) < _LINES_MAX:
            window.lines.append(
                LogLine(
                    service=record.service,
                    time_ns=record.time_ns,
                    severity=record.severity,
                    event=record.event,
                    body=record.body,
                    trace_id=record.trace_id,
                )
            )

    def set_back(self, now_ns: int) -> None:
        """Take what was seen later than now for seen now, because the clock that said so was wrong."""
        for template, seen_ns in self._seen_ns.items():
            self._seen_ns[template] = min(seen_ns, now_ns)
