"""Telemetry that was turned away and has not come again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a sender was told to bring again, and has not yet.

    Attributes:
        signal: traces, metrics or logs.
        services: of which services it tells, where that is known; empty for any.
        since_ns: when it was turned away first.
    """

    signal: str
    services: frozenset[str] = frozenset()
    since_ns: int
