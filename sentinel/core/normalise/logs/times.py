"""The time of a log line, in the shapes that loggers write it.

RFC 3339 and what is near it (a space for the `T`, a comma for the point, no zone), numbers of seconds, milliseconds,
microseconds or nanoseconds since 1970 told apart by their size, and the times of access logs, nginx, klog and syslog.

A time without a zone is read by the wall clock that the source is configured with. Lines come in order, so the second
that a line begins with is nearly always known from the line before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sentinel.core.normalise.logs.severity import severity_of_word

LocalToUtc = Callable[[datetime], int]
"""Unix seconds of a wall clock's time, given without a zone."""

SECOND_NS = 1_000_000_000

_POWERS = tuple(int(10 ** (9 - size)) for size in range(10))
_SECONDS_MAX = 2048
_PREFIX_CHARS = 19
_LIKE_CHARS_MAX = 40
_INT64_MAX = (1 << 63) - 10**9
_FRACTION = re.compile(r"[.,](\d{1,9})(?!\d)", re.ASCII)
_NUMBER_CHARS_MAX = 32
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)", re.ASCII)
_SLASHED = re.compile(r"(\d{4})/(\d\d)/(\d\d)[T ](\d\d):(\d\d):(\d\d)", re.ASCII)
_REST = re.compile(
    r"(?:[.,](\d{1,9})\d*)?(?: ?(?:(Z|z|UTC|GMT)|([+-])(\d\d):?(\d\d)?|([A-Z]{2,5})(?![A-Za-z])))?",
    re.ASCII,
)
_ACCESS = re.compile(
    r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII
)
_KLOG = re.compile(r"(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})", re.ASCII)
_DECIMAL = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
# Zones that log lines name by letters and that mean one offset everywhere; others are read by the configured clock.
_KNOWN_ZONES_S = {"CET": 3600, "CEST": 7200, "EET": 7200, "EEST": 10800, "WET": 0, "WEST": 3600}


def utc_clock(local: datetime) -> int:
    """The wall clock of sources that write UTC without saying so."""
    return int(local.replace(tzinfo=UTC).timestamp())


class LogTimes:
    """Reads times; holds a bounded cache of seconds, so one is kept for the life of a source."""

    def __init__(self, to_utc: LocalToUtc = utc_clock) -> None:
        self._to_utc = to_utc
        self._seconds: dict[str, int] = {}
        self._local: dict[str, int] = {}

    def of(self, value: object) -> int | None:
        """Nanoseconds since 1970 of a value of JSON, or None when it is no time.

        >>> LogTimes().of("2026-11-22T06:35:37.123Z") == LogTimes().of(1795329337.123)
        True
        >>> LogTimes().of("2026-11-22 06:35:37,123") == LogTimes().of(1795329337123)
        True
        """
        if type(value) is str:
            return self.of_text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return of_number(value)
        if type(value) is dict:
            return _of_parts(cast("dict[str, object]", value))
        return None

    def of_all(self, values: Sequence[object]) -> NDArray[np.int64]:
        """As `of`, for the values of many lines; 0 for one that is no time."""
        found = self._of_like(values)
        if found is None:
            found = np.array([within_int64(self.of(value) or 0) for value in values], np.int64)
        return found

    def of_text(self, text: str) -> int | None:
        """As `of`, for a text that is a time and nothing else."""
        # The shape nearly all loggers write, and a second that was met before.
        second_ns = self._seconds.get(text[:_PREFIX_CHARS])
        if second_ns is not None and text[-1] == "Z" and text[_PREFIX_CHARS] == ".":
            digits = text[_PREFIX_CHARS + 1 : -1]
            if len(digits) <= 9 and digits.isascii() and digits.isdigit():
                return second_ns + int(digits) * _POWERS[len(digits)]
        found = self.at_start(text)
        if found is not None:
            return found[0] if found[1] == len(text) else None
        if len(text) <= _NUMBER_CHARS_MAX and _DECIMAL.fullmatch(text):
            return of_number(float(text) if "." in text else int(text))
        access = _ACCESS.fullmatch(text)
        return None if access is None else _of_access(access)

    def _of_like(self, values: Sequence[object]) -> NDArray[np.int64] | None:
        """The times of texts that are of one length, and have a fraction of the second at one place; None when they do not.

        One after the other, most texts differ in the fraction alone: what is equal is read once.
        """
        first = values[0]
        if type(first) is not str or not _PREFIX_CHARS + 1 < len(first) <= _LIKE_CHARS_MAX:
            return None
        fraction = _FRACTION.match(first, _PREFIX_CHARS)
        try:
            text = "".join(values)  # type: ignore[arg-type]
        except TypeError:
            return None
        if fraction is None or not text.isascii() or set(map(len, values)) != {len(first)}:  # type: ignore[arg-type]
            return None
        digits_at, digits_end = fraction.span(1)
        table = np.frombuffer(text.encode(), np.uint8).reshape(len(values), len(first))
        digits = table[:, digits_at:digits_end] - ord("0")
        if (digits > 9).any():
            return None
        moved = table[1:] != table[:-1]
        moved[:, digits_at:digits_end] = False
        starts = [0, *((moved.any(axis=1).nonzero()[0] + 1).tolist())]
        seconds: list[int] = []
        for at in starts:
            found = self.at_start(cast("str", values[at]))
            if found is None or found[1] != len(first):
                return None
            nanos = int(cast("str", values[at])[digits_at:digits_end].ljust(9, "0"))
            seconds.append(within_int64(found[0] - nanos))
        powers = 10 ** np.arange(8, 8 - digits.shape[1], -1, dtype=np.int64)
        whole: NDArray[np.int64] = np.repeat(
            np.array(seconds, np.int64), np.diff([*starts, len(values)])
        )
        whole += digits @ powers
        return whole

    def at_start(self, text: str) -> tuple[int, int] | None:
        """The time that a line begins with, and where it ends; None when it begins with none."""
        match = _DATE.match(text) or _SLASHED.match(text)
        if match is None:
            return None
        rest = _REST.match(text, match.end())
        assert rest is not None, "every part of it may be absent"
        fraction, utc, sign, hours, minutes, letters = rest.groups()
        end = rest.end()
        offset_s: int | None = None
        if utc:
            offset_s = 0
        elif sign:
            offset_s = (int(hours) * 3600 + int(minutes or 0) * 60) * (1 if sign == "+" else -1)
        elif letters and severity_of_word(letters):
            end = rest.start(6) - 1  # `INFO` right after the time is no zone
        elif letters:
            offset_s = _KNOWN_ZONES_S.get(letters)
        second_ns = self._second_ns(match.group(), match.groups(), offset_s)
        if second_ns is None:
            return None
        return second_ns + (int(fraction.ljust(9, "0")) if fraction else 0), end

    def of_access_log(self, text: str) -> int | None:
        """The time of the common log format: `22/Nov/2026:06:35:37 +0000`."""
        second_ns = self._seconds.get(text)
        if second_ns is None:
            match = _ACCESS.fullmatch(text)
            second_ns = None if match is None else _of_access(match)
            if second_ns is not None:
                self._remember(self._seconds, text, second_ns)
        return second_ns

    def of_klog(self, text: str, *, now_ns: int) -> int | None:
        """The time of klog, `1122 06:35:37.123456`, which has no year: the one that is nearest to now."""
        match = _KLOG.fullmatch(text)
        if match is None:
            return None
        month, day, hour, minute, second, micros = (int(part) for part in match.groups())
        now_year = datetime.fromtimestamp(now_ns // SECOND_NS, UTC).year
        candidates = []
        for year in (now_year - 1, now_year, now_year + 1):
            try:
                at_s = self._to_utc(datetime(year, month, day, hour, minute, second))  # noqa: DTZ001  # a wall clock's
            except (ValueError, OverflowError):
                continue
            candidates.append(at_s * SECOND_NS + micros * 1000)
        return min(candidates, key=lambda at_ns: abs(at_ns - now_ns), default=None)

    def _second_ns(self, prefix: str, parts: tuple[str, ...], offset_s: int | None) -> int | None:
        known = self._local if offset_s is None else self._seconds
        second_ns = known.get(prefix)
        if second_ns is None:
            try:
                local = datetime(*(int(part) for part in parts))  # type: ignore[arg-type]  # noqa: DTZ001
                second_s = self._to_utc(local) if offset_s is None else utc_clock(local)
            except (ValueError, OverflowError):
                return None
            second_ns = second_s * SECOND_NS
            self._remember(known, prefix, second_ns)
        return second_ns - (offset_s or 0) * SECOND_NS

    @staticmethod
    def _remember(known: dict[str, int], prefix: str, second_ns: int) -> None:
        if len(known) >= _SECONDS_MAX:
            known.clear()
        known[prefix] = second_ns


def within_int64(time_ns: int) -> int:
    """The time, or the first or last that is held in columns: a year that no log line is of."""
    return min(max(time_ns, -_INT64_MAX), _INT64_MAX)


def of_number(value: float) -> int | None:
    """Nanoseconds since 1970 of a number of seconds, milliseconds, microseconds or nanoseconds since then.

    Which of them is told by its size: each unit is taken for the years 1973 to 5138.

    >>> of_number(1795329337) == of_number(1795329337000) == of_number(1795329337000000) == of_number(1795329337 * 10**9)
    True
    """
    if not 1e8 <= value < 1e20:
        return None
    for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3)):
        if value < limit:
            # A float holds some 16 digits: what is beyond microseconds in it is noise.
            return value * scale if type(value) is int else round(value * (scale // 1000)) * 1000
    return int(value)


def _of_parts(value: dict[str, object]) -> int | None:
    """Seconds and nanoseconds apart, as Google's and log4j's loggers write them."""
    for second_key, nano_key in (("seconds", "nanos"), ("epochSecond", "nanoOfSecond")):
        seconds, nanos = value.get(second_key), value.get(nano_key, 0)
        if type(seconds) is str and seconds.isascii() and seconds.isdigit() and len(seconds) < 12:
            seconds = int(seconds)
        if type(seconds) is int and type(nanos) is int and 0 <= seconds < 10**11:
            return seconds * SECOND_NS + min(max(nanos, 0), SECOND_NS - 1)
    return None


def _of_access(match: re.Match[str]) -> int | None:
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    if month not in _MONTHS:
        return None
    try:
        local = datetime(  # noqa: DTZ001  # its offset is applied below
            int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second)
        )
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        return utc_clock(local - offset if sign == "+" else local + offset) * SECOND_NS
    except (ValueError, OverflowError):
        return None
