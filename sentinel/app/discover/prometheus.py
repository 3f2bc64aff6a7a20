"""A Prometheus: what it has is asked of it by queries; what no query is written for, Sentinel can scrape itself, as far as it is reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from sentinel.app.discover.asking import (
    Asking,
    at_once,
    base_of,
    dict_of,
    list_of,
    not_found,
    text_of,
)
from sentinel.app.discover.findings import Entry, Finding, Outcome, name_for
from sentinel.app.discover.kong import kong_entries
from sentinel.app.discover.pages import PageOfMetrics, read_page, shown_url, target_entry
from sentinel.app.discover.queries import look_at_metrics_of
from sentinel.errors import MalformedInputError, SentinelError
from sentinel.runtime.http.client import checked_url

_TARGETS_MAX = 50
_NAMED_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """One endpoint of its list; `problem` is why it is not scraped from here."""

    job: str
    instance: str
    url: str
    page: PageOfMetrics | None = None
    problem: str = ""


async def look_at_prometheus(
    asking: Asking, url: str, *, asked: bool = True, interval_s: float | None = None
) -> Finding:
    """What a Prometheus scrapes, each target tried from here."""
    base = base_of(url)
    where = shown_url(base)
    try:
        info = await _data(asking, f"{base}/api/v1/status/buildinfo")
    except (SentinelError, OSError, TimeoutError) as error:
        return not_found("prometheus", where, error, asked=asked, name="a Prometheus")
    try:
        listed = await _data(asking, f"{base}/api/v1/targets?state=active")
    except (SentinelError, OSError, TimeoutError):
        # What only answers queries has none, and a list of thousands is larger than is read.
        listed = {}
    active = [dict_of(one) for one in list_of(listed.get("activeTargets"))]
    told = await look_at_metrics_of(
        asking, base, name="main", targets=active, interval_s=interval_s
    )
    targets = [one for one in _targets(active) if one.job not in told.jobs]
    looked = await at_once(targets[:_TARGETS_MAX], lambda one: _looked_at(asking, one))
    entries: list[Entry] = [] if told.entry is None else [told.entry]
    names: set[str] = set()
    watchers = [one for one in looked if one.page is not None and one.page.is_of_watcher]
    for one in looked:
        if one in watchers:
            continue
        found = _entries(one, names, is_queried=told.entry is not None)
        names.update(str(entry.values.get("name", "")) for entry in found)
        entries += found
    good_count = sum(not one.problem for one in looked)
    target_count = len({one.get("scrapeUrl") for one in active})
    sentence = (
        f"Prometheus {text_of(info.get('version'), 'of an unknown version')} with"
        f" {target_count} target{'' if target_count == 1 else 's'}"
    )
    if told.entry is None:
        sentence += f", {good_count} of them reached from here; {told.sentence}"
    else:
        others = f"; {good_count} of {len(targets)} others reached from here" if targets else ""
        sentence += f"; {told.sentence}{others}"
    advice = [f"Not taken: {one}" for one in told.said]
    if watchers:
        named = ", ".join(f"{one.job} at {one.instance}" for one in watchers[:_NAMED_MAX])
        more = f" and {len(watchers) - _NAMED_MAX} more" if len(watchers) > _NAMED_MAX else ""
        advice.append(
            f"Not scraped: {named}{more}: of what watches, and not of what is watched; name a page with --metrics to have it all the same."
        )
    if told.entry is None:
        advice.append(
            "No query is written: put one for the counter of calls that your services have under scrapers.prometheus_queries"
            " (docs/prometheus.md shows two); pages that Sentinel reads itself have no past."
        )
    if len(targets) > _TARGETS_MAX:
        advice.append(
            f"Only the first {_TARGETS_MAX} of its targets were looked at; name others with --metrics."
        )
    if told.entry is not None and good_count > len(watchers):
        advice.append(
            "Pages of other targets stand as comments: Sentinel would scrape them beside this Prometheus, and they have no past that a"
            " preview or a backfill could read. Take away the marks of those you want, or write queries for them."
        )
    if len(looked) > good_count:
        advice.append(
            "Targets that are not reached from here stand as comments: run sentinel discover where the sidecar runs."
        )
    is_good = told.entry is not None or bool(good_count) or not active
    return Finding(
        kind="prometheus",
        where=where,
        outcome=Outcome.FOUND if is_good else Outcome.LACKING,
        sentence=sentence,
        asked=asked,
        advice=tuple(advice),
        entries=tuple(entries),
    )


async def _data(asking: Asking, url: str) -> dict[str, object]:
    document = await asking.json(url)
    if document.get("status") != "success" or not isinstance(document.get("data"), dict):
        msg = "the answer is not one of Prometheus' API"
        raise MalformedInputError(msg)
    return dict_of(document["data"])


def _targets(listed: list[dict[str, object]]) -> list[_Target]:
    """Its targets, each address once, in the order of their names."""
    by_url: dict[str, _Target] = {}
    for one in listed:
        labels = dict_of(one.get("labels"))
        url = one.get("scrapeUrl")
        if isinstance(url, str) and url:
            job = text_of(labels.get("job"), "job")
            instance = text_of(labels.get("instance"), urlsplit(url).netloc)
            by_url.setdefault(url, _Target(job=job, instance=instance, url=url))
    return sorted(by_url.values(), key=lambda one: (one.job, one.instance, one.url))


async def _looked_at(asking: Asking, target: _Target) -> _Target:
    try:
        page = await read_page(asking, checked_url(target.url))
    except ValueError:
        # Its URL carries credentials, which are written nowhere.
        return _with(target, problem="its address carries credentials")
    except (SentinelError, OSError, TimeoutError) as error:
        seen = not_found("metrics", target.url, error, asked=True, name="a page of metrics")
        return _with(target, problem=seen.sentence)
    return _with(target, page=page)


def _with(target: _Target, *, page: PageOfMetrics | None = None, problem: str = "") -> _Target:
    return _Target(
        job=target.job, instance=target.instance, url=target.url, page=page, problem=problem
    )


def _entries(target: _Target, taken: set[str], *, is_queried: bool) -> list[Entry]:
    """What follows for the configuration from one target; a comment where the Prometheus is asked for others by queries."""
    name = name_for(target.job, taken)
    if target.page is None:
        comment = f"{target.job} at {target.instance} is not reached from here: {target.problem}."
        shown = quote(shown_url(target.url), safe=":/[]@%~.-_")
        return [
            target_entry(
                name, shown, service=name_for(target.job), comments=[comment], is_active=False
            )
        ]
    page = target.page
    if page.has("kong_"):
        found = kong_entries(target.url, page, name=name)
        return [replace(one, is_active=one.is_active and not is_queried) for one in found]
    whose = f" of {page.owner}" if page.owner else ""
    comments = [f"{target.job} at {target.instance}: {page.sample_count} samples{whose}."]
    if is_queried:
        comments.append("Scraped beside the queries it has no past; gauges open tickets.")
    return [
        target_entry(
            name,
            target.url,
            service=name_for(target.job),
            comments=comments,
            is_active=not is_queried,
        )
    ]
