"""When a webhook is tried: at once, then after waits that grow to a day, each a little longer by chance.

The chance keeps thousands of webhooks that failed together from coming back together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

# Those that Standard Webhooks gives as an example: three days and a few hours in all.
WAITS_S: Final = (
    0.0,
    5.0,
    300.0,
    1800.0,
    7200.0,
    18_000.0,
    36_000.0,
    50_400.0,
    72_000.0,
    86_400.0,
)
RETRY_AFTER_MAX_S: Final = 86_400.0
_DIGITS_MAX: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The wait before each attempt, in seconds, and by which share of it chance may lengthen one."""

    waits_s: tuple[float, ...] = WAITS_S
    jitter_ratio: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a schedule without an attempt, or one that goes back in time."""
        if not self.waits_s or min(self.waits_s) < 0:
            message = "a schedule needs at least one wait, and none below 0 s"
            raise ValueError(message)
        if not 0 <= self.jitter_ratio <= 1:
            message = "jitter_ratio is a ratio from 0 to 1"
            raise ValueError(message)

    def next_wait_s(
        self, attempts_count: int, *, chance: float, retry_after_s: float | None = None
    ) -> float | None:
        """Return the wait before the next attempt, or None when there is no further one.

        Args:
            attempts_count: how many attempts there were, at least one.
            chance: a number from 0 to 1, drawn anew for each call.
            retry_after_s: what the receiver asked for; waiting is never shorter than that.

        >>> Schedule().next_wait_s(1, chance=0.5)
        5.5
        >>> Schedule().next_wait_s(2, chance=0.0, retry_after_s=600.0)
        600.0
        >>> Schedule().next_wait_s(10, chance=0.0) is None
        True
        """
        if attempts_count >= len(self.waits_s):
            return None
        wait_s = self.waits_s[attempts_count] * (1 + self.jitter_ratio * chance)
        return max(wait_s, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for, a day at most; None when it says nothing that can be read.

    Args:
        value: the header: seconds, or a date of HTTP.
        now_s: Unix seconds.

    >>> parse_retry_after("120", 0.0)
    120.0
    >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 15.0)
    45.0
    >>> parse_retry_after("soon", 0.0) is None
    True
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        if len(text) > _DIGITS_MAX:
            return RETRY_AFTER_MAX_S
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        when = parsedate_to_datetime(text)
        # A date of HTTP is of Greenwich, also where it does not say so.
        until_s = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(until_s - now_s, 0.0), RETRY_AFTER_MAX_S)
