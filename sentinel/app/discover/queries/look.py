"""The look at a Prometheus' metrics: what is recognised, whether its places are few enough, and the queries that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentinel.app.discover.asking import Asking, at_once
from sentinel.app.discover.findings import Entry, Nested
from sentinel.app.discover.queries.compose import (
    CallPlan,
    Query,
    lag_of,
    plans_of,
    queries_of_calls,
    queries_of_gauges,
    window_of,
)
from sentinel.app.discover.queries.facts import Questions, ServerFacts, facts_of

SECTION = ("scrapers", "prometheus_queries")
_PLACES_MAX = 200
_NAMED_MAX = 5
_SERVICE_LABELS = ("service_name", "service", "job")
_ROUTE_LABELS = ("route",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOf:
    """What came of it.

    Attributes:
        entry: of the configuration, or None where nothing is recognised.
        sentence: what was found, in a clause.
        said: what was not taken, and why.
        jobs: scrape jobs that the queries tell of.
    """

    entry: Entry | None
    sentence: str
    said: tuple[str, ...]
    jobs: frozenset[str]


async def look_at_metrics_of(
    asking: Asking,
    base: str,
    *,
    name: str,
    targets: Sequence[Mapping[str, object]],
    interval_s: float | None = None,
) -> MetricsOf:
    """The queries for a Prometheus, asked every `interval_s` where a person wishes so; raises as `facts_of`."""
    facts = await facts_of(asking, base, targets)
    questions = Questions(asking, base)
    window_s = window_of(facts, wished_s=interval_s)
    plans, said = plans_of(facts)
    bounded = await at_once(plans, lambda plan: _bounded(plan, questions))
    queries: list[Query] = []
    for plan, why in bounded:
        said += why
        queries += queries_of_calls(plan, facts, window_s=window_s)
    queries += queries_of_gauges(facts, window_s=window_s)
    queries = _named_once(queries)
    said += _left_out(facts)
    if interval_s is not None and window_s != interval_s:
        said.append(
            f"Windows of {interval_s:g} s: some of its jobs are scraped less often, so that they are of {window_s:g} s."
        )
    jobs = frozenset(
        job
        for plan, _ in bounded
        for one in (plan.counter, plan.histogram)
        if one is not None
        for job in one.jobs
    ) | frozenset(
        job
        for query in queries
        for metric in facts.metrics.values()
        if metric.name in query.query
        for job in metric.jobs
    )
    if not queries:
        return MetricsOf(
            entry=None,
            sentence="no metrics of calls, queues or databases that are recognised",
            said=tuple(said),
            jobs=frozenset(),
        )
    values: dict[str, object] = {"name": name, "url": base}
    if window_s != 60.0:
        values["interval"] = f"{window_s:g}s"
    if (lag_s := lag_of(window_s)) is not None:
        values["lag"] = f"{lag_s:g}s"
    values["queries"] = [_nested(query) for query in queries]
    history = (
        f"data of at least {facts.history_days} day{'s' if facts.history_days > 1 else ''}"
        if facts.history_days
        else "data of less than a day"
    )
    comments = [
        f"Asked once every {window_s:g} s for the window that is over; it has {history}.",
        "Each query gives a value a series; `sentinel check ready` says how many, and what is wrong.",
    ]
    return MetricsOf(
        entry=Entry(
            section=SECTION,
            values=values,
            comments=tuple(comments),
            remarks=tuple(f"Not taken: {one}" for one in said),
            is_own_service=False,
        ),
        sentence=f"{len(queries)} queries over {len(jobs)} of its jobs, {history}",
        said=tuple(said),
        jobs=jobs,
    )


async def _bounded(plan: CallPlan, questions: Questions) -> tuple[CallPlan, list[str]]:
    """The plan with as many labels as make no more places than a person could look at."""
    said: list[str] = []
    route = plan.route
    while route:
        by = ", ".join(dict.fromkeys(one for one in (plan.service, *route) if one))
        count = await questions.number(f"count(count by ({by}) ({plan.counter.name}))")
        if count is None or count <= _PLACES_MAX:
            break
        said.append(
            f"{plan.counter.name} has {count:.0f} series by {by}, more than {_PLACES_MAX}: they are not told apart by {route[-1]}."
        )
        route = route[:-1]
    return replace(plan, route=route), said


def _left_out(facts: ServerFacts) -> list[str]:
    said: list[str] = []
    if facts.of_watchers:
        named = ", ".join(facts.of_watchers[:_NAMED_MAX])
        said.append(f"{named}: of what watches, and not of what is watched.")
    if facts.left_out:
        said.append(
            f"{len(facts.left_out)} more that are recognised, such as {facts.left_out[0]}: too many for one look."
        )
    if facts.other_count:
        said.append(
            f"{facts.other_count} other metrics have no name that says that they are of calls, queues or databases; write a query of"
            " your own for what users feel."
        )
    return said


def _named_once(queries: Sequence[Query]) -> list[Query]:
    """Each with a name that no other has."""
    taken: set[str] = set()
    found: list[Query] = []
    for query in queries:
        name, number = query.name[:58], 2
        while name in taken:
            name, number = f"{query.name[:55]}-{number}", number + 1
        taken.add(name)
        found.append(replace(query, name=name))
    return found


def _nested(query: Query) -> Nested:
    values: dict[str, object] = {
        "name": query.name,
        "signal": query.signal,
        "query": query.query,
    }
    if query.calls:
        values["calls"] = query.calls
    if query.absent_is_zero:
        values["absent_is_zero"] = True
    if query.scale != 1.0:
        values["scale"] = query.scale
    if query.service:
        values["service"] = query.service
    elif query.service_labels and query.service_labels[0] not in _SERVICE_LABELS:
        values["service_labels"] = list(query.service_labels)
    if query.stage:
        values["stage"] = query.stage
    if query.route_labels and query.route_labels != _ROUTE_LABELS:
        values["route_labels"] = list(query.route_labels)
    if query.without_labels is not None:
        values["without_labels"] = list(query.without_labels)
    return Nested(values=values, comments=(query.comment,) if query.comment else ())
