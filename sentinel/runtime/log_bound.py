"""A bound on log lines of one kind: a fault that repeats is said some times a minute, and how often it was not said.

A kind is a logger, a level and a sentence: what came from outside is in fields, so kinds are few. Only warnings and
errors are bounded; lines below are written once for something an operator did. A line that answers an operator, or
tells of what is lost for good, carries `ALWAYS_WRITTEN` and is not bounded: each tells of another thing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

LINES_MAX_PER_MINUTE = 10
KINDS_MAX = 500
_MINUTE_S = 60.0
MARK = "sentinel_always_written"
ALWAYS_WRITTEN = {MARK: True}
"""Among the `extra` of a record, it lets it through whatever was written before; it is not shown. Each handler has a bound
of its own, so the mark stays on the record."""


class LogBound(logging.Filter):
    """Lets the first lines of a kind through in each minute; the next one let through says how many were withheld.

    Args:
        on_withheld: told the level of each line that is not written.
        monotonic_s: the clock, for tests.
    """

    def __init__(
        self,
        *,
        on_withheld: Callable[[str], None] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._on_withheld = on_withheld
        self._monotonic_s = monotonic_s
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.__dict__.get(MARK, False) or record.levelno < logging.WARNING:
            return True
        with self._lock:
            is_written = self._take(record)
        if not is_written and self._on_withheld is not None:
            self._on_withheld(record.levelname.lower())
        return is_written

    def _take(self, record: logging.LogRecord) -> bool:
        kind = self._kind((record.name, record.levelno, str(record.msg)))
        now_s = self._monotonic_s()
        if now_s - kind.since_s >= _MINUTE_S:
            kind.since_s, kind.written_count = now_s, 0
        if kind.written_count >= LINES_MAX_PER_MINUTE:
            kind.withheld_count += 1
            return False
        kind.written_count += 1
        if kind.withheld_count:
            record.__dict__["lines_withheld"] = kind.withheld_count
            kind.withheld_count = 0
        return True

    def _kind(self, key: tuple[str, int, str]) -> _Kind:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                # A library that puts values into its sentences; the oldest is the least likely to come again.
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[key] = _Kind(self._monotonic_s())
        return kind


class _Kind:
    __slots__ = ("since_s", "withheld_count", "written_count")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.written_count = 0
        self.withheld_count = 0
