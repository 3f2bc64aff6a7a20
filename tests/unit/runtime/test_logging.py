"""Goal: a log record is one line that nothing in it can break, forge or make dangerous, and it holds no secret.

Method: hostile payloads as argument, field and exception text through both formatters into a stream, read back.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from sentinel.runtime.logging import (
    FIELD_CHARS_MAX,
    MESSAGE_CHARS_MAX,
    TRACE_CHARS_MAX,
    JsonFormatter,
    LogFormat,
    LoggingConfig,
    LogLevel,
    TextFormatter,
    configure_logging,
    escape,
    scrub,
)
from sentinel.runtime.settings import Secret

PAYLOADS = [
    "a\nb", "a\rb", "a\r\nb", "a\n2026-01-01T00:00:00Z ERROR forged", "\n" * 100, "a\x00b", "\x07",
    "\x08\x08\x08", "\x0b", "\x0c", "\x1b[31mred\x1b[0m", "\x1b[2J\x1b[H", "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\x", "\x1b[8m hidden", "\x1bP+q\x1b\\", "\x7f", "\x80", "\x85", "\x9b31m",
    "\x9d0;t\x9c", "\u2028", "\u2029", "\u202a", "\u202b", "\u202d", "\u202e txt.exe", "\u2066",
    "\u2067", "\u2068\u2069", "\u200b", "\u200e", "\u200f", "\u061c", "\ufeff", "\ud800", "\udfff",
    "\U000e0001", '","level":"error","x":"', 'x" level=ERROR y="', "\\n", "\\", "%s %d %(x)s", "é 漢 🙂",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("sentinel")
    before = (list(root.handlers), root.level, own.level, logging.raiseExceptions)
    # Nothing of an earlier test's logging: its bound on repeated lines would be taken over.
    root.handlers = [
        one
        for one in root.handlers
        if not isinstance(one.formatter, (JsonFormatter, TextFormatter))
    ]
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    logging.raiseExceptions = before[3]


def start(form: LogFormat, level: LogLevel = LogLevel.DEBUG) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logger = configure_logging(LoggingConfig(level=level, format=form), stream=stream)
    return logger.getChild("tests"), stream


def fail(error: Exception) -> None:
    raise error


def test_there_are_at_least_forty_payloads() -> None:
    assert len(set(PAYLOADS)) >= 40


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
@pytest.mark.parametrize("form", list(LogFormat))
def test_one_record_is_one_harmless_line(form: LogFormat, payload: str) -> None:
    logger, stream = start(form)
    try:
        fail(ValueError(payload))
    except ValueError:
        logger.exception("Something came: %s", payload, extra={"what": payload, payload: 1})
    text = stream.getvalue()
    assert text.endswith("\n")
    line = text[:-1]
    assert line.splitlines() == [line]
    assert line.isprintable()
    assert "\x1b" not in line


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_json_reads_back_as_it_was(payload: str) -> None:
    logger, stream = start(LogFormat.JSON)
    logger.warning(
        "Something came", extra={"what": payload, "count": 3, "share": 0.5, "none": None}
    )
    record = json.loads(stream.getvalue())
    assert record["what"] == scrub(payload)
    assert record["level"] == "warning"
    assert record["message"] == "Something came"
    assert record["logger"] == "sentinel.tests"
    assert (record["count"], record["share"], record["none"]) == (3, 0.5, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])


def test_text_is_time_level_sentence_fields() -> None:
    logger, stream = start(LogFormat.TEXT)
    logger.info(
        "Listening", extra={"address": "127.0.0.1:4318", "note": 'two "words"', "empty": ""}
    )
    _, _, rest = stream.getvalue().partition(" ")
    assert rest == (
        'INFO    Listening address=127.0.0.1:4318 note="two \\"words\\"" empty=""'
        " logger=sentinel.tests\n"
    )


def test_a_quoted_value_cannot_close_its_quotes() -> None:
    """A value ending in a backslash must not escape the closing quote."""
    logger, stream = start(LogFormat.TEXT)
    logger.info("Value", extra={"a": 'x\\" b="', "c": "d\\"})
    assert ' a="x\\\\\\" b=\\"" c="d\\\\" logger=' in stream.getvalue()


@pytest.mark.parametrize("form", list(LogFormat))
def test_secrets_never_show(form: LogFormat) -> None:
    logger, stream = start(form)
    secret = Secret("CANARY")
    url = "https://user:CANARY@host/path and nats://CANARY@h:4222 and http://a:b@CANARY@host"
    try:
        fail(OSError(url))
    except OSError:
        logger.exception(
            "Could not reach %s with %r", url, secret, extra={"url": url, "s": secret}
        )
    logger.info("A mapping", extra={"headers": {"authorization": secret}})
    assert "CANARY" not in stream.getvalue()
    assert "host/path" in stream.getvalue()


@pytest.mark.parametrize("form", list(LogFormat))
def test_what_telemetry_must_not_keep_is_not_logged_either(form: LogFormat) -> None:
    """Messages, fields and tracebacks go through the same redaction as log bodies."""
    logger, stream = start(form)
    card, token = "4111 1111 1111 1111", "Bearer abcdefghijklmnopqrstuvwxyz012345"
    try:
        fail(ValueError(f"refused {card}"))
    except ValueError:
        logger.exception("Card %s", card, extra={"body": f"pan={card}", "header": token})
    assert "4111 1111" not in stream.getvalue()
    assert "abcdefghijklmnop" not in stream.getvalue()


def test_userinfo_is_scrubbed_and_nothing_else() -> None:
    assert scrub("at http://u:p@h:1/x?a=b@c") == "at http://[USERINFO]@h:1/x?a=b@c"
    assert scrub("at http://h:1/x") == "at http://h:1/x"


@pytest.mark.parametrize("form", list(LogFormat))
def test_length_and_number_of_fields_are_bounded(form: LogFormat) -> None:
    logger, stream = start(form)
    fields: dict[str, object] = {f"f{i}": "v" * 10_000 for i in range(100)}
    try:
        fail(ValueError("x" * 1_000_000 + " the end"))
    except ValueError:
        logger.exception("m" * 100_000, extra=fields)
    line = stream.getvalue()
    assert len(line) < MESSAGE_CHARS_MAX + 32 * (FIELD_CHARS_MAX + 20) + TRACE_CHARS_MAX + 1_000
    assert "the end" in line
    assert "fields_left_out" in line


class Unshowable:
    """A value whose text raises."""

    def __str__(self) -> str:
        msg = "no"
        raise RuntimeError(msg)


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_bad_log_call_still_leaves_a_line(form: LogFormat) -> None:
    logger, stream = start(form)
    logger.info("Two %s %s", "one")  # the fault under test
    logger.info("A value", extra={"bad": Unshowable(), "nan": float("nan"), "big": 10**5000})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "its arguments do not fit" in lines[0]
    assert "cannot be shown" in lines[1]


def test_the_level_holds_and_a_second_call_replaces_the_first() -> None:
    _, first = start(LogFormat.TEXT)
    logger, second = start(LogFormat.JSON, LogLevel.WARNING)
    logger.info("Not written")
    logger.warning("Written")
    logging.getLogger("aiohttp.server").warning("A library's\nwarning")
    logging.getLogger("aiohttp.server").info("A library's chatter")
    assert first.getvalue() == ""
    messages = [json.loads(line)["message"] for line in second.getvalue().splitlines()]
    assert messages == ["Written", "A library's\nwarning"]


def test_escape_keeps_ordinary_text() -> None:
    assert escape("é 漢 🙂 a-b_c") == "é 漢 🙂 a-b_c"
