"""The messages of a preview as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from sentinel.core.model import PageReason, Severity
from sentinel.pipeline.replay import ReplayedPage
from sentinel.runtime.config_text import printable

_SERIES_CHARACTERS_MIN = 10
_HEAD = f"{'start':20}  {'open min':>8}  {'score':>5}  {'value':>9}  {'expected':>9}  "
_OPENED_WORDS = {Severity.PAGE: "page", Severity.TICKET: "ticket"}


def table(pages: Sequence[ReplayedPage], *, columns: int | None) -> list[str]:
    """The lines of the table; none without a page.

    `columns` is the width to keep to, or None to cut no name.
    """
    if not pages:
        return []
    what_width = max(len(_what(page)) for page in pages)
    head = f"{_HEAD}{'what':{what_width}}  "
    room = None if columns is None else max(columns - len(head), _SERIES_CHARACTERS_MIN)
    return [f"{head}series", *(_row(page, what_width, room) for page in pages)]


def closing(pages: Sequence[ReplayedPage], *, shows_all: bool) -> str:
    """How many incidents there were, who would have been told, and what is left out of the table.

    >>> closing([], shows_all=False)
    'no incidents'
    """
    first = [page for page in pages if page.reason is PageReason.OPENED]
    if not first:
        return "no incidents"
    page_count = sum(page.severity is Severity.PAGE for page in first)
    worse_count = sum(page.reason is PageReason.WORSENED for page in pages)
    reminder_count = sum(page.is_reminder for page in pages)
    told = [
        _counted(count, noun)
        for count, noun in (
            (page_count, "page"),
            (len(first) - page_count, "ticket"),
            (worse_count, "escalation"),
        )
        if count
    ]
    sentence = f"{_counted(len(first), 'incident')} ({', '.join(told)})"
    if reminder_count:
        shown = "" if shows_all else ", not shown (--reminders)"
        sentence += f"; {_counted(reminder_count, 'reminder')}{shown};"
    return sentence


def direction_of(page: ReplayedPage) -> str:
    """Which way the value went."""
    return "up" if page.direction > 0 else "down"


def _row(page: ReplayedPage, what_width: int, room: int | None) -> str:
    start = datetime.fromtimestamp(page.start_s, tz=UTC)
    name = printable(page.series)
    if room is not None and len(name) > room:
        name = name[: room - 1] + "…"
    return (
        f"{start:%Y-%m-%dT%H:%M:%SZ}  {(page.end_s - page.start_s) / 60:8.0f}  {page.score:5.3g}  "
        f"{_number(page.value):>9}  {_number(page.expected):>9}  {_what(page):{what_width}}  {name}"
    )


def _what(page: ReplayedPage) -> str:
    if page.reason is PageReason.OPENED:
        return _OPENED_WORDS[page.severity]
    return page.reason.value


def _number(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
