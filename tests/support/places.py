"""Names of targets by when they are asked: a scenario counts on an answer before, or after, a window closes."""

from __future__ import annotations

from sentinel.runtime.polling.component import place_ns

_INTERVAL_NS = 10 * 10**9


def early_name(scraper: str) -> str:
    """A name that is asked two seconds after a window's beginning: while the one before is waited for to close."""
    return next(
        name
        for name in (f"target-{number}" for number in range(1000))
        if 1.8 <= place_ns(scraper, name, interval_ns=_INTERVAL_NS) / 1e9 <= 2.4
    )
