"""Goal: a fault that repeats cannot fill the log, what was not written is counted, and nothing else is held back.

Method: records through the bound under a clock of the test's own, and through the configured logger into a stream.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from sentinel.runtime.log_bound import ALWAYS_WRITTEN, KINDS_MAX, LINES_MAX_PER_MINUTE, LogBound
from sentinel.runtime.logging import LogFormat, LoggingConfig, configure_logging


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def record(
    text: str = "A page could not be delivered", level: int = logging.WARNING
) -> logging.LogRecord:
    return logging.LogRecord("sentinel", level, __file__, 1, text, None, None)


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    own_level, raises = logging.getLogger("sentinel").level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("sentinel").setLevel(own_level)
    logging.raiseExceptions = raises


def test_the_first_lines_of_a_minute_are_written_and_the_next_says_what_was_not() -> None:
    clock, withheld = Clock(), list[str]()
    bound = LogBound(on_withheld=withheld.append, monotonic_s=clock)
    written = [bound.filter(record()) for _ in range(LINES_MAX_PER_MINUTE + 7)]
    assert written == [True] * LINES_MAX_PER_MINUTE + [False] * 7
    assert withheld == ["warning"] * 7
    clock.now_s += 60
    after = record()
    assert bound.filter(after)
    assert vars(after)["lines_withheld"] == 7
    again = record()
    assert bound.filter(again)
    assert "lines_withheld" not in vars(again)


def test_another_sentence_or_level_has_a_bound_of_its_own_and_info_has_none() -> None:
    bound = LogBound(monotonic_s=Clock())
    for _ in range(LINES_MAX_PER_MINUTE + 1):
        bound.filter(record())
    assert not bound.filter(record())
    assert bound.filter(record(level=logging.ERROR))
    assert bound.filter(record("Something else"))
    assert all(bound.filter(record(level=logging.INFO)) for _ in range(100))


def test_an_answer_and_a_loss_are_written_every_time_and_the_mark_is_not_shown() -> None:
    """The eleventh SIGHUP of a minute got no answer, and the eleventh page that was lost no line."""
    stream = io.StringIO()
    logger = configure_logging(LoggingConfig(format=LogFormat.JSON), stream=stream)
    for number in range(LINES_MAX_PER_MINUTE * 3):
        logger.error("Page was refused for good", extra={"page": number, **ALWAYS_WRITTEN})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["page"] for line in lines] == list(range(LINES_MAX_PER_MINUTE * 3))
    assert {key for line in lines for key in line} == {
        *("time", "level", "logger", "message", "page")
    }
    for number in range(LINES_MAX_PER_MINUTE + 1):
        logger.error("Page was refused for good", extra={"page": number})
    assert len(stream.getvalue().splitlines()) == LINES_MAX_PER_MINUTE * 4


def test_kinds_without_end_are_forgotten_oldest_first() -> None:
    bound = LogBound(monotonic_s=Clock())
    for number in range(KINDS_MAX * 3):
        assert bound.filter(record(f"value {number} in a sentence"))
    assert len(bound._kinds) == KINDS_MAX


def test_setting_the_level_again_keeps_the_bound_and_its_counter() -> None:
    """A reload sets logging up anew; were the bound new too, a flood would begin again with each."""
    stream, withheld = io.StringIO(), list[str]()
    config = LoggingConfig(format=LogFormat.TEXT)
    logger = configure_logging(config, stream=stream, on_withheld=withheld.append)
    for _ in range(LINES_MAX_PER_MINUTE):
        logger.error("The store does not answer")
    logger = configure_logging(config, stream=stream)
    logger.error("The store does not answer")
    assert withheld == ["error"]
    assert stream.getvalue().count("The store does not answer") == LINES_MAX_PER_MINUTE
