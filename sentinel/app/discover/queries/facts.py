"""What is asked of a Prometheus to know its metrics: which there are, their labels, how many series, how often they are scraped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from sentinel.app.discover.asking import Asking, at_once, dict_of, list_of
from sentinel.app.discover.queries.shapes import OF_WATCHERS, SUFFIXES, recognised
from sentinel.errors import InputError, RefusedError, SentinelError

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_OF_SCRAPES = re.compile(r"up|ALERTS.*|scrape_.*")
"""What every Prometheus has besides what it was given."""
_METRICS_MAX = 60
_INTERVAL_USUAL_S = 15.0
_INTERVAL_MAX_S = 3600.0
"""What is scraped less often is not told of by any window; and a server may say anything."""
_OVER_S = 600
_DAYS_ASKED = (28, 14, 7, 2, 1)
_INTERVALS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """One metric.

    Attributes:
        name: as in PromQL.
        jobs: the scrape jobs that have it.
        labels: the labels its series have.
    """

    name: str
    jobs: frozenset[str]
    labels: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of its metrics.

    Attributes:
        metrics: those that are recognised, by name.
        interval_s: how often each job is scraped.
        other_count: metrics that are not recognised, those of a histogram as one.
        of_watchers: recognised ones of what watches others, which are not taken.
        left_out: recognised ones beyond the bound.
        history_days: it has data that is at least so old; 0 for less than a day.
    """

    metrics: Mapping[str, MetricFacts]
    interval_s: Mapping[str, float]
    other_count: int
    of_watchers: tuple[str, ...]
    left_out: tuple[str, ...]
    history_days: int

    def interval_of(self, jobs: frozenset[str]) -> float:
        """The longest scrape interval of some jobs, in seconds."""
        return max((self.interval_s.get(job, _INTERVAL_USUAL_S) for job in jobs), default=15.0)


class Questions:
    """Asks one server's API; each answer is bounded by what asks."""

    def __init__(self, asking: Asking, base: str) -> None:
        self._asking = asking
        self._base = base

    async def vector(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series a query gives now; none when the server does not take it."""
        url = f"{self._base}/api/v1/query?{urlencode({'query': query})}"
        try:
            document = await self._asking.json(url)
        except (RefusedError, InputError):
            return []
        found: list[tuple[dict[str, str], float]] = []
        for one in map(dict_of, list_of(dict_of(document.get("data")).get("result"))):
            value = one.get("value")
            if not isinstance(value, list) or len(value) != 2:
                continue
            try:
                number = float(value[1])
            except (TypeError, ValueError):
                continue
            labels = dict_of(one.get("metric"))
            texts = {name: text for name, text in labels.items() if isinstance(text, str)}
            found.append((texts, number))
        return found

    async def number(self, query: str) -> float | None:
        """The one number that a query gives, or None."""
        found = await self.vector(query)
        return found[0][1] if len(found) == 1 else None

    async def labels_of(self, metric: str) -> frozenset[str]:
        """The labels that a metric's series have, without its name; those that PromQL takes without quotes."""
        url = f"{self._base}/api/v1/labels?match[]={quote(metric)}"
        try:
            listed = list_of((await self._asking.json(url)).get("data"))
        except (RefusedError, InputError):
            return frozenset()
        return frozenset(
            one
            for one in listed
            if isinstance(one, str) and _NAME.match(one) and not one.startswith("__")
        )

    async def metric_names(self) -> list[str]:
        """The names of metrics but those that every Prometheus has; none when there are more than are read."""
        try:
            document = await self._asking.json(f"{self._base}/api/v1/label/__name__/values")
        except (SentinelError, TimeoutError):
            return []
        return [
            name
            for name in list_of(document.get("data"))
            if isinstance(name, str) and not _OF_SCRAPES.fullmatch(name)
        ]

    async def intervals(self, targets: Sequence[Mapping[str, object]]) -> dict[str, float]:
        """How often each job is scraped: as its targets say, else as often as it was in the last minutes."""
        found: dict[str, float] = {}
        for target in targets:
            job = dict_of(target.get("labels")).get("job")
            seconds = _duration_s(target.get("scrapeInterval"))
            if isinstance(job, str) and 0 < seconds <= _INTERVAL_MAX_S:
                found[job] = max(found.get(job, 0.0), seconds)
        query = f"min by (job) (count_over_time(up[{_OVER_S}s]))"
        for labels, count in await self.vector(query):
            if (job := labels.get("job")) and job not in found and count > 1:
                seen_s = _OVER_S / count
                found[job] = float(min(_INTERVALS_S, key=lambda one: abs(one - seen_s)))
        return found

    async def history_days(self) -> int:
        """Of how many days ago it has anything of what it scrapes; the longest of those that were asked for."""
        for days in _DAYS_ASKED:
            if await self.number(f"count(up offset {days}d)"):
                return days
        return 0


async def facts_of(
    asking: Asking, base: str, targets: Sequence[Mapping[str, object]]
) -> ServerFacts:
    """What a server says; raises what the first question raised that it did not answer."""
    questions = Questions(asking, base)
    by_job = await questions.vector(f'count by (__name__, job) ({{__name__=~"{recognised()}"}})')
    jobs: dict[str, set[str]] = {}
    watchers: set[str] = set()
    for labels, _ in by_job:
        name = labels.get("__name__", "")
        # Names from outside stand in queries and in comments: those that PromQL takes without quotes, and no others.
        if not _NAME.match(name):
            continue
        if OF_WATCHERS.fullmatch(name):
            watchers.add(name)
        else:
            jobs.setdefault(name, set()).add(labels.get("job", ""))
    names = sorted(jobs)
    taken = names[:_METRICS_MAX]
    listed = await at_once(taken, questions.labels_of)
    known = {_family(name) for name in (*names, *watchers)}
    others = {_family(name) for name in await questions.metric_names()} - known
    return ServerFacts(
        metrics={
            name: MetricFacts(name=name, jobs=frozenset(jobs[name]), labels=labels)
            for name, labels in zip(taken, listed, strict=True)
        },
        interval_s=await questions.intervals(targets),
        other_count=sum(not OF_WATCHERS.fullmatch(name) for name in others),
        of_watchers=tuple(sorted(watchers)),
        left_out=tuple(names[_METRICS_MAX:]),
        history_days=await questions.history_days(),
    )


def _family(name: str) -> str:
    """What the series of a histogram or a summary have in common.

    >>> _family("http_request_duration_seconds_bucket"), _family("http_requests_total")
    ('http_request_duration_seconds', 'http_requests_total')
    """
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _duration_s(text: object) -> float:
    """Seconds of a duration as Prometheus writes it; 0 for what is none.

    >>> _duration_s("15s"), _duration_s("1m30s"), _duration_s("500ms"), _duration_s(7)
    (15.0, 90.0, 0.5, 0.0)
    """
    if not isinstance(text, str):
        return 0.0
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    parts = re.findall(r"(\d+)(ms|s|m|h|d)", text)
    return sum(float(count) * units[unit] for count, unit in parts)
