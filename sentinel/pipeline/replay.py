"""Past series through the very code that runs live, strictly causally.

A series is put on the grid of its own median step; see `replay_grid`. The profile is fitted at the beginning of each
day from medians of what came before, as the fitting child would. Static guards run as they do live, by the file's own
windows; of a source that falls silent nothing is known here, so none is ever blind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sentinel.core.baseline import (
    Calendar,
    Profile,
    at_present_level,
    fit_profile,
    quarantined,
)
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.incidents import IncidentSettings, factors_of, gate_words, primary
from sentinel.core.incidents.text import possible
from sentinel.core.model import (
    Gate,
    IncidentKind,
    Kind,
    Member,
    PageReason,
    Reason,
    SeriesKey,
    Severity,
    Transition,
    TransitionKind,
    VerdictBlock,
)
from sentinel.core.scoring import ScoringSettings, adopted_levels
from sentinel.pipeline.blind_spots import BlindSpot, BlindSpots
from sentinel.pipeline.replay_grid import (
    DAY_NS,
    Line,
    PlainSeries,
    Service,
    batches,
    block_of,
    coarse,
    kind_of,
    on_grid,
)
from sentinel.pipeline.replay_stops import StopLog
from sentinel.pipeline.seasons import CausalSeasons

__all__ = [
    "PlainSeries",
    "Replayed",
    "ReplayedPage",
    "ReplayedStop",
    "replay",
    "replay_settings",
]

_STOPS_MAX = 100_000
"""More are counted and not kept."""

_REASON_OF = {
    TransitionKind.OPENED: PageReason.OPENED,
    TransitionKind.WORSENED: PageReason.WORSENED,
    TransitionKind.REMINDED: PageReason.REMINDER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedPage:
    """A message that would have gone out.

    Attributes:
        series: name of the series a person should read first.
        start_s: instant of the sample that tripped (Unix seconds).
        end_s: when it resolved, the hold included, or the last sample.
        score, direction, expected, value: of the strangest window so far; direction is +1 or -1, expected is
            NaN where a guard tripped before anything was. All are NaN where it is about a source that is blind or late.
        severity: a page wakes a person, a ticket does not.
        reason: opened, worsened or reminder.
        kind: anomaly or guard.
        horizon_s: length of the horizon whose mean the value is, 0 for a window of the series.
        factors: how far it is from what was expected, and what agrees; in words.
    """

    series: str
    start_s: float
    end_s: float
    score: float
    direction: int
    expected: float
    value: float
    severity: Severity
    reason: PageReason
    kind: IncidentKind
    horizon_s: int = 0
    factors: str = ""

    @property
    def is_reminder(self) -> bool:
        """Whether it tells nothing that was not told before."""
        return self.reason is PageReason.REMINDER


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedStop:
    """An excursion that stood out and of which nobody would have been told.

    Attributes:
        series: name of the series.
        start_s, end_s: instants of its first and its last sample that stood out (Unix seconds).
        gate: the first that stopped it.
        score, direction, expected, value: of its strangest window; direction is +1 or -1.
        edge: of the band on its side: beyond it the window would have passed; NaN where that is not known.
        words: all of that in a sentence.
    """

    series: str
    start_s: float
    end_s: float
    gate: Gate
    score: float
    direction: int
    expected: float
    value: float
    edge: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay gives.

    Attributes:
        pages: by series in the order given, then by time.
        scored_count: windows of each series that had a score; one without any was not judged at all.
        stops: what stood out and was not told, by series and time.
        stops_dropped_count: how many of those there were more than are kept.
        blind_spots: by series, what could not be seen at its end.
    """

    pages: list[ReplayedPage]
    scored_count: dict[str, int]
    stops: list[ReplayedStop]
    stops_dropped_count: int = 0
    blind_spots: dict[str, BlindSpot] = field(default_factory=dict)


def replay_settings(scoring: ScoringSettings) -> DecisionSettings:
    """Settings for a replay: those of a sidecar as it comes, without the cap on pages, which is all services' own."""
    return DecisionSettings(
        scoring=scoring, incidents=IncidentSettings(page_count_max_per_minute=10**9)
    )


def replay(
    series: Iterable[PlainSeries],
    *,
    kind: Kind,
    settings: DecisionSettings,
    fit: Callable[..., Profile] = fit_profile,
    calendar: Calendar | None = None,
) -> Replayed:
    """Replay series, each with a name of its own; `kind` is that of series without a key, `fit` makes what is expected.

    With a calendar, series are replayed together that begin on the same day, and each keeps its true dates; what special
    days differ by is pooled over those.

    Raises:
        InputTooLargeError: the time line of a series has too many windows.
    """
    given = list(series)
    scored_count = {one.name: 0 for one in given}
    pages: dict[str, list[ReplayedPage]] = {one.name: [] for one in given}
    stops: list[ReplayedStop] = []
    blind_spots: dict[str, BlindSpot] = {}
    dropped_count = 0
    by_step: dict[int, dict[tuple[bool, str], list[PlainSeries]]] = {}
    keeps_dates = calendar is not None
    for one in given:
        if len(one.time_ns) >= 2:
            name = (False, one.name) if one.key is None else (True, one.key.service)
            by_step.setdefault(one.step_ns, {}).setdefault(name, []).append(one)
    for step_ns, groups in by_step.items():
        services = [on_grid(group, step_ns, keeps_dates=keeps_dates) for group in groups.values()]
        for batch in batches(services):
            log = StopLog(
                hold_windows=settings.incidents.hold_of(step_ns) // step_ns,
                runs_max=_STOPS_MAX - len(stops),
            )
            spots = BlindSpots()
            noted = _Noted(log=log, spots=spots)
            found = _replay_batch(
                batch, step_ns, kind, settings, fit, calendar, scored_count, noted
            )
            for page in found:
                pages[page.series].append(page)
            stops.extend(_stops_of(log, batch, step_ns, kind))
            dropped_count += log.dropped_count
            lines = [line for service in batch for line in service.lines]
            for spot in spots.spots():
                line = lines[spot.series_id - 1]
                # Every time line begins on the first of January 1970, a Thursday.
                blind_spots[line.series.name] = spot.moved(_days_moved(line, step_ns))
    order = {one.name: at for at, one in enumerate(given)}
    return Replayed(
        pages=[page for own in pages.values() for page in sorted(own, key=lambda p: p.start_s)],
        scored_count=scored_count,
        stops=sorted(stops, key=lambda stop: (order[stop.series], stop.start_s)),
        stops_dropped_count=dropped_count,
        blind_spots=blind_spots,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """What verdicts of a batch are noted for."""

    log: StopLog
    spots: BlindSpots

    def note(self, verdicts: VerdictBlock) -> None:
        self.log.note(verdicts)
        self.spots.note(verdicts)


def _replay_batch(
    batch: Sequence[Service],
    step_ns: int,
    kind: Kind,
    settings: DecisionSettings,
    fit: Callable[..., Profile],
    calendar: Calendar | None,
    scored_count: dict[str, int],
    noted: _Noted,
) -> Iterator[ReplayedPage]:
    """The messages of some services; how many windows of each series had a score goes into `scored_count`."""
    owned = [(at, line) for at, service in enumerate(batch) for line in service.lines]
    lines = [line for _, line in owned]
    keys = {
        number: _key(line, service=str(at), kind=kind)
        for number, (at, line) in enumerate(owned, start=1)
    }
    whole = block_of(lines, step_ns, kind)
    if np.all(whole.kind == int(Kind.GAUGE)):
        settings = _without_guards(settings)
    history = coarse(whole)
    if calendar is not None:
        fit = CausalSeasons(history, calendar.moved(batch[0].first_day), fit)
    state = new_decision_state(step_ns=step_ns, settings=settings)
    transitions: list[Transition] = []
    scored = np.zeros(len(lines), np.int64)
    for day in range(-(-whole.end_ns // DAY_NS)):
        start_ns, end_ns = day * DAY_NS, (day + 1) * DAY_NS
        windows = whole.windows(
            -(-start_ns // step_ns), min(-(-end_ns // step_ns), whole.window_count)
        )
        if windows.window_count == 0:
            continue
        told = {change.incident.incident_id: change.incident for change in transitions}
        left_out = quarantined(told.values(), history, keys, at_ns=start_ns)
        past, left_out = at_present_level(
            history,
            left_out,
            adopted_levels(state.detector, state.parked),
            at_ns=start_ns,
        )
        profile = fit(past, at_ns=start_ns, version=day, left_out=left_out)
        profile = replace(profile, levels_ns=state.detector.next_ns)
        decision = decide(state, windows, profile=profile, keys=keys, settings=settings)
        state = decision.state
        transitions.extend(decision.transitions)
        noted.note(decision.verdicts)
        scored += np.count_nonzero(decision.verdicts.reason == int(Reason.SCORED), axis=0)
    for line, count in zip(lines, scored.tolist(), strict=True):
        scored_count[line.series.name] = count
    line_of = dict(enumerate(lines, start=1))
    for at, service in enumerate(batch):
        own = [change for change in transitions if change.incident.group == str(at)]
        yield from _pages_of(own, service, line_of, step_ns, settings.incidents)


def _key(line: Line, *, service: str, kind: Kind) -> SeriesKey:
    known = line.series.key
    if known is not None:
        return known._replace(service=service)
    signal = kind_of(line.series, kind).name.lower()
    return SeriesKey(service=service, stage="", route=line.series.name, signal=signal)


def _without_guards(settings: DecisionSettings) -> DecisionSettings:
    """No guard looks at gauges, and without guards a quiet stretch is followed at once."""
    guards = replace(settings.incidents.guards, enabled=False)
    return replace(settings, incidents=replace(settings.incidents, guards=guards))


def _pages_of(
    transitions: Sequence[Transition],
    service: Service,
    line_of: dict[int, Line],
    step_ns: int,
    settings: IncidentSettings,
) -> Iterator[ReplayedPage]:
    resolved = {
        change.incident.incident_id: change.at_ns // step_ns
        for change in transitions
        if change.kind is TransitionKind.RESOLVED
    }
    last_s = max(int(line.series.time_ns[-1]) for line in service.lines) / 1e9
    for change in transitions:
        reason = _REASON_OF.get(change.kind)
        member = primary(change.incident)
        if reason is None or member is None:
            continue
        line = line_of[member.series_id]
        # The window that decided. A fall of traffic may need the one after it, and that wait is part of the delay.
        tripped_ns = change.at_ns - step_ns
        end = resolved.get(change.incident.incident_id)
        yield ReplayedPage(
            series=line.series.name,
            start_s=line.instant_s(tripped_ns // step_ns, step_ns),
            end_s=last_s if end is None else min(line.instant_s(end, step_ns), last_s),
            score=member.peak_score,
            direction=member.direction,
            expected=possible(member.expected, member.key.signal),
            value=member.value,
            horizon_s=member.horizon_s,
            severity=change.incident.severity,
            reason=reason,
            kind=change.incident.kind,
            factors=factors_of(_at_true_time(member, line, step_ns), settings),
        )


def _at_true_time(member: Member, line: Line, step_ns: int) -> Member:
    """The member with the instant of its strangest window; dates on the grid are shifted by whole days."""
    peak_s = line.instant_s((member.peak_ns or member.first_ns) // step_ns, step_ns)
    return replace(member, peak_ns=round(peak_s * 1e9))


def _days_moved(line: Line, step_ns: int) -> int:
    """How many days its last sample is later than on the grid, where long gaps are shortened."""
    return (int(line.series.time_ns[-1]) - int(line.window[-1]) * step_ns) // DAY_NS


def _stops_of(
    log: StopLog, batch: Sequence[Service], step_ns: int, kind: Kind
) -> Iterator[ReplayedStop]:
    lines = [line for service in batch for line in service.lines]
    for run in log.close():
        line = lines[run.series_id - 1]
        yield ReplayedStop(
            series=line.series.name,
            start_s=line.instant_s(run.first_window, step_ns),
            end_s=line.instant_s(run.last_window, step_ns),
            gate=run.gate,
            score=run.score,
            direction=run.direction,
            expected=run.expected,
            value=run.value,
            edge=run.edge,
            words=gate_words(run.gate, edge=run.edge, key=_key(line, service="", kind=kind)),
        )
