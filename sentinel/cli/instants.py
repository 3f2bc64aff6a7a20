"""Instants and lengths of time as they are typed."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

SECOND_NS = 1_000_000_000
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def instant_ns(text: str) -> int:
    """An instant in ISO 8601, in UTC where it names no offset.

    >>> instant_ns("1970-01-01T00:01Z")
    60000000000
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is no time; write 2026-11-01T08:00Z"
        raise argparse.ArgumentTypeError(msg) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp()) * SECOND_NS


def span_s(text: str, *, units: str = "mhdw", example: str = "12h, 7d or 4w") -> int:
    """A length of time in seconds, with one of these units.

    >>> span_s("4w")
    2419200
    """
    match = re.fullmatch(r"([0-9]{1,4})([a-z])", text)
    if match is None or int(match[1]) == 0 or match[2] not in units:
        msg = f"{text!r} is no length of time; write {example}"
        raise argparse.ArgumentTypeError(msg)
    return int(match[1]) * _UNITS_S[match[2]]
