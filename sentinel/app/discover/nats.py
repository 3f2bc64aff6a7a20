"""A NATS server by its monitoring port: whether it has JetStream, and which streams and consumers it holds."""

from __future__ import annotations

from urllib.parse import urlsplit

from sentinel.app.discover.asking import (
    Asking,
    base_of,
    dict_of,
    list_of,
    not_found,
    text_of,
)
from sentinel.app.discover.findings import Entry, Finding, Outcome
from sentinel.app.discover.pages import shown_url
from sentinel.errors import MalformedInputError, SentinelError

SECTION = ("scrapers", "nats")
_NAMES_SHOWN = 8


async def look_at_nats(asking: Asking, url: str, *, asked: bool = True) -> Finding:
    """A NATS server by its monitoring port."""
    base = base_of(url)
    where = shown_url(base)
    try:
        varz = await asking.json(f"{base}/varz")
        if "server_id" not in varz:
            msg = "the answer is not one of NATS' monitoring"
            raise MalformedInputError(msg)
        jsz = await asking.json(f"{base}/jsz?streams=true&consumers=true")
    except (SentinelError, OSError, TimeoutError) as error:
        return not_found("nats", where, error, asked=asked, name="the monitoring port of NATS")
    version = text_of(varz.get("version"), "of an unknown version")
    streams = [
        stream
        for account in map(dict_of, list_of(jsz.get("account_details")))
        for stream in list_of(account.get("stream_detail"))
        if isinstance(stream, dict)
    ]
    consumer_count = sum(len(list_of(one.get("consumer_detail"))) for one in streams)
    advice: list[str] = []
    if jsz.get("disabled") is True:
        sentence = f"NATS {version} without JetStream"
        advice.append("JetStream is off: there is no backlog to watch.")
    else:
        sentence = f"NATS {version} with {_counted(len(streams), 'stream')} and {_counted(consumer_count, 'consumer')}"
    cluster = text_of(dict_of(varz.get("cluster")).get("name"))
    if cluster:
        advice.append(
            f"It is one of the cluster {cluster}: name the monitoring ports of all its servers; what replicas hold is counted once."
        )
    comments = [f"{sentence}."]
    if streams:
        names = sorted(text_of(one.get("name"), "?") for one in streams)
        more = len(names) - _NAMES_SHOWN
        comments.append(
            f"Streams: {', '.join(names[:_NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''}."
        )
    return Finding(
        kind="nats",
        where=where,
        outcome=Outcome.FOUND,
        sentence=sentence,
        asked=asked,
        advice=tuple(advice),
        entries=(nats_entry(base, comments=comments, port=_client_port(varz), cluster=cluster),),
    )


def nats_entry(base: str, *, comments: list[str], port: int, cluster: str) -> Entry:
    """The scraper's target; servers of one cluster are one target."""
    host = urlsplit(base).hostname or "127.0.0.1"
    client = f"nats://{f'[{host}]' if ':' in host else host}:{port}"
    return Entry(
        section=SECTION,
        values={"name": "main", "service": "nats", "urls": [base]},
        comments=tuple(comments),
        remarks=(
            "Advisories (leaders, messages given up) come over a NATS connection:",
            f'advisories: {{urls: ["{client}"]}}',
        ),
        group=cluster,
    )


def _client_port(varz: dict[str, object]) -> int:
    port = varz.get("port")
    return port if isinstance(port, int) and 0 < port < 65536 else 4222


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
