"""Log lines on stderr: one JSON object each, and never a flood of one event."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import orjson
from opentelemetry import trace
from opentelemetry.trace import Span

_LINES_PER_SECOND_MAX: Final = 5


class LineLimit:
    """At most a few lines a second of each event; what was held back is said on the next one."""

    def __init__(self) -> None:
        self._state: dict[str, tuple[int, int, int]] = {}  # second, lines in it, held back

    def allow(self, event: str, now_s: float) -> tuple[bool, int]:
        """Say whether a line may be written now, and how many were held back since the last."""
        second, count, held = self._state.get(event, (0, 0, 0))
        if second != int(now_s):
            second, count = int(now_s), 0
        if count >= _LINES_PER_SECOND_MAX:
            self._state[event] = (second, count, held + 1)
            return False, 0
        self._state[event] = (second, count + 1, 0)
        return True, held


class JsonLines(logging.Handler):
    """Writes the records of other libraries as JSON lines."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's first line."""
        message = record.getMessage().partition("\n")[0][:500]
        write_line(record.levelname, self._service, message, fields={"logger": record.name})


def write_line(
    level: str,
    service: str,
    message: str,
    *,
    event: str = "",
    span: Span | None = None,
    fields: Mapping[str, str | int | float],
) -> None:
    """Write one line, with the ids of the span it belongs to."""
    line: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "service": service,
        "event": event,
        "message": message,
        **fields,
    }
    context = span.get_span_context() if span is not None else None
    if context is not None and context.is_valid:
        line["trace_id"] = trace.format_trace_id(context.trace_id)
        line["span_id"] = trace.format_span_id(context.span_id)
    sys.stderr.write(orjson.dumps(line).decode() + "\n")
    sys.stderr.flush()
