"""Queries out of what is known of a server's metrics; pure, so that what is written follows from what was seen alone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentinel.app.discover.queries.facts import MetricFacts, ServerFacts
from sentinel.app.discover.queries.shapes import CALLS, GAUGES, CallShape, GaugeShape

WINDOW_S = 60.0
_WINDOWS_S = (60.0, 100.0, 150.0, 300.0)
_WISHED_S = (5.0, 10.0, 15.0, 20.0, 30.0, *_WINDOWS_S)
_SCRAPES_A_RANGE = 4
_NAMESPACES = ("namespace", "exported_namespace")
_INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of the configuration.

    Attributes:
        name: of the query.
        signal: what its values are.
        query: PromQL.
        calls: PromQL of calls a second behind each value, or "".
        service, stage: fixed names, or "".
        service_labels, route_labels: labels that name them.
        scale: what values are multiplied by.
        absent_is_zero: whether nothing means none.
        comment: a sentence above it.
    """

    name: str
    signal: str
    query: str
    calls: str = ""
    service: str = ""
    stage: str = ""
    service_labels: tuple[str, ...] = ()
    route_labels: tuple[str, ...] = ()
    without_labels: tuple[str, ...] | None = None
    scale: float = 1.0
    absent_is_zero: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """A shape of which metrics are there.

    Attributes:
        shape: the shape.
        name: of its queries.
        counter: counts the calls: a counter, or a histogram's count.
        histogram: measures them, or None.
        service, route: the labels that name the places; those of the counter, and of the histogram as far as it has them.
        status: the label that tells how calls ended, or "".
    """

    shape: CallShape
    name: str
    counter: MetricFacts
    histogram: MetricFacts | None
    service: str
    route: tuple[str, ...]
    status: str

    @property
    def by(self) -> tuple[str, ...]:
        """What the calls are told apart by."""
        return tuple(dict.fromkeys(one for one in (self.service, *self.route) if one))


def window_of(facts: ServerFacts, *, wished_s: float | None = None) -> float:
    """The width of a window, in seconds: as wished, else a minute, or what the rarest scrape of anything that is taken asks for."""
    slowest = max((facts.interval_of(one.jobs) for one in facts.metrics.values()), default=0.0)
    if wished_s is not None and wished_s >= slowest:
        return wished_s
    known = _WINDOWS_S if wished_s is None else _WISHED_S
    return next((one for one in known if one >= slowest), _WINDOWS_S[-1])


def lag_of(window_s: float) -> float | None:
    """How long after its end a window narrower than a minute is asked for, in whole seconds; None for the setting's default.

    >>> lag_of(60.0), lag_of(10.0), lag_of(1.0)
    (None, 5.0, 1.0)
    """
    return None if window_s >= WINDOW_S else float(max(1, window_s // 2))


def range_of(interval_s: float, *, window_s: float) -> str:
    """The range of a rate that is asked once a window: no sample lies outside of all of them, and two are in each though one scrape fails.

    >>> range_of(15.0, window_s=60.0), range_of(60.0, window_s=60.0), range_of(5.0, window_s=60.0)
    ('75s', '4m', '65s')
    """
    seconds = math.ceil(max(window_s + interval_s, _SCRAPES_A_RANGE * interval_s))
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def plans_of(facts: ServerFacts) -> tuple[list[CallPlan], list[str]]:
    """The calls that are told of, and what is not taken, in sentences."""
    plans: list[CallPlan] = []
    said: list[str] = []
    used: set[str] = set()
    for shape in CALLS:
        for family in _families(shape, facts, used):
            plan = _plan(shape, family, facts, said)
            used.update(_all_of(family, facts))
            if plan is not None:
                plans.append(replace(plan, name=_name_apart(plan.name, plans)))
    return plans, said


def queries_of_calls(plan: CallPlan, facts: ServerFacts, *, window_s: float) -> list[Query]:
    """Traffic, errors and latency of a plan, as far as it has them."""
    shape, by = plan.shape, ", ".join(plan.by)
    width = range_of(facts.interval_of(plan.counter.jobs), window_s=window_s)
    total = f"sum by ({by}) (rate({plan.counter.name}[{width}]))"
    names = {
        "service": shape.fixed_service,
        "service_labels": (plan.service,) if plan.service else (),
        "route_labels": plan.route,
    }
    found = [
        Query(
            name=f"{plan.name}-traffic",
            signal="traffic",
            query=total,
            comment=f"Calls a second of {plan.counter.name}.",
            **names,  # type: ignore[arg-type]
        )
    ]
    if plan.status:
        failed = f'{plan.counter.name}{{{plan.status}=~"{shape.failed}"}}'
        found.append(
            Query(
                name=f"{plan.name}-errors",
                signal="errors",
                query=f"sum by ({by}) (rate({failed}[{width}])) / {total}",
                calls=total,
                absent_is_zero=True,
                comment=f"The share of them whose {plan.status} says that the server failed; a counter of failures begins with the first.",
                **names,  # type: ignore[arg-type]
            )
        )
    if plan.histogram is not None:
        inner = ", ".join((*(one for one in plan.by if one in plan.histogram.labels), "le"))
        width = range_of(facts.interval_of(plan.histogram.jobs), window_s=window_s)
        found.append(
            Query(
                name=f"{plan.name}-latency",
                signal="latency",
                query=f"histogram_quantile(0.95, sum by ({inner}) (rate({plan.histogram.name}[{width}])))",
                scale=shape.scale,
                comment="The 95th percentile of their durations, in seconds.",
                **names,  # type: ignore[arg-type]
            )
        )
    return found


def queries_of_gauges(facts: ServerFacts, *, window_s: float) -> list[Query]:
    """Gauges of queues and databases, as far as their exporters are there."""
    return [
        _gauge(shape, facts, window_s=window_s)
        for shape in GAUGES
        if all(need in facts.metrics for need in shape.needs)
    ]


def _gauge(shape: GaugeShape, facts: ServerFacts, *, window_s: float) -> Query:
    needed = [facts.metrics[need] for need in shape.needs]
    labels = frozenset[str].intersection(*(one.labels for one in needed))
    route = tuple(label for label in shape.labels if label in labels)
    # Two servers of a kind are two services only to a person; their address tells them apart until one says more.
    several = (_INSTANCE,) if _INSTANCE in labels and shape.stage == "database" else ()
    by = (*route, *several)
    jobs = frozenset[str]().union(*(one.jobs for one in needed))
    joined = route if shape.stage == "queue" and len(route) > 1 else ()
    text = shape.query.format(
        by=", ".join(by),
        range=range_of(facts.interval_of(jobs), window_s=window_s),
        window=f"{window_s:g}s",
    )
    if joined:
        # As Sentinel's own scraper calls them: `orders/poster`.
        names = ", ".join(f'"{label}"' for label in joined)
        text = f'label_join({text}, "route", "/", {names})'
    return Query(
        name=f"{shape.service}-{shape.signal.replace('_', '-')}",
        signal=shape.signal,
        query=text,
        service=shape.service,
        stage=shape.stage,
        route_labels=() if joined else by,
        without_labels=joined or (() if several else None),
        comment=f"{shape.why[:1].upper()}{shape.why[1:]}." if shape.why else "",
    )


def _families(shape: CallShape, facts: ServerFacts, used: set[str]) -> list[tuple[str, str]]:
    """The counters and histograms of a shape that are there, those that tell of the same calls together; "" for none."""
    counters = [
        name
        for name in facts.metrics
        if shape.counter and name not in used and re.fullmatch(shape.counter, name)
    ]
    histograms = sorted(
        {
            name.removesuffix("_bucket").removesuffix("_count")
            for name in facts.metrics
            if shape.histogram
            and name not in used
            and name.endswith(("_bucket", "_count"))
            and re.fullmatch(shape.histogram, name.removesuffix("_bucket").removesuffix("_count"))
        }
    )
    exact = "(" not in shape.counter + shape.histogram
    families: list[tuple[str, str]] = []
    for histogram in histograms:
        prefix = _prefix(histogram)
        twin = next(
            (
                one
                for one in counters
                if (exact or _prefix(one) == prefix)
                and _share_jobs(facts, one, f"{histogram}_count")
            ),
            "",
        )
        if twin:
            counters.remove(twin)
        families.append((twin, histogram))
    return [*families, *((one, "") for one in counters)]


def _plan(
    shape: CallShape, family: tuple[str, str], facts: ServerFacts, said: list[str]
) -> CallPlan | None:
    counter_name, base = family
    buckets = facts.metrics.get(f"{base}_bucket") if base else None
    count = facts.metrics.get(f"{base}_count") if base else None
    counter = facts.metrics.get(counter_name) if counter_name else None
    if base and buckets is None:
        said.append(
            f"{base} is a summary: quantiles of several processes cannot be joined, so it tells of no latency."
        )
    # The one that knows how calls ended tells of them.
    if count is not None and (counter is None or _first(count.labels, shape.status)):
        counter = count
    if counter is None:
        return None
    status = _first(counter.labels, shape.status)
    if not status:
        said.append(
            f"{counter.name} has no label that tells how a call ended: nothing is told of its errors."
        )
    service = "" if shape.fixed_service else _first(counter.labels, shape.service)
    route = tuple(
        label
        for names in shape.route
        if (label := _first(counter.labels, names)) and label != status
    )
    if buckets is not None and counter is not count:
        # Places that only one of both tells apart would be other places in the other.
        shared = tuple(label for label in route if label in buckets.labels)
        if shared != route:
            missing = ", ".join(label for label in route if label not in shared)
            said.append(f"{base} has no {missing}: its latency is told without.")
    name = shape.name
    if "(" in shape.counter + shape.histogram:
        name = _prefix(base or counter_name) or shape.name
    return CallPlan(
        shape=shape,
        name=name.replace("_", "-").strip("-") or shape.name,
        counter=counter,
        histogram=buckets,
        service=service,
        route=route,
        status=status,
    )


def _all_of(family: tuple[str, str], facts: ServerFacts) -> set[str]:
    counter, base = family
    return {one for one in (counter, f"{base}_count", f"{base}_bucket") if one in facts.metrics}


def _name_apart(name: str, plans: Sequence[CallPlan]) -> str:
    taken = {plan.name for plan in plans}
    number = 1
    while (chosen := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return chosen


def _share_jobs(facts: ServerFacts, one: str, other: str) -> bool:
    known = facts.metrics.get(other)
    return known is not None and bool(facts.metrics[one].jobs & known.jobs)


def _prefix(name: str) -> str:
    """What an application put before the usual name.

    >>> _prefix("http_requests_total"), _prefix("shop_http_request_duration_seconds")
    ('', 'shop')
    """
    before, found, _ = name.partition("http_")
    return before.rstrip("_") if found else ""


def _first(labels: frozenset[str], names: Sequence[str]) -> str:
    return next((name for name in names if name in labels), "")
