"""A Kong: its Status API or its Admin API, and which groups of its prometheus plugin are switched on."""

from __future__ import annotations

from urllib.parse import urlsplit

from sentinel.app.discover.asking import Asking, base_of, dict_of, not_found
from sentinel.app.discover.findings import Entry, Finding, Outcome
from sentinel.app.discover.pages import PageOfMetrics, read_page, shown_url
from sentinel.errors import MalformedInputError, SentinelError

SECTION = ("scrapers", "kong")
_ADMIN_PORTS = (8001, 8444)
_SWITCHES = (
    ("kong_http_requests_total", "status_code_metrics", "traffic and errors"),
    ("kong_request_latency_ms", "latency_metrics", "latency"),
    ("kong_bandwidth_bytes", "bandwidth_metrics", "bytes"),
    ("kong_upstream_target_health", "upstream_health_metrics", "the health of upstreams"),
)
_OTHER_WAYS = (
    "Records of single calls: point its http-log plugin at http://127.0.0.1:9880/kong and set receivers.http_log.enabled.",
    "Spans: point its opentelemetry plugin at http://127.0.0.1:4318/v1/traces and set tracing_instrumentations;"
    " that is off by default, and samples 1 % by default.",
    "Each call as it ends, with who answered it: point its http-log plugin at http://127.0.0.1:9880/kong and set"
    " receivers.http_log.enabled to true.",
)


async def look_at_kong(asking: Asking, url: str, *, asked: bool = True) -> Finding:
    """A Kong by its Status API, or its Admin API."""
    base = base_of(url)
    where = shown_url(base)
    try:
        status = await asking.json(f"{base}/status")
        if not isinstance(status.get("server"), dict) or "memory" not in status:
            msg = "the answer is not one of Kong's status"
            raise MalformedInputError(msg)
    except (SentinelError, OSError, TimeoutError) as error:
        return not_found("kong", where, error, asked=asked, name="Kong's status")
    advice: list[str] = []
    if urlsplit(base).port in _ADMIN_PORTS:
        advice.append(
            "This is the Admin API, which can change Kong: prefer its Status API (status_listen, 127.0.0.1:8007)."
        )
    if dict_of(status.get("database")).get("reachable") is False:
        advice.append("Kong says that its database is not reachable.")
    try:
        page = await read_page(asking, f"{base}/metrics")
    except (SentinelError, OSError, TimeoutError) as error:
        seen = not_found("kong", where, error, asked=asked, name="Kong's prometheus plugin")
        return Finding(
            kind="kong",
            where=where,
            outcome=Outcome.LACKING,
            sentence=f"Kong, whose metrics cannot be read: {seen.sentence}",
            asked=asked,
            advice=(*advice, "Switch its prometheus plugin on."),
            entries=kong_entries(f"{base}/metrics", None, is_active=False),
        )
    missing = switches_off(page)
    advice += [
        f"Its prometheus plugin gives nothing of {what}: set {switch} to true, which is off by default, or there was no traffic yet."
        for switch, what in missing
    ]
    advice += _OTHER_WAYS
    return Finding(
        kind="kong",
        where=where,
        outcome=Outcome.LACKING if missing else Outcome.FOUND,
        sentence="Kong with its prometheus plugin"
        + (f", {len(missing)} of whose {len(_SWITCHES)} groups give nothing" if missing else ""),
        asked=asked,
        advice=tuple(advice),
        entries=kong_entries(f"{base}/metrics", page),
    )


def switches_off(page: PageOfMetrics) -> list[tuple[str, str]]:
    """The switches of the plugin whose metrics are not there, and what they would bring."""
    return [(switch, what) for metric, switch, what in _SWITCHES if not page.has(metric)]


def kong_entries(
    url: str, page: PageOfMetrics | None, *, name: str = "main", is_active: bool = True
) -> tuple[Entry, ...]:
    """The scraper's target."""
    comments = ["Kong's prometheus plugin."]
    if page is not None:
        comments = [f"Kong's prometheus plugin: {page.sample_count} samples."]
        comments += [
            f"{switch} is off or there was no traffic: nothing of {what}."
            for switch, what in switches_off(page)
        ]
    return (
        Entry(
            section=SECTION,
            values={"name": name, "url": url, "service": "kong"},
            comments=tuple(comments),
            is_own_service=False,
            is_active=is_active,
        ),
    )
