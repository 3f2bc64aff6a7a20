"""Text on a page: plain, bounded, and free of anything a terminal or a browser would act on."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta

from sentinel.core.model import Kind, SeriesKey, kind_of_signal

_CUT = "…"


def one_line(text: str, *, characters_max: int) -> str:
    r"""The text without control, format and separator characters, on one line, cut to a length.

    >>> one_line("a\x00b\x1b[31m\nc", characters_max=20)
    'a b [31m c'
    """
    cleaned = " ".join(_cleaned(text[: characters_max * 4]).split())
    return _cut(cleaned, characters_max)


def lines(text: str, *, characters_max: int) -> str:
    """As `one_line`, but line breaks stay."""
    kept = "\n".join(" ".join(_cleaned(line).split()) for line in text.split("\n"))
    return _cut(kept, characters_max)


def cut_bytes(text: str, size_bytes_max: int) -> str:
    """The text cut to so many bytes of UTF-8, between characters."""
    encoded = text.encode("utf-8")
    if len(encoded) <= size_bytes_max:
        return text
    kept = encoded[: max(0, size_bytes_max - len(_CUT.encode()))].decode("utf-8", "ignore")
    return kept + _CUT


def quantity(value: float, key: SeriesKey) -> str:
    """A value with its unit.

    >>> quantity(0.085, SeriesKey("pay", "edge", "POST /x", "latency"))
    '85 ms'
    >>> quantity(0.523, SeriesKey("pay", "edge", "POST /x", "errors"))
    '52.3 %'
    """
    if math.isnan(value):
        return "unknown"
    kind = kind_of_signal(key.signal)
    if kind is Kind.TRAFFIC:
        return f"{_plain(value)} calls/s"
    if kind is Kind.ERRORS:
        return f"{_plain(value * 100)} %"
    if kind is Kind.LATENCY:
        return f"{_plain(value * 1000)} ms" if abs(value) < 1.0 else f"{_plain(value)} s"
    return _plain(value)


def clock_time(
    at_ns: int, *, zone_name: str = "", zone_offsets: tuple[tuple[int, int], ...] = ()
) -> str:
    """An instant in UTC, and in the zone whose offsets are given.

    >>> clock_time(0, zone_name="Europe/Berlin", zone_offsets=((-1, 3600),))
    '1970-01-01 00:00:00 UTC (01:00:00 Europe/Berlin)'
    """
    instant = datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC)
    text = instant.strftime("%Y-%m-%d %H:%M:%S UTC")
    offsets = [offset_s for from_ns, offset_s in zone_offsets if from_ns <= at_ns]
    if not zone_name or not offsets:
        return text
    local = instant + timedelta(seconds=offsets[-1])
    return f"{text} ({local.strftime('%H:%M:%S')} {zone_name})"


def span(seconds: float) -> str:
    """A length of time, rounded for people.

    >>> span(20.0), span(5400.0)
    ('20 s', '1 h 30 min')
    """
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def _plain(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 1e6 or (0 < magnitude < 1e-4):
        return f"{value:.3g}"
    if magnitude >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cleaned(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    # Categories C* are control, format (which holds the bidirectional marks), surrogate, private and
    # unassigned; Zl and Zp are line breaks that some readers obey.
    return "".join(
        " "
        if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in {"Zl", "Zp"}
        else char
        for char in text
    )


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + _CUT
