"""What a user may set of servers with Prometheus' query API, and of the queries they are asked.

One form for what is asked again and again while the sidecar runs and for what is asked of the past, so that both tell of the
same series in the same way.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sentinel.core.normalise.promql.rules import (
    ROUTE_LABELS,
    SERIES_COUNT_MAX,
    SERVICE_LABELS,
    STAGE_LABELS,
    WITHOUT_LABELS,
    QueryRule,
)
from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.settings import Duration, setting

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}\Z")
_TENANT = re.compile(r"[!-~]{0,256}\Z")
_INTERVAL_MIN_S, _INTERVAL_MAX_S = 1.0, 300.0
_LAG_MAX_S = 3600.0
_GAP_MAX_S = 86_400.0
_PARALLEL_MAX = 16
_QUERY_CHARS_MAX = 16_384
_LABEL_CHARS_MAX = 160
_SERIES_MAX = 100_000
_QUERIES_MAX = 1000
_REPLICAS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryConfig:
    """One query, and what its series are called."""

    name: str = setting(
        "", help="Its name in messages and metrics; empty for its signal. Unique.", restart=True
    )
    signal: str = setting(
        "",
        help="What its values are: `traffic` (calls a second), `errors` (share of calls that failed, 0 to 1), `latency` (95th percentile in seconds), or a gauge's name.",
        restart=True,
    )
    query: str = setting(
        "",
        help="PromQL that gives a value for each series at an instant, such as a rate over the minutes before.",
        restart=True,
    )
    calls: str = setting(
        "",
        help="PromQL of calls a second behind each value, by the same labels; without it, errors and latency go by the traffic query that gives the same place.",
        restart=True,
    )
    service: str = setting(
        "", help="Whose series they are; empty to go by `service_labels`.", restart=True
    )
    service_labels: tuple[str, ...] = setting(
        SERVICE_LABELS,
        help="Labels that name a series' service; the first that is there counts, else the server's name.",
        restart=True,
    )
    stage: str = setting(
        "",
        help="Stage they are at; empty to go by `stage_labels`, else `edge`, of gauges `metrics`.",
        restart=True,
    )
    stage_labels: tuple[str, ...] = setting(
        STAGE_LABELS, help="Labels that name its stage.", restart=True
    )
    route: str = setting("", help="Their route; empty to go by labels.", restart=True)
    route_labels: tuple[str, ...] = setting(
        ROUTE_LABELS,
        help="Labels whose values begin its route; the others follow as `name=value`.",
        restart=True,
    )
    without_labels: tuple[str, ...] = setting(
        WITHOUT_LABELS, help="Labels that are left out of the route.", restart=True
    )
    scale: float = setting(
        1.0,
        help="What values are multiplied by: 0.001 for milliseconds, 0.01 for percent.",
        restart=True,
    )
    series_max: int = setting(
        SERIES_COUNT_MAX,
        help="Most series of an answer; what is over is left out and counted.",
        restart=True,
    )

    absent_is_zero: bool = setting(
        default=False,
        help="A series that an answer leaves out counts nothing: of shares at a place that has calls, of amounts at one that had a value within a"
        " day. Else nothing is known of it.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if not self.signal or len(self.signal) > _LABEL_CHARS_MAX or not self.signal.isprintable():
            msg = f"a query must have a signal of at most {_LABEL_CHARS_MAX} printable characters"
            raise ValueError(msg)
        if not self.query.strip():
            msg = "a query must have PromQL in `query`"
            raise ValueError(msg)
        if max(len(self.query), len(self.calls)) > _QUERY_CHARS_MAX:
            msg = f"query and calls must have at most {_QUERY_CHARS_MAX} characters"
            raise ValueError(msg)
        if self.name and not _NAME.match(self.name):
            msg = "a query's name has lower-case letters, digits, -, . and _, at most 63"
            raise ValueError(msg)
        for text in (self.service, self.stage, self.route):
            if len(text) > _LABEL_CHARS_MAX or not text.isprintable():
                msg = f"service, stage and route must have at most {_LABEL_CHARS_MAX} printable characters"
                raise ValueError(msg)
        if not math.isfinite(self.scale) or self.scale == 0:
            msg = "scale must be a number other than 0"
            raise ValueError(msg)
        if not 0 < self.series_max <= _SERIES_MAX:
            msg = f"series_max must be above 0 and at most {_SERIES_MAX}"
            raise ValueError(msg)

    @property
    def shown_name(self) -> str:
        """Its name, or its signal where it has none."""
        return self.name or self.signal

    def rule(self, server: str) -> QueryRule:
        """The same for the core; `server` is the service of series that nothing else names one for."""
        return QueryRule(
            name=self.shown_name,
            signal=self.signal,
            query=self.query,
            calls=self.calls,
            service=self.service,
            stage=self.stage,
            route=self.route,
            default_service=server,
            service_labels=self.service_labels,
            stage_labels=self.stage_labels,
            route_labels=self.route_labels,
            without_labels=self.without_labels,
            scale=self.scale,
            series_count_max=self.series_max,
            absent_is_zero=self.absent_is_zero,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryServerConfig:
    """One server and what it is asked."""

    name: str = setting(
        "", help="Name of the server in metrics, logs and health; unique.", restart=True
    )
    url: str = setting(
        "",
        help="Where its API is, such as http://127.0.0.1:9090; with its prefix, where it has one.",
        restart=True,
    )
    replica_urls: tuple[str, ...] = setting(
        (),
        help="Where the same data is besides, such as the other Prometheus of a pair: asked while `url` does not answer.",
        restart=True,
    )
    interval: Duration = setting(
        Duration(60.0),
        help="How often each query is asked, which is how wide windows are: `series.window` follows it where it is not set, and must be the same"
        " where it is. 5 minutes are a multiple of it.",
        restart=True,
    )
    lag: Duration = setting(
        Duration(30.0),
        help="How long after its end a window is asked for, so that samples that come late are in it; `series.lateness` is longer.",
        restart=True,
    )
    gap_max: Duration = setting(
        Duration(86_400.0),
        help="How far back is asked for what was missed, while the server or Sentinel was away: it is learned from, and never paged for. At most 1d; 0s for not at all.",
        restart=True,
    )
    tenant: str = setting(
        "",
        help="Sent as `X-Scope-OrgID`, which Mimir, Cortex and Thanos know tenants by.",
        restart=True,
    )
    parallel: int = setting(4, help="Most requests at once.", restart=True)
    queries: tuple[QueryConfig, ...] = setting(
        (), help="What is asked, each with a name of its own.", restart=True
    )
    client: ClientConfig = setting(
        ClientConfig(timeout=Duration(30.0)),
        help="Credentials, TLS and time limits.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a server must have a name of lower-case letters, digits, -, . and _, at most 63"
            raise ValueError(msg)
        if not self.url:
            msg = "a server must have a url"
            raise ValueError(msg)
        for url in (self.url, *self.replica_urls):
            checked_url(url)
        if len(self.replica_urls) > _REPLICAS_MAX:
            msg = f"a server may have at most {_REPLICAS_MAX} replica_urls"
            raise ValueError(msg)
        if any("?" in url for url in (self.url, *self.replica_urls)):
            msg = "the url of a server must end before the question mark"
            raise ValueError(msg)
        if not _INTERVAL_MIN_S <= self.interval <= _INTERVAL_MAX_S:
            msg = "interval must be between 1s and 5m"
            raise ValueError(msg)
        if not 0 <= self.lag <= _LAG_MAX_S:
            msg = "lag must be at most 1h"
            raise ValueError(msg)
        if not 0 <= self.gap_max <= _GAP_MAX_S:
            msg = "gap_max must be at most 1d"
            raise ValueError(msg)
        if not _TENANT.match(self.tenant):
            msg = "tenant must have at most 256 printable characters without blanks"
            raise ValueError(msg)
        if not 0 < self.parallel <= _PARALLEL_MAX:
            msg = f"parallel must be above 0 and at most {_PARALLEL_MAX}"
            raise ValueError(msg)
        if len(self.queries) > _QUERIES_MAX:
            msg = f"a server may have at most {_QUERIES_MAX} queries"
            raise ValueError(msg)
        names = [query.shown_name for query in self.queries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"queries must have different names: {', '.join(twice)} is there twice"
            raise ValueError(msg)

    def rules(self) -> tuple[QueryRule, ...]:
        """Its queries for the core."""
        return tuple(query.rule(self.name) for query in self.queries)
