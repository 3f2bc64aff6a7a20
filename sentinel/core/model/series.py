"""What a series is called: service, stage and route say where, signal says what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

OVERFLOW = "__overflow__"
"""Label value of the series that takes what the cap on series would have dropped."""

SIGNAL_TRAFFIC = "traffic"
SIGNAL_ERRORS = "errors"
SIGNAL_LATENCY = "latency"
SIGNAL_SLOW = "slow_calls"


class Kind(IntEnum):
    """How a series is judged; stored as a small integer column.

    TRAFFIC is calls a second; ERRORS the share of calls that failed (0-1); LATENCY seconds at the
    95th percentile; GAUGE any other number, as it is; SLOW the share of calls (0-1) that took longer than the slowest
    hundredth usually does at this hour.
    """

    TRAFFIC = 0
    ERRORS = 1
    LATENCY = 2
    GAUGE = 3
    SLOW = 4


SHARE_KINDS = (Kind.ERRORS, Kind.SLOW)
"""Kinds whose value is a share of the calls that are its weight."""


class Scope(NamedTuple):
    """A place in a pipeline: one route (endpoint or operation) of one stage of one service."""

    service: str
    stage: str
    route: str


class SeriesKey(NamedTuple):
    """The identity of a series; `signal` is traffic, errors, latency or a gauge's name."""

    service: str
    stage: str
    route: str
    signal: str

    @property
    def scope(self) -> Scope:
        """The place this series is measured at."""
        return Scope(self.service, self.stage, self.route)

    def __str__(self) -> str:
        return f"{self.service} {self.stage} {self.route} {self.signal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPattern:
    """The series that all four patterns match; `*`, `?` and `[...]` as in a shell.

    A name with brackets, such as `GET /items/[id]`, is also matched by itself; as a pattern alone it would match others and not itself.
    """

    service: str = "*"
    stage: str = "*"
    route: str = "*"
    signal: str = "*"

    def matches(self, key: SeriesKey) -> bool:
        """Whether the pattern is about the series.

        >>> SeriesPattern(route="GET /*", signal="errors").matches(SeriesKey("pay", "edge", "GET /x", "errors"))
        True
        """
        patterns = (self.service, self.stage, self.route, self.signal)
        return all(name_matches(*pair) for pair in zip(key, patterns, strict=True))


def name_matches(name: str, pattern: str) -> bool:
    """Whether a pattern is a name, or matches it as in a shell.

    >>> name_matches("GET /items/[id]", "GET /items/[id]"), name_matches("GET /items/i", "GET /items/[id]")
    (True, True)
    """
    return name == pattern or fnmatchcase(name, pattern)


def kind_of_signal(signal: str) -> Kind:
    """The kind a signal has unless configuration says otherwise.

    >>> kind_of_signal("errors").name
    'ERRORS'
    >>> kind_of_signal("consumer_pending").name
    'GAUGE'
    """
    if signal == SIGNAL_TRAFFIC:
        return Kind.TRAFFIC
    if signal == SIGNAL_ERRORS:
        return Kind.ERRORS
    if signal == SIGNAL_LATENCY:
        return Kind.LATENCY
    if signal == SIGNAL_SLOW:
        return Kind.SLOW
    return Kind.GAUGE
