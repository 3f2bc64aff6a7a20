"""What one window got to know, before anything is concluded from it: exactly mergeable, and the same however it was split.

Counts add up as integers. Points of metrics and pages stay what they are, because what a stream gained follows from its
points in order of time, whoever heard them; so a gauge of several replicas is made by the one rule there is. Of what is known
by its time, the latest counts. So merging is associative and commutative, and the parts of k collectors are to the last bit
what one would have had that heard all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sentinel.core.model import (
    CallExemplar,
    DistributionPoint,
    LogLine,
    MeasuredColumns,
    Missing,
    NumberPoint,
    Scope,
    SeriesKey,
)
from sentinel.core.series.collected.counted import Counted, nothing_counted, sum_of
from sentinel.core.series.collected.pages import Page
from sentinel.core.series.exemplars import NamedCalls

Key = TypeVar("Key")


class LogName(NamedTuple):
    """What log records are counted by.

    Attributes:
        service: who wrote them.
        text: the event, or the gist of a text without one.
        signal: the series' signal, which has the severity.
        is_gist: whether `text` is a gist, of which the scorer makes a template.
    """

    service: str
    text: str
    signal: str
    is_gist: bool


class PlaceOutcome(NamedTuple):
    """A place of calls, and whether they failed."""

    scope: Scope
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowContent:
    """What is known of one window.

    Attributes:
        calls: its calls.
        complete: its calls that complete logs tell of.
        logged: its calls that log records tell of.
        events: what was told one by one and is no call.
        rated: series of events that are counted, and have no value.
        exemplars: the calls worth naming.
        numbers, distributions: its metric points, in one order only.
        pages: its metrics pages, likewise.
        measured: what other systems have worked out for it, likewise.
        logs: its log records, counted.
        lines: error lines that may be evidence.
        heard: when each service was heard last, in or after the window.
        late: when data of a service came too late, in or after it.
        late_places: the same of places of calls.
        versions: when each service was heard last with each version that it names.
        pushed: services that pushed points of metrics tell of.
        shed: signals of which some was given up.
        missing: what was turned away and had not come again.
    """

    calls: Counted[Scope] = field(default_factory=nothing_counted)
    complete: Counted[Scope] = field(default_factory=nothing_counted)
    logged: Counted[Scope] = field(default_factory=nothing_counted)
    events: Counted[SeriesKey] = field(default_factory=nothing_counted)
    rated: frozenset[SeriesKey] = frozenset()
    exemplars: Mapping[PlaceOutcome, NamedCalls] = field(default_factory=dict)
    numbers: tuple[NumberPoint, ...] = ()
    distributions: tuple[DistributionPoint, ...] = ()
    pages: tuple[Page, ...] = ()
    measured: tuple[MeasuredColumns, ...] = ()
    logs: Mapping[LogName, int] = field(default_factory=dict)
    lines: tuple[LogLine, ...] = ()
    heard: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    late_places: Mapping[Scope, int] = field(default_factory=dict)
    versions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pushed: frozenset[str] = frozenset()
    shed: frozenset[str] = frozenset()
    missing: frozenset[Missing] = frozenset()

    @property
    def sample_count(self) -> int:
        """How many samples it is made of, calls that several sources tell of once for each."""
        counted = self.calls.total + self.complete.total + self.events.total
        pages = sum(len(page.value) for page in self.pages)
        points = len(self.numbers) + len(self.distributions)
        measured = sum(len(columns.value) for columns in self.measured)
        return counted + points + pages + measured + sum(self.logs.values())

    @property
    def services(self) -> frozenset[str]:
        """The services it tells of."""
        named = {scope.service for scope in self.calls.names + self.complete.names}
        named |= {scope.service for scope in self.logged.names}
        named |= {key.service for key in self.events.names}
        named |= {point.scope.service for point in self.numbers}
        named |= {point.scope.service for point in self.distributions}
        named |= {name.service for name in self.logs}
        named |= {key.service for columns in self.measured for key in columns.keys}
        named |= {service for page in self.pages for service in page.services}
        return frozenset(named | self.heard.keys())


def merged(parts: Sequence[WindowContent]) -> WindowContent:
    """The parts of one window as one."""
    if len(parts) == 1:
        return parts[0]
    logs: Counter[LogName] = Counter()
    for part in parts:
        logs.update(part.logs)
    return WindowContent(
        calls=sum_of([part.calls for part in parts]),
        complete=sum_of([part.complete for part in parts]),
        logged=sum_of([part.logged for part in parts]),
        events=sum_of([part.events for part in parts]),
        rated=frozenset(key for part in parts for key in part.rated),
        exemplars=_named(parts),
        numbers=numbers_in_order(point for part in parts for point in part.numbers),
        distributions=distributions_in_order(
            point for part in parts for point in part.distributions
        ),
        pages=pages_in_order(page for part in parts for page in part.pages),
        measured=measured_in_order(one for part in parts for one in part.measured),
        logs=dict(sorted(logs.items())),
        lines=lines_in_order(line for part in parts for line in part.lines),
        heard=_latest(part.heard for part in parts),
        late=_latest(part.late for part in parts),
        late_places=_latest(part.late_places for part in parts),
        versions=_latest(part.versions for part in parts),
        pushed=frozenset(service for part in parts for service in part.pushed),
        shed=frozenset(signal for part in parts for signal in part.shed),
        missing=frozenset(one for part in parts for one in part.missing),
    )


def numbers_in_order(points: Iterable[NumberPoint]) -> tuple[NumberPoint, ...]:
    """The points in the one order that there is."""
    return tuple(
        sorted(points, key=lambda one: (one.stream, one.time_ns, one.start_ns, one.value))
    )


def distributions_in_order(points: Iterable[DistributionPoint]) -> tuple[DistributionPoint, ...]:
    """The points in the one order that there is."""
    return tuple(
        sorted(
            points,
            key=lambda one: (
                one.stream,
                one.time_ns,
                one.start_ns,
                one.bucket.tobytes(),
                one.count.tobytes(),
            ),
        )
    )


def pages_in_order(pages: Iterable[Page]) -> tuple[Page, ...]:
    """The pages in the one order that there is."""
    return tuple(sorted(pages, key=lambda one: (one.target, one.time_ns, one.value.tobytes())))


def measured_in_order(columns: Iterable[MeasuredColumns]) -> tuple[MeasuredColumns, ...]:
    """The columns in the one order that there is."""
    return tuple(
        sorted(
            columns,
            key=lambda one: (one.source, one.keys, one.value.tobytes(), one.weight.tobytes()),
        )
    )


def lines_in_order(lines: Iterable[LogLine]) -> tuple[LogLine, ...]:
    """The lines in order of time; one that is told twice once."""
    return tuple(
        sorted(
            set(lines),
            key=lambda one: (
                one.time_ns,
                one.service,
                one.event,
                one.body,
                one.trace_id,
                one.template,
                one.severity,
                one.is_new,
            ),
        )
    )


def _named(parts: Sequence[WindowContent]) -> dict[PlaceOutcome, NamedCalls]:
    found: dict[PlaceOutcome, NamedCalls] = {}
    for part in parts:
        for place, named in part.exemplars.items():
            kept = found.get(place)
            found[place] = (
                named if kept is None else kept.with_call(named.first).with_call(named.slowest)
            )
    return dict(sorted(found.items()))


def plain_call(call: CallExemplar) -> CallExemplar:
    """The call without its position in the batch it came with."""
    return CallExemplar(
        scope_index=0,
        trace_id=call.trace_id,
        end_ns=call.end_ns,
        duration_s=call.duration_s,
        error=call.error,
    )


def _latest(parts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for part in parts:
        for name, at_ns in part.items():
            found[name] = max(found.get(name, 0), at_ns)
    return {name: found[name] for name in sorted(found)}  # type: ignore[type-var]
