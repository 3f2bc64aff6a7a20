"""The messages of a preview as a table for people, and what each series would have told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from sentinel.cli.preview.clock import ShownClock
from sentinel.core.incidents.text import cut_middle, score_told
from sentinel.core.model import IncidentKind, PageReason, Severity
from sentinel.pipeline.replay.rows import ReplayedPage, ReplayedStop
from sentinel.runtime.printable import printable

_SERIES_CHARACTERS_MIN = 10
_SUMMARY_ROWS_MAX = 20
_NAMES_MAX = 40
_NOTHING_RATIO = 1e-6
"""What is smaller than this beside its neighbour is a remainder of arithmetic."""
_HEAD = ("min", "score", "value", "expected", "what")
_LEFT_ALIGNED = (0, 5)
_OPENED_WORDS = {Severity.PAGE: "page", Severity.TICKET: "ticket"}


def table(
    pages: Sequence[ReplayedPage], *, columns: int | None, clock: ShownClock | None = None
) -> list[str]:
    """The lines of the table; none without a page.

    `columns` is the width to keep to, or None to cut no name; `clock` is the one that instants are shown by, or None for UTC.
    """
    if not pages:
        return []
    clock = clock or ShownClock()
    rows = [(clock.head, *_HEAD), *(_cells(page, clock) for page in pages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return with_names(
        [joined_cells(row, widths) for row in rows],
        [printable(page.series) for page in pages],
        columns,
    )


def summary(
    pages: Sequence[ReplayedPage], *, days: Mapping[str, float], columns: int | None
) -> list[str]:
    """How often each series would have told of something, the busiest first; none when none would have.

    Args:
        pages: all messages of the replay.
        days: how long each series that was judged is; a source that was blind or late is none of them, and took as long as
            the longest.
        columns: the width to keep to, or None to cut no name.
    """
    told: dict[str, Counter[Severity]] = {}
    for page in pages:
        if page.reason is PageReason.OPENED:
            told.setdefault(page.series, Counter())[page.severity] += 1
    ranked = sorted(told, key=lambda name: (-told[name][Severity.PAGE], -told[name].total(), name))
    longest = max(days.values(), default=0.0)
    lines = [
        named_beside(_told(told[name], days.get(name, longest)), printable(name), columns)
        for name in ranked[:_SUMMARY_ROWS_MAX]
    ]
    left_out = len(ranked) - _SUMMARY_ROWS_MAX
    if left_out > 0:
        lines.append(f"and {left_out} more series")
    return lines


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


def direction_of(page: ReplayedPage | ReplayedStop) -> str:
    """Which way the value went."""
    return "up" if page.direction > 0 else "down"


def _cells(page: ReplayedPage, clock: ShownClock) -> tuple[str, ...]:
    return (
        clock.minute(page.start_s),
        f"{(page.end_s - page.start_s) / 60:.0f}",
        "-" if math.isnan(page.score) else score_told(page.score),
        number_told(page.value, beside=page.expected),
        number_told(page.expected, beside=page.value),
        _what(page),
    )


def joined_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A row of a table of six columns; the first and the last are words."""
    return "  ".join(
        f"{cell:<{width}}" if at in _LEFT_ALIGNED else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def with_names(texts: Sequence[str], names: Sequence[str], columns: int | None) -> list[str]:
    """The lines of a table whose last column is a series' name; the first text is the head.

    Where the width would cut names, routes of one service can look alike: then each has a number, and stands whole below.
    """
    room = None if columns is None else max(columns - len(texts[0]) - 2, _SERIES_CHARACTERS_MIN)
    lines = [f"{texts[0]}  series"]
    if room is None or max(map(len, names)) <= room:
        return lines + [f"{text}  {name}" for text, name in zip(texts[1:], names, strict=True)]
    number = {name: at for at, name in enumerate(dict.fromkeys(names), start=1)}
    if len(number) == 1:
        return lines + [named_beside(text, names[0], columns) for text in texts[1:]]
    for text, name in zip(texts[1:], names, strict=True):
        mark = f"[{number[name]}] "
        lines.append(f"{text}  {mark}{cut_middle(name, max(room - len(mark), 1))}")
    lines += ["", *(f"[{at}] {name}" for name, at in list(number.items())[:_NAMES_MAX])]
    if len(number) > _NAMES_MAX:
        lines.append(f"and {len(number) - _NAMES_MAX} more series; -o ndjson has all names")
    return lines


def named_beside(text: str, name: str, columns: int | None) -> str:
    """A name behind its figures, cut in its middle where the width asks for it: names of one file begin alike."""
    if columns is not None:
        name = cut_middle(name, max(columns - len(text) - 2, _SERIES_CHARACTERS_MIN))
    return f"{text}  {name}"


def _told(counts: Counter[Severity], days: float) -> str:
    told = f"{_counted(counts[Severity.PAGE], 'page')}"
    if counts[Severity.TICKET]:
        told += f" and {_counted(counts[Severity.TICKET], 'ticket')}"
    return f"{told} in {days:.3g} days:"


def _what(page: ReplayedPage) -> str:
    opened = page.reason is PageReason.OPENED
    what = _OPENED_WORDS[page.severity] if opened else page.reason.value
    if page.kind is not IncidentKind.ANOMALY:
        return f"{what}, {page.kind.value}"
    return f"{what}, {page.horizon_s // 60} min" if page.horizon_s else what


def number_told(number: float, *, beside: float) -> str:
    """A number to three digits; a remainder of arithmetic beside its neighbour is 0, what is unknown or without end "-".

    >>> number_told(0.114, beside=-math.inf), number_told(-math.inf, beside=0.114), number_told(1e-9, beside=0.114)
    ('0.114', '-', '0')
    """
    if not math.isfinite(number):
        return "-"
    # A neighbour that is not a number compares with nothing, and beside one without end everything is small.
    is_nothing = math.isfinite(beside) and abs(number) < _NOTHING_RATIO * abs(beside)
    return "0" if is_nothing else f"{number:.3g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
