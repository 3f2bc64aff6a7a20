"""Logs for people and programs: one line an event, on standard error, that no input can break or forge.

A record is one capitalised sentence and its fields (`extra={...}`). Whatever came from outside is in fields, and
every character that could end the line, move the cursor or turn the reading direction is escaped. Secrets are
kept out twice: `Secret` shows `***`, and text is redacted before it is written, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

from sentinel.core.redact import redact
from sentinel.runtime.log_bound import MARK, LogBound
from sentinel.runtime.settings import setting

MESSAGE_CHARS_MAX = 2_000
FIELD_CHARS_MAX = 2_000
TRACE_CHARS_MAX = 8_000
FIELDS_MAX = 32
_ROOT = "sentinel"
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName"),
    MARK,
}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]+")
# Greedy up to the last `@` of the authority, because a password may hold one unescaped.
_USERINFO = re.compile(r"(?<=://)[^\s/?#\"'<>]*@")


class LogLevel(StrEnum):
    """The least that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """JSON for programs, text for people."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """What is logged to standard error, and how."""

    level: LogLevel = setting(LogLevel.INFO, help="The least severe level that is written.")
    format: LogFormat = setting(LogFormat.TEXT, help="One JSON object a line, or text for people.")


def configure_logging(
    config: LoggingConfig,
    *,
    stream: TextIO | None = None,
    on_withheld: Callable[[str], None] | None = None,
) -> logging.Logger:
    """Set up the logger everything of Sentinel logs below, and return it; a second call replaces the first.

    Libraries' own warnings and errors go the same way, so that they are escaped, redacted and bounded too.

    Args:
        config: level and format.
        stream: where to; standard error when not given.
        on_withheld: told the level of each line that is not written because its like was written often. A second
            call without it keeps that of the first, and what was counted.
    """
    root = logging.getLogger()
    bound: LogBound | None = None
    for old in list(root.handlers):
        if isinstance(old.formatter, (JsonFormatter, TextFormatter)):
            bound = next((one for one in old.filters if isinstance(one, LogBound)), bound)
            root.removeHandler(old)
    if bound is None or on_withheld is not None:
        bound = LogBound(on_withheld=on_withheld)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format is LogFormat.JSON else TextFormatter())
    handler.addFilter(bound)
    level = getattr(logging, config.level.value.upper())
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    logger = logging.getLogger(_ROOT)
    logger.setLevel(level)
    # A failing write, such as to a closed pipe, must not print a traceback of its own for every record.
    logging.raiseExceptions = False
    return logger


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: what JSON escapes cannot harm a terminal or split a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without a line end."""
        line: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        for key, value in fields_of(record).items():
            line.setdefault(key, value)
        return json.dumps(line, ensure_ascii=True, allow_nan=False)


class TextFormatter(logging.Formatter):
    """Time, level, sentence, then `key=value`; values with anything unusual are quoted and escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without a line end."""
        parts = [
            _time_of(record),
            f"{record.levelname:<7}",
            escape(message_of(record)),
            *(f"{escape(key)}={_text_value(one)}" for key, one in fields_of(record).items()),
            f"logger={escape(record.name)}",
        ]
        return " ".join(parts)


def escape(text: str) -> str:
    r"""The text on one line: control, bidirectional and other invisible characters as `\x..` or `\u....`.

    >>> escape("a\nb\u202e")
    'a\\nb\\u202e'
    """
    if text.isprintable():
        return text.replace("\\", "\\\\")
    return "".join(
        one.replace("\\", "\\\\")
        if one.isprintable()
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def scrub(text: str) -> str:
    """The text without credentials: user and password of URLs and everything `core.redact` knows."""
    return redact(_USERINFO.sub("[USERINFO]@", text))


def _time_of(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, tz=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(record: logging.LogRecord) -> str:
    """The sentence of a record, redacted and bounded."""
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001  # a log call with wrong arguments must not break its caller
        text = f"{record.msg} (its arguments do not fit: {type(error).__name__})"
    return _cut(scrub(text), MESSAGE_CHARS_MAX)


def fields_of(record: logging.LogRecord) -> dict[str, str | int | float | bool | None]:
    """What was given as `extra`, and the traceback; bounded in number and length."""
    fields = {
        key: _field_value(value)
        for key, value in list(vars(record).items())
        if key not in _OWN_ATTRIBUTES
    }
    if len(fields) > FIELDS_MAX:
        left_out = len(fields) - FIELDS_MAX
        fields = dict(list(fields.items())[:FIELDS_MAX])
        fields["fields_left_out"] = left_out
    if record.exc_info and record.exc_info[0] is not None:
        text = logging.Formatter().formatException(record.exc_info)
        fields["exception"] = scrub(_tail(text, TRACE_CHARS_MAX))
    return fields


def _field_value(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Decimal digits without a bound would raise, and take quadratic time before that.
        return int(value) if value.bit_length() <= 64 else _cut(hex(value), FIELD_CHARS_MAX)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  # a value that cannot show itself must not lose the record
        text = f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    return _cut(scrub(text), FIELD_CHARS_MAX)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _tail(text: str, limit: int) -> str:
    """The end of a traceback, which says what happened; its beginning only says where from.

    It begins after a gap, because half a secret may no longer look like one.
    """
    if len(text) <= limit:
        return text
    end = text[-limit:]
    gap = re.search(r"\s", end)
    return "…" + (end[gap.end() :] if gap else end)


def _text_value(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + escape(text).replace('"', '\\"') + '"'
