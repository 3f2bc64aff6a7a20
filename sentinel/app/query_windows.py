"""Windows of a sidecar that is told by queries: as wide as the queries are asked, and open until their answers are there.

    series.window      set by nobody: the interval of the queries; set: it must be that interval, where that one is set too
    series.lateness    set by nobody: long enough for an answer; set: it must be longer than the lag

A rate over a minute has no value for each ten seconds of it; and what is asked half a minute after a window's end, so that samples
that come late are in it, comes too late for a window that is closed after five seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from sentinel.app.sections import to_ns
from sentinel.core.model import SeriesKey
from sentinel.core.normalise.promql.rules import QueryRule
from sentinel.errors import ConfigProblem
from sentinel.pipeline.ingest import IngestConfig
from sentinel.runtime.config.text import Origin
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.settings import Duration

_PATH = "scrapers.prometheus_queries"
ANSWER_S = 20.0
"""How long after the lag a window stays open for answers, where nobody says otherwise; a narrower one for its own width."""
ANSWER_MIN_S = 5.0
ROLLED_UP_S = 300.0


def with_query_windows(
    series: IngestConfig,
    servers: Sequence[QueryServerConfig],
    origins: dict[str, Origin],
) -> tuple[IngestConfig, list[ConfigProblem]]:
    """The section `series` as these queries need it, and what of it cannot be.

    Args:
        series: as it was read.
        servers: what is asked.
        origins: where each setting was written that is no default.
    """
    if not servers:
        return series, []
    problems: list[ConfigProblem] = []
    set_interval = {
        f"{_PATH}[{at}].interval": server.interval
        for at, server in enumerate(servers)
        if f"{_PATH}[{at}].interval" in origins
    }
    window, window_is_set = series.window, "series.window" in origins
    wanted = set_interval or {"": series.window if window_is_set else servers[0].interval}
    if not window_is_set:
        window = next(iter(wanted.values()))
    for path, interval in wanted.items():
        if to_ns(interval) != to_ns(window):
            message = (
                f"queries are asked every {interval:g} s and windows are {window:g} s wide:"
                " a sidecar has windows of one width, and each has one answer; make them the same"
            )
            problems.append(origins[path].problem(path, message))
    lag_s = max(server.lag for server in servers)
    lateness = series.lateness
    if "series.lateness" not in origins:
        # Who wants windows of ten seconds wants to know soon, and not twenty seconds after each.
        answer_s = min(ANSWER_S, max(ANSWER_MIN_S, window))
        lateness = max(lateness, Duration(lag_s + answer_s))
    elif lateness < lag_s + ANSWER_MIN_S:
        message = (
            f"windows are closed {lateness:g} s after their end, and queries are asked {lag_s:g} s after it"
            f" (lag): leave it out, or let it be {lag_s + ANSWER_MIN_S:g}s at least"
        )
        problems.append(origins["series.lateness"].problem("series.lateness", message))
    if to_ns(ROLLED_UP_S) % to_ns(window):
        path = "series.window" if window_is_set else next(iter(wanted))
        message = (
            f"windows of {window:g} s are never kept for longer: 5 minutes, what the past is kept as, are no multiple of"
            " that; make them 60s, 75s, 100s, 150s or 300s"
        )
        problems.append(
            origins.get(path, Origin()).problem(path or f"{_PATH}[0].interval", message)
        )
    if problems:
        return series, problems
    return dataclasses.replace(series, window=window, lateness=lateness), []


def may_be_measured(servers: Sequence[QueryServerConfig]) -> Callable[[SeriesKey], bool]:
    """Which series these queries may give, by the names that they fix."""
    rules: list[QueryRule] = [rule for server in servers for rule in server.rules()]

    def asked(key: SeriesKey) -> bool:
        return any(
            rule.signal == key.signal
            and all(
                not fixed or fixed == name
                for fixed, name in (
                    (rule.service, key.service),
                    (rule.stage, key.stage),
                    (rule.route, key.route),
                )
            )
            for rule in rules
        )

    return asked
