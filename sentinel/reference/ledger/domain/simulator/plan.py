"""Draws what happens in the months: outages, deploys, true new levels, silences of the source.

All is drawn from one seed before any window is simulated. Faults on a stream keep half a day apart,
so that what is found belongs to one of them; everything else keeps out of a fault's way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.simulator.calendar import DAY_S, MoneyCalendar
from sentinel.reference.ledger.domain.simulator.events import FAULTS, Effect, Event, EventKind
from sentinel.reference.ledger.domain.simulator.fleet import JOBS, Stream
from sentinel.reference.ledger.domain.simulator.season import HOUR_S, season

_MONTH_DAYS: Final = 30.0
# Nothing breaks while there is nothing yet that it could be told from.
_QUIET_DAYS: Final = 14
_FAULTS_APART_S: Final = DAY_S // 2
_OTHERS_APART_S: Final = 2 * HOUR_S
_SHORTEST_S: Final = 120
_LONGEST_S: Final = 8 * HOUR_S
# An outage of a tenant that calls seldom lasts until about this many calls were concerned.
_CALLS_CONCERNED: Final = 60.0
_REPEATED_SHARE: Final = 0.25
_TENANT_SHARE: Final = 0.35
_TRIES: Final = 50
_KINDS: Final = (EventKind.STOP, EventKind.ERRORS, EventKind.SLOW, EventKind.PARTIAL)
_KIND_WEIGHTS: Final = (0.25, 0.30, 0.25, 0.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """How often things happen, a month of 30 days."""

    outages: float = 6.0
    trickles: float = 0.3
    missed_runs: float = 0.5
    deploys: float = 9.0
    level_shifts: float = 0.5
    silences: float = 0.5

    @classmethod
    def of_outages(cls, outages: float) -> PlanSettings:
        """All kinds of faults in their usual proportion to `outages`; none without any."""
        share = outages / cls().outages
        return cls(
            outages=outages,
            trickles=share * cls().trickles,
            missed_runs=share * cls().missed_runs,
        )


def plan_events(
    streams: Sequence[Stream],
    *,
    hours_s: NDArray[np.int64],
    hours_local_s: NDArray[np.float64],
    calendar: MoneyCalendar,
    seed: int,
    settings: PlanSettings,
) -> list[Event]:
    """Return the events of the hours that begin at `hours_s`, in order of their start.

    `hours_local_s` is their wall clock: people deploy in office hours.
    """
    rng = np.random.default_rng([seed, 1])
    begin, end = int(hours_s[0]), int(hours_s[-1]) + HOUR_S
    months = (end - begin) / DAY_S / _MONTH_DAYS
    ordinary = _OrdinaryCalls(streams, begin, hours_local_s, calendar)
    drawing = _Drawing(rng, streams, ordinary, begin=begin, end=end)
    faults_from = begin + _QUIET_DAYS * DAY_S
    office = hours_s[_office_hours(hours_local_s, calendar)]

    def any_time() -> int:
        return int(rng.integers(faults_from, end)) if faults_from < end else end

    def office_time() -> int:
        return int(rng.choice(office)) + int(rng.integers(HOUR_S)) if office.size else end

    for draw, often, when in (
        (drawing.trickle, settings.trickles, any_time),
        (drawing.missed_run, settings.missed_runs, any_time),
        (drawing.outage, settings.outages, any_time),
        (drawing.level_shift, settings.level_shifts, office_time),
        (drawing.deploy, settings.deploys, office_time),
        (drawing.silence, settings.silences, any_time),
    ):
        for _ in range(round(often * months)):
            drawing.place(draw, when)
    ordered = sorted(drawing.events, key=lambda event: (event.start_s, event.number))
    number_of = {event.number: number for number, event in enumerate(ordered)}
    return [
        replace(
            event,
            number=number_of[event.number],
            repeats=None if event.repeats is None else number_of[event.repeats],
        )
        for event in ordered
    ]


def _office_hours(
    hours_local_s: NDArray[np.float64], calendar: MoneyCalendar
) -> NDArray[np.bool_]:
    numbers = np.floor(hours_local_s / DAY_S).astype(np.int64)
    hour = (hours_local_s - numbers * DAY_S) / HOUR_S
    is_open: NDArray[np.bool_] = calendar.days(numbers).is_business & (hour >= 9) & (hour < 16)
    return is_open


class _OrdinaryCalls:
    """How many calls a stream would have in a span: three at night may be hundreds at noon."""

    def __init__(
        self,
        streams: Sequence[Stream],
        begin_s: int,
        hours_local_s: NDArray[np.float64],
        calendar: MoneyCalendar,
    ) -> None:
        self._streams = streams
        self._begin_s = begin_s
        # Ordinary seconds until each hour's beginning, by habit.
        self._until: dict[str, NDArray[np.float64]] = {}
        for habit in {habit.name: habit for one in streams for habit, _ in one.mix}.values():
            factors = season(habit, hours_local_s + HOUR_S / 2, calendar)
            self._until[habit.name] = HOUR_S * np.concatenate([[0.0], np.cumsum(factors)])

    def between(self, stream: int, start_s: int, end_s: int) -> float:
        """Return the calls expected from `start_s` to `end_s`, growth and spikes apart."""
        one = self._streams[stream]
        hours = (np.array([start_s, end_s]) - self._begin_s) / HOUR_S
        ordinary_s = 0.0
        for habit, share in one.mix:
            until = self._until[habit.name]
            first, last = np.interp(hours, np.arange(until.size), until).tolist()
            ordinary_s += share * (last - first)
        return one.traffic * ordinary_s


class _Drawing:
    """The events so far, and how the next of each kind is drawn."""

    def __init__(
        self,
        rng: np.random.Generator,
        streams: Sequence[Stream],
        ordinary: _OrdinaryCalls,
        *,
        begin: int,
        end: int,
    ) -> None:
        self.events: list[Event] = []
        self._calls = ordinary.between
        self._rng = rng
        self._streams = streams
        self._begin = begin
        self._end = end
        self._chains = sorted({stream.chain for stream in streams} - {JOBS})
        self._tenants = sorted({stream.tenant for stream in streams if stream.tenant})
        self._services = sorted({stream.service for stream in streams})

    def place(self, draw: Callable[[int], Event | None], when: Callable[[], int]) -> None:
        """Draw until one fits between the others; a crowded history gets fewer."""
        for _ in range(_TRIES):
            event = draw(when() // 60 * 60)
            if event is not None and self._fits(event):
                self.events.append(event)
                if event.kind in _KINDS and self._rng.random() < _REPEATED_SHARE:
                    self._repeat(event)
                return

    def outage(self, start_s: int) -> Event | None:
        """A stop, errors, slowness or a partial loss, of a chain or of one tenant."""
        rng = self._rng
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_KIND_WEIGHTS))]
        length_s = float(np.exp(rng.uniform(np.log(_SHORTEST_S), np.log(_LONGEST_S))))
        if self._tenants and (not self._chains or rng.random() < _TENANT_SHARE):
            tenant = str(rng.choice(self._tenants))
            hit = [i for i, stream in enumerate(self._streams) if stream.tenant == tenant]
            busiest = max(self._streams[i].traffic for i in hit)
            if busiest <= 0:
                return None
            length_s = min(max(length_s, _CALLS_CONCERNED / busiest), _LONGEST_S)
        elif self._chains:
            chain = str(rng.choice(self._chains))
            hit = [i for i, stream in enumerate(self._streams) if stream.chain == chain]
        else:
            return None
        length_s = max(60.0, round(length_s / 60) * 60)
        end_s = start_s + int(length_s)
        size = self._size(kind)
        ramp_s = int(length_s // 3) if kind is EventKind.SLOW and rng.random() < 0.4 else 0
        return self._event(
            kind,
            start_s,
            int(length_s),
            [self._hurt(kind, i, size, start_s, end_s) for i in hit]
            + self._behind(kind, hit, size, start_s, end_s),
            ramp_s=ramp_s,
        )

    def trickle(self, start_s: int) -> Event | None:
        """Nearly all calls of a tenant that calls seldom fail, for days."""
        rare = [i for i, one in enumerate(self._streams) if one.tenant and 0 < one.traffic < 0.1]
        if not rare:
            return None
        stream = int(self._rng.choice(rare))
        length_s = int(self._rng.integers(1, 9)) * DAY_S
        calls = self._calls(stream, start_s, start_s + length_s)
        effect = Effect(stream=stream, errors_added=0.9, calls=calls)
        return self._event(EventKind.TRICKLE, start_s, length_s, [effect])

    def missed_run(self, start_s: int) -> Event | None:
        """A job whose timer does not follow the wall clock does not run once."""
        jobs = [
            (i, spike)
            for i, one in enumerate(self._streams)
            for spike in one.spikes
            if one.chain == JOBS and (spike.on_utc or spike.every_s == HOUR_S)
        ]
        if not jobs:
            return None
        stream, spike = jobs[int(self._rng.integers(len(jobs)))]
        run_s = start_s // spike.every_s * spike.every_s + spike.at_s
        calls = spike.added * spike.length_s
        effect = Effect(stream=stream, traffic_factor=0.0, calls=calls)
        return self._event(EventKind.MISSED_RUN, run_s, spike.length_s, [effect])

    def deploy(self, start_s: int) -> Event:
        """A minute or three of errors and slowness of one service, and all is as before."""
        length_s = int(self._rng.integers(1, 4)) * 60
        failing = float(self._rng.uniform(0.002, 0.02))
        slow = float(self._rng.uniform(1.2, 2.0))
        effects = [
            Effect(
                stream=i,
                errors_added=failing,
                latency_factor=slow,
                calls=self._calls(i, start_s, start_s + length_s),
            )
            for i in self._of_service()
        ]
        return self._event(EventKind.DEPLOY, start_s, length_s, effects)

    def level_shift(self, start_s: int) -> Event:
        """From a deploy on one service is slower or faster, or a chain is called more or less."""
        rng = self._rng
        is_traffic = bool(self._chains) and rng.random() < 0.5
        factor = float(rng.choice([rng.uniform(0.65, 0.85), rng.uniform(1.2, 1.6)]))
        length_s = self._end - start_s
        if is_traffic:
            chain = str(rng.choice(self._chains))
            hit = [i for i, stream in enumerate(self._streams) if stream.chain == chain]
        else:
            hit = self._of_service()
        effects = [
            Effect(
                stream=i,
                traffic_factor=factor if is_traffic else 1.0,
                latency_factor=1.0 if is_traffic else factor,
                calls=self._calls(i, start_s, start_s + length_s),
            )
            for i in hit
        ]
        return self._event(EventKind.LEVEL_SHIFT, start_s, length_s, effects)

    def silence(self, start_s: int) -> Event:
        """Nothing is heard of a service, whose calls go on."""
        length_s = int(self._rng.integers(10, 61)) * 60
        effects = [Effect(stream=i) for i in self._of_service()]
        return self._event(EventKind.BLIND, start_s, length_s, effects)

    def _of_service(self) -> list[int]:
        service = str(self._rng.choice(self._services))
        return [i for i, stream in enumerate(self._streams) if stream.service == service]

    def _size(self, kind: EventKind) -> float:
        """How bad: a share of calls, or for slowness a multiple."""
        if kind is EventKind.STOP:
            return 1.0
        if kind is EventKind.SLOW:
            return float(np.exp(self._rng.uniform(np.log(1.5), np.log(10.0))))
        if kind is EventKind.ERRORS:
            return float(np.exp(self._rng.uniform(np.log(0.05), np.log(1.0))))
        return float(self._rng.uniform(0.3, 0.8))

    def _hurt(self, kind: EventKind, stream: int, size: float, start_s: int, end_s: int) -> Effect:
        one = self._streams[stream]
        calls = self._calls(stream, start_s, end_s)
        if kind is EventKind.SLOW:
            return Effect(stream=stream, latency_factor=size, calls=calls)
        if kind is EventKind.ERRORS and one.is_edge:
            return Effect(stream=stream, errors_added=size, calls=calls)
        # What fails at the edge never reaches the steps behind it.
        return Effect(stream=stream, traffic_factor=1.0 - size, calls=calls)

    def _behind(
        self, kind: EventKind, hit: Sequence[int], size: float, start_s: int, end_s: int
    ) -> list[Effect]:
        """What the steps behind the edge lose with a tenant whose calls stop or fail."""
        tenants = {self._streams[i].tenant for i in hit}
        if kind is EventKind.SLOW or "" in tenants:
            return []
        edges: dict[str, float] = {}
        for stream in self._streams:
            if stream.is_edge:
                edges[stream.chain] = edges.get(stream.chain, 0.0) + stream.traffic
        lost = {
            self._streams[i].chain: self._streams[i].traffic / edges[self._streams[i].chain]
            for i in hit
            if edges[self._streams[i].chain] > 0
        }
        return [
            Effect(
                stream=i,
                traffic_factor=1.0 - size * lost[stream.chain],
                calls=self._calls(i, start_s, end_s),
            )
            for i, stream in enumerate(self._streams)
            if not stream.is_edge and stream.chain in lost
        ]

    def _event(
        self,
        kind: EventKind,
        start_s: int,
        length_s: int,
        effects: Sequence[Effect],
        *,
        ramp_s: int = 0,
    ) -> Event:
        return Event(
            number=len(self.events),
            kind=kind,
            start_s=start_s,
            end_s=start_s + length_s,
            effects=tuple(effects),
            ramp_s=ramp_s,
        )

    def _repeat(self, event: Event) -> None:
        """The same again at the same time of the next day, give or take five minutes."""
        later = DAY_S + 60 * int(self._rng.integers(-5, 6))
        start_s, end_s = event.start_s + later, event.end_s + later
        again = replace(
            event,
            number=len(self.events),
            start_s=start_s,
            end_s=end_s,
            effects=tuple(
                replace(effect, calls=self._calls(effect.stream, start_s, end_s))
                for effect in event.effects
            ),
            repeats=event.number,
        )
        if self._fits(again):
            self.events.append(again)

    def _fits(self, event: Event) -> bool:
        """Whether it lies in the history, and apart from what else concerns its streams.

        A new level stays; only its beginning must not fall into something else.
        """
        if not self._begin <= event.start_s < event.end_s <= self._end:
            return False
        streams = {effect.stream for effect in event.effects}
        for other in self.events:
            if streams.isdisjoint(effect.stream for effect in other.effects):
                continue
            both_faults = event.kind in FAULTS and other.kind in FAULTS
            apart = _FAULTS_APART_S if both_faults else _OTHERS_APART_S
            if _felt_until(event) + apart > other.start_s and event.start_s < (
                _felt_until(other) + apart
            ):
                return False
        return True


def _felt_until(event: Event) -> int:
    return event.start_s if event.kind is EventKind.LEVEL_SHIFT else event.end_s
