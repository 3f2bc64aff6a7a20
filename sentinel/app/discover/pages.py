"""What stands on a page of metrics, by reading a little of it: how much, and whose it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from sentinel.app.discover.asking import Asking, not_found
from sentinel.app.discover.findings import Entry, Finding, Outcome, name_for
from sentinel.errors import MalformedInputError, SentinelError

ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SECTION = ("scrapers", "prometheus")
_LINES_MAX = 200_000
_SAMPLE = re.compile(
    rb'(?:([a-zA-Z_:][a-zA-Z0-9_:]*)|\{"[^"\n]+")[^\n]*? (?:[+-]?[0-9.eE+-]+|NaN|[+-]?Inf)(?: |$)'
)
_WATCHERS = (
    ("prometheus_tsdb_", "Prometheus itself"),
    ("alertmanager_", "Alertmanager"),
    ("grafana_build_info", "Grafana"),
    ("loki_build_info", "Loki"),
    ("tempo_build_info", "Tempo"),
    ("thanos_build_info", "Thanos"),
    ("cortex_build_info", "Mimir or Cortex"),
    ("vm_app_version", "VictoriaMetrics"),
    ("sentinel_build_info", "Sentinel itself"),
)
"""By what a page is known to be of what watches others. A name that client libraries bring everywhere, such as `promhttp_`, says nothing."""
_OWNERS = (
    *_WATCHERS,
    ("kong_", "Kong"),
    ("gnatsd_", "NATS, through its exporter"),
    ("jetstream_", "NATS, through its exporter"),
    ("pg_", "PostgreSQL, through its exporter"),
    ("node_", "the machine, through node_exporter"),
    ("nginx_", "nginx"),
    ("sentinel_", "Sentinel itself"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOfMetrics:
    """A page, in short.

    Attributes:
        sample_count: how many samples it has.
        names: the names of its metrics.
        owner: whose it seems to be, or "".
        is_of_watcher: whether that watches others.
    """

    sample_count: int
    names: frozenset[str]
    owner: str
    is_of_watcher: bool = False

    def has(self, prefix: str) -> bool:
        """Whether a name begins so."""
        return any(name.startswith(prefix) for name in self.names)


async def read_page(asking: Asking, url: str) -> PageOfMetrics:
    """The page at an address.

    Raises:
        SentinelError: it cannot be had, or is not one of metrics.
    """
    fetched = await asking.get(url, ACCEPT)
    return summarise(fetched.body)


def summarise(body: bytes) -> PageOfMetrics:
    r"""The page in short; MalformedInputError when it is not one of metrics.

    >>> summarise(b'# TYPE kong_nginx_timers gauge\nkong_nginx_timers{state="running"} 2\n').owner
    'Kong'
    """
    names: set[str] = set()
    sample_count = strange_count = 0
    for line in body.split(b"\n", _LINES_MAX)[:_LINES_MAX]:
        if not line.strip() or line.startswith(b"#"):
            continue
        found = _SAMPLE.match(line.rstrip(b"\r"))
        if found is None:
            strange_count += 1
            continue
        sample_count += 1
        if found[1]:
            names.add(found[1].decode("ascii"))
    if strange_count > sample_count or (not sample_count and b"# EOF" not in body):
        msg = "the page is not one of metrics"
        raise MalformedInputError(msg)
    owner = next(
        (who for prefix, who in _OWNERS if any(name.startswith(prefix) for name in names)), ""
    )
    return PageOfMetrics(
        sample_count=sample_count,
        names=frozenset(names),
        owner=owner,
        is_of_watcher=owner in {who for _, who in _WATCHERS},
    )


async def look_at_metrics(
    asking: Asking, url: str, *, asked: bool = True, taken: Collection[str] = ()
) -> Finding:
    """A page of metrics that a person named, or that stands where one often does."""
    where = shown_url(url)
    try:
        page = await read_page(asking, url)
    except (SentinelError, OSError, TimeoutError) as error:
        return not_found("metrics", where, error, asked=asked, name="a page of metrics")
    whose = f" of {page.owner}" if page.owner else ""
    parts = urlsplit(url)
    name = name_for(page.owner.split(",")[0] or f"{parts.hostname}-{parts.port or 80}", taken)
    return Finding(
        kind="metrics",
        where=where,
        outcome=Outcome.FOUND,
        sentence=f"{page.sample_count} samples{whose}",
        asked=asked,
        entries=(
            target_entry(
                name, url, service=name, comments=[f"{page.sample_count} samples{whose}."]
            ),
        ),
    )


def target_entry(
    name: str, url: str, *, service: str, comments: Sequence[str], is_active: bool = True
) -> Entry:
    """A target of the Prometheus scraper."""
    return Entry(
        section=SECTION,
        values={"name": name, "url": url, "service": service},
        comments=tuple(comments),
        is_own_service=False,
        is_active=is_active,
    )


def shown_url(url: str) -> str:
    """The address without user, password and query.

    >>> shown_url("http://me:word@127.0.0.1:9100/metrics?key=1")
    'http://127.0.0.1:9100/metrics'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
