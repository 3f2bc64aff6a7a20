"""What is allowed in queries and yet probably wrong; it is seen in their text alone, for the check of a configuration asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sentinel.core.model import Kind
from sentinel.errors import ConfigProblem
from sentinel.runtime.config.text import Origin
from sentinel.runtime.promql import QueryConfig, QueryServerConfig

_RANGE = re.compile(r"\[\s*((?:\d+(?:ms|s|m|h|d|w|y))+)\s*(?:\]|:)")
_PART = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_COUNTER = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*_(?:total|count|bucket)\b")
_GAINS = re.compile(r"\b(?:rate|irate|increase|delta|changes|resets|count|group|absent)\b")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*')


def query_warnings(
    servers: Sequence[QueryServerConfig], origins: Mapping[str, Origin], *, window_s: float
) -> list[ConfigProblem]:
    """One for each query that something is odd about."""
    found: list[ConfigProblem] = []
    for at, server in enumerate(servers):
        kinds = {query.rule(server.name).kind for query in server.queries}
        for number, query in enumerate(server.queries):
            path = f"scrapers.prometheus_queries[{at}].queries[{number}].query"
            origin = origins.get(path, Origin())
            found += [
                origin.problem(path, message) for message in _odd(query, kinds, window_s=window_s)
            ]
    return found


def _odd(query: QueryConfig, kinds: set[Kind], *, window_s: float) -> list[str]:
    said: list[str] = []
    kind = query.rule("").kind
    text = _QUOTED.sub('""', query.query)
    ranges = [_seconds(one) for one in _RANGE.findall(text)]
    if kind is not Kind.GAUGE and ranges and min(ranges) < window_s:
        said.append(
            f"query {query.shown_name} looks back {min(ranges):g} s and is asked every {window_s:g} s: what happens in between is"
            " never seen; make the range the interval and one scrape interval"
        )
    if kind not in (Kind.GAUGE, Kind.TRAFFIC) and not query.calls and Kind.TRAFFIC not in kinds:
        said.append(
            f"query {query.shown_name} says nothing of how many calls are behind its values, nor does a query of traffic beside it: a few"
            " failed calls cannot be told from many; give `calls`"
        )
    if not ranges and _COUNTER.search(text) and not _GAINS.search(text):
        said.append(
            f"query {query.shown_name} gives a counter as it stands, which climbs for ever: put rate() round it"
        )
    return said


def _seconds(text: str) -> float:
    """A duration as PromQL writes it.

    >>> _seconds("1m30s")
    90.0
    """
    return float(sum(int(count) * _UNITS_S[unit] for count, unit in _PART.findall(text)))
