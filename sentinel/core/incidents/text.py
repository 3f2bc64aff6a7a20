"""Text on a page: plain, bounded, and free of anything a terminal or a browser would act on."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta

from sentinel.core.model import SHARE_KINDS, Kind, SeriesKey, kind_of_signal

WEEK_BY_WEEK = "week by week"
"""What the clause of a series begins with that has drifted."""
_CUT = "…"
_SCORE_TOLD_MAX = 1000.0
_SHARE_TOLD_MIN = 0.000_05
_NOTHING_BELOW = 1e-30
"""What is smaller is a remainder of rounding, whatever it is measured in."""


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


def cut_middle(text: str, characters_max: int) -> str:
    """The text cut in its middle, for names that begin alike and differ at both ends.

    >>> cut_middle("ledger-edge edge GET /v1/accounts", 16)
    'ledger-e…ccounts'
    """
    if len(text) <= characters_max:
        return text
    kept = max(0, characters_max - 1)
    return text[: kept - kept // 2] + _CUT + text[len(text) - kept // 2 :]


def possible(value: float, signal: str) -> float:
    """What is expected of a signal, as a value that the signal can have; arithmetic may end a little below zero.

    >>> possible(-1.5e-41, "errors"), possible(-2.0, "balance")
    (0.0, -2.0)
    """
    impossible = value < 0.0 and kind_of_signal(signal) is not Kind.GAUGE
    return 0.0 if impossible or abs(value) < _NOTHING_BELOW else value


def quantity(value: float, key: SeriesKey) -> str:
    """A value with its unit.

    >>> quantity(0.085, SeriesKey("pay", "edge", "POST /x", "latency"))
    '85 ms'
    >>> quantity(0.523, SeriesKey("pay", "edge", "POST /x", "errors"))
    '52.3 %'
    >>> quantity(1.16e-10, SeriesKey("pay", "edge", "POST /x", "errors"))
    '0 %'
    """
    if math.isnan(value):
        return "unknown"
    kind = kind_of_signal(key.signal)
    value = possible(value, key.signal)
    if kind is Kind.TRAFFIC:
        return f"{_plain(_or_nothing(value, 1e-4))} calls/s"
    if kind in SHARE_KINDS:
        return f"{_plain(_or_nothing(value, _SHARE_TOLD_MIN) * 100)} %"
    if kind is Kind.LATENCY:
        value = _or_nothing(value, 1e-7)
        return f"{_plain(value * 1000)} ms" if abs(value) < 1.0 else f"{_plain(value)} s"
    return _plain(value)


def score_told(score: float) -> str:
    """A score for people; beyond a thousand times the cut its digits say nothing.

    >>> score_told(3.46), score_told(4.59e7)
    ('3.5', '>1000')
    """
    return f">{_SCORE_TOLD_MAX:.0f}" if score > _SCORE_TOLD_MAX else f"{score:.1f}"


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


def _or_nothing(value: float, least: float) -> float:
    return value if value >= least else 0.0


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
