"""The last few minutes' traces and error lines, a bounded number, and which of them belong on a page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sentinel.core.evidence.first_mover import Onset, first_mover
from sentinel.core.model import (
    BESIDE_KINDS,
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    Exemplar,
    Incident,
    LogLine,
    Member,
    NamedCalls,
    Scope,
)

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """How much is remembered and shown.

    Attributes:
        scopes_max: places whose traces are remembered; the one that was silent longest gives way.
        traces_per_scope_max: newest traces of a place, of failed and of slow calls each.
        services_max: the same for services that wrote error lines.
        lines_per_service_max: newest lines of a service that were new when they came.
        events_per_service_max: events of a service whose newest lines are remembered.
        lines_per_event_max: newest lines of each of them.
        before_ns: what happened this long before the incident opened still belongs to it.
        shown_max: traces and lines on a page, of each.
    """

    scopes_max: int = 2000
    traces_per_scope_max: int = 8
    services_max: int = 500
    lines_per_service_max: int = 32
    events_per_service_max: int = 32
    lines_per_event_max: int = 3
    before_ns: int = 60 * _SECOND_NS
    shown_max: int = 3


class RecentEvidence:
    """Remembers what may be needed as evidence; bounded, and the same for the same calls in the same order."""

    def __init__(self, settings: EvidenceSettings | None = None) -> None:
        self._settings = settings or EvidenceSettings()
        self._traces: dict[tuple[Scope, bool], deque[Exemplar]] = {}
        self._lines: dict[str, _Lines] = {}
        self._named: dict[tuple[Scope, bool], _Named] = {}
        self._window_count = 0
        self.dropped_count = 0
        """Places and services whose evidence gave way to that of others."""

    def remember(self, exemplars: Iterable[Exemplar], lines: Iterable[LogLine]) -> None:
        """Take a window's traces and new error lines."""
        self._window_count += 1
        for exemplar in exemplars:
            name = (exemplar.key.scope, exemplar.error)
            ring = self._traces.pop(name, None)
            if ring is None:
                ring = deque(maxlen=self._settings.traces_per_scope_max)
            ring.append(exemplar)
            # Put back at the end: the first key is the place that was silent longest.
            self._traces[name] = ring
            self._name(name, exemplar)
            if len(self._traces) > 2 * self._settings.scopes_max:
                silent = next(iter(self._traces))
                del self._traces[silent]
                self._named.pop(silent, None)
                self.dropped_count += 1
        for line in lines:
            kept = self._lines.pop(line.service, None) or _Lines(self._settings)
            kept.remember(line)
            self._lines[line.service] = kept
            if len(self._lines) > self._settings.services_max:
                del self._lines[next(iter(self._lines))]
                self.dropped_count += 1

    def attach(
        self, incident: Incident, open_incidents: Sequence[Incident], *, at_ns: int, step_ns: int
    ) -> Incident:
        """The incident with first mover, traces and log lines as known at `at_ns`.

        What an earlier page found stays when nothing newer is found: the rings are short and an incident is not.
        """
        if incident.kind in BESIDE_KINDS:
            return incident
        mover = first_mover(
            incident,
            open_incidents,
            step_ns=step_ns,
            onset_of=lambda member: self._onset_of(member, step_ns=step_ns),
        )
        known = incident.first_mover
        if known is not None and (mover is None or mover.at_ns > known.at_ns):
            # The calls it was told by have left the ring since, and those of now would make it a later move.
            mover = known
        incident = replace(incident, first_mover=mover)
        since_ns = incident.opened_ns - self._settings.before_ns
        traces = self._traces_for(incident, since_ns=since_ns, until_ns=at_ns)
        lines = self._lines_for(incident, since_ns=since_ns, until_ns=at_ns)
        return replace(
            incident,
            exemplars=traces or incident.exemplars,
            log_lines=lines or incident.log_lines,
        )

    def named(self) -> dict[tuple[Scope, bool], NamedCalls]:
        """The calls that windows named, by place and whether they failed."""
        return {
            name: NamedCalls(count=one.count, newest=one.newest)
            for name, one in self._named.items()
        }

    def _name(self, name: tuple[Scope, bool], exemplar: Exemplar) -> None:
        """Count a call, and show the slowest of its window.

        Never one of a window before: the time of what is shown of a place must not go back, or Prometheus refuses it.
        """
        known = self._named.get(name)
        if known is None:
            self._named[name] = _Named(count=1, newest=exemplar, window=self._window_count)
            return
        known.count += 1
        if known.window != self._window_count or exemplar.duration_s > known.newest.duration_s:
            known.newest = exemplar
            known.window = self._window_count

    def _onset_of(self, member: Member, *, step_ns: int) -> Onset | None:
        """The first call that shows what is strange of a member, from the member's first window on."""
        failing, is_share = (
            member.key.signal == signal for signal in (SIGNAL_ERRORS, SIGNAL_SLOW)
        )
        if not failing and member.key.signal not in (SIGNAL_LATENCY, SIGNAL_SLOW):
            return None
        calls = [
            call
            for error in ((True,) if failing else (True, False))
            for call in self._traces.get((member.key.scope, error), ())
            if call.time_ns >= member.first_ns
            and call.time_ns < member.last_ns + step_ns
            and (failing or is_share or call.duration_s > member.upper)
        ]
        if not calls:
            return None
        if is_share:
            # What was slow for this hour the window knew; here it is what comes near the slowest.
            slowest_s = max(call.duration_s for call in calls)
            calls = [call for call in calls if 2 * call.duration_s >= slowest_s]
        first = min(calls, key=lambda call: (call.time_ns, call.trace_id))
        return Onset(
            start_ns=first.time_ns - round(first.duration_s * _SECOND_NS), end_ns=first.time_ns
        )

    def _traces_for(
        self, incident: Incident, *, since_ns: int, until_ns: int
    ) -> tuple[Exemplar, ...]:
        """Traces of the strangest places first; failed calls before slow ones where errors are what is strange."""
        found: dict[str, Exemplar] = {}
        members = sorted(incident.members, key=lambda member: (member.rank, member.series_id))
        for member in members:
            fitting = [
                item
                for error in (True, False)
                for item in self._traces.get((member.key.scope, error), ())
                if since_ns <= item.time_ns <= until_ns
            ]
            fitting.sort(key=lambda item: (-item.duration_s, item.trace_id))
            if member.key.signal == SIGNAL_ERRORS:
                fitting.sort(key=lambda item: not item.error)
            for item in fitting:
                found.setdefault(item.trace_id, item)
            if len(found) >= self._settings.shown_max:
                break
        return tuple(found.values())[: self._settings.shown_max]

    def _lines_for(
        self, incident: Incident, *, since_ns: int, until_ns: int
    ) -> tuple[LogLine, ...]:
        """Worst severity first, what was new before what was not, then the newest; one line an event.

        Only where there is room, an event has two: what it began with, and its newest line.
        """
        services = [incident.group]
        if incident.first_mover is not None and incident.first_mover.service not in services:
            services.append(incident.first_mover.service)
        fitting = [
            line
            for service in services
            if service in self._lines
            for line in self._lines[service].all()
            if since_ns <= line.time_ns <= until_ns
        ]
        fitting.sort(key=lambda line: (-line.severity, not line.is_new, -line.time_ns, line.body))
        chosen: dict[tuple[str, str], LogLine] = {}
        for line in fitting:
            chosen.setdefault((line.service, line.about), line)
        shown = list(chosen.values())[: self._settings.shown_max]
        told = {(line.service, line.body) for line in shown}
        for line in fitting:
            if len(shown) >= self._settings.shown_max:
                break
            if not line.is_new and (line.service, line.body) not in told:
                told.add((line.service, line.body))
                shown.append(line)
        return tuple(shown)


@dataclass(slots=True)
class _Named:
    """As `NamedCalls`, to be counted on; thousands are in a window."""

    count: int
    newest: Exemplar
    window: int


class _Lines:
    """The error lines of one service: those that were new, and the newest of each event."""

    def __init__(self, settings: EvidenceSettings) -> None:
        self._events_max = settings.events_per_service_max
        self._per_event_max = settings.lines_per_event_max
        self._new: deque[LogLine] = deque(maxlen=settings.lines_per_service_max)
        self._by_event: dict[str, deque[LogLine]] = {}

    def remember(self, line: LogLine) -> None:
        if line.is_new:
            self._new.append(line)
            return
        newest = self._by_event.pop(line.about, None)
        if newest is None:
            newest = deque(maxlen=self._per_event_max)
        newest.append(line)
        self._by_event[line.about] = newest
        if len(self._by_event) > self._events_max:
            del self._by_event[next(iter(self._by_event))]

    def all(self) -> Iterator[LogLine]:
        yield from self._new
        for newest in self._by_event.values():
            yield from newest
