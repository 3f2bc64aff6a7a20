"""Verdicts in, incidents and pages out: the one function that walks a block window by window.

Most windows of most systems are quiet, and a quiet window costs a few passes over columns: objects are made
only for series that are strange, for guards that trip, and for incidents that are open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.grouping import OpenIncident, blinded, placed, published
from sentinel.core.incidents.guards import Trip, watch
from sentinel.core.incidents.hysteresis import Sighting, guard_score, is_quiet
from sentinel.core.incidents.layout import Layout, layout_of
from sentinel.core.incidents.pages import after_page, reason_to_page
from sentinel.core.incidents.rendering import page_of
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.state import TrackerState, aligned
from sentinel.core.incidents.storm import forget_old, may_page, paged, summarise
from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    Page,
    PageReason,
    SeriesKey,
    Transition,
    TransitionKind,
    VerdictBlock,
    WindowBlock,
)

_TRANSITION_OF = {
    PageReason.OPENED: TransitionKind.OPENED,
    PageReason.WORSENED: TransitionKind.WORSENED,
    PageReason.REMINDER: TransitionKind.REMINDED,
}


class Attach(Protocol):
    """Puts evidence on an incident that is about to page."""

    def __call__(
        self,
        incident: Incident,
        open_incidents: Sequence[Incident],
        /,
        *,
        at_ns: int,
        step_ns: int,
    ) -> Incident:
        """The incident with what is known at `at_ns`; `open_incidents` are all that are open, itself included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What a block did to the incidents.

    Attributes:
        state: to be handed in with the next block.
        transitions: in order of time.
        pages: to be sent, in order.
        frozen: bool[S], the series that must not be learnt from because they are part of an open incident.
    """

    state: TrackerState
    transitions: tuple[Transition, ...]
    pages: tuple[Page, ...]
    frozen: NDArray[np.bool_]


def track(
    state: TrackerState,
    block: WindowBlock,
    verdicts: VerdictBlock,
    keys: Mapping[int, SeriesKey],
    settings: IncidentSettings,
    attach: Attach | None = None,
) -> Tracked:
    """Follow incidents through the windows of a block.

    Any split of a history into blocks gives the same transitions and pages, as long as `attach` knows the same.

    Args:
        state: as the last block left it, or a fresh one.
        block: the windows.
        verdicts: what was thought of them; same windows, same series.
        keys: names by series id; every series of the block has one.
        settings: see there.
        attach: adds evidence to what pages; None adds nothing.
    """
    if (
        state.layout is None
        or state.layout.guards != settings.guards
        or not np.array_equal(state.layout.series, block.series)
    ):
        layout = layout_of(block.series, block.kind, keys, settings.guards)
        state = aligned(state, layout)
    else:
        layout = state.layout
    state = _after_gap(state, block, settings)
    strange_row = [bool(np.count_nonzero(row >= 1.0)) for row in verdicts.score]
    transitions: list[Transition] = []
    pages: list[Page] = []
    for at in range(block.window_count):
        idle = not (state.entries or state.pending or state.storm.raging or strange_row[at])
        if idle and not settings.guards.enabled:
            continue
        window = _Window(
            block=block, verdicts=verdicts, at=at, layout=layout, strange=strange_row[at]
        )
        state = _step(state, window, settings, attach, transitions, pages)
    return Tracked(
        state=state,
        transitions=tuple(transitions),
        pages=tuple(pages),
        frozen=_frozen(state, block.series),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    block: WindowBlock
    verdicts: VerdictBlock
    at: int
    layout: Layout
    strange: bool

    @property
    def step_ns(self) -> int:
        return self.block.step_ns

    @property
    def start_ns(self) -> int:
        return self.block.start_ns + self.at * self.block.step_ns

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.block.step_ns

    def sighting(self, column: int, trip: Trip | None) -> Sighting:
        at, key = self.at, self.layout.keys[column]
        score = float(self.verdicts.score[at, column])
        direction = int(self.verdicts.direction[at, column])
        return Sighting(
            series_id=int(self.block.series[column]),
            key=key,
            symptom=trip is not None or int(self.layout.kind[column]) != Kind.GAUGE,
            start_ns=self.start_ns,
            first_ns=self.start_ns if trip is None else trip.first_ns,
            direction=direction if trip is None else trip.direction,
            score=score if trip is None else guard_score(score),
            value=float(self.block.value[at, column]),
            expected=float(self.verdicts.expected[at, column]),
            lower=float(self.verdicts.lower[at, column]),
            upper=float(self.verdicts.upper[at, column]),
            weight=float(self.block.weight[at, column]),
            why="" if trip is None else trip.why,
        )


def _step(
    state: TrackerState,
    window: _Window,
    settings: IncidentSettings,
    attach: Attach | None,
    transitions: list[Transition],
    pages: list[Page],
) -> TrackerState:
    layout, at = window.layout, window.at
    blind = np.zeros(len(layout.services), dtype=np.bool_)
    trips: list[Trip] = []
    if settings.guards.enabled:
        guards, trips, blind = watch(
            state.guards,
            layout,
            start_ns=window.start_ns,
            step_ns=window.step_ns,
            value=window.block.value[at],
            weight=window.block.weight[at],
            heard=window.block.heard[at],
            settings=settings.guards,
        )
        state = replace(state, guards=guards)
    quiet = not (window.strange or trips or blind.any() or state.entries or state.pending)
    if quiet and not state.storm.raging:
        return state
    strange = np.flatnonzero(window.verdicts.score[at] >= 1.0)
    sightings, pending = _sightings(state, window, strange, trips, settings)
    entries, opened, grown, active = _placed(state, window, sightings, blind, settings)
    state = replace(state, entries=entries, pending=pending)
    return _paged(
        state,
        window,
        settings,
        attach,
        transitions,
        pages,
        opened=opened,
        grown=grown,
        active=active,
    )


def _sightings(
    state: TrackerState,
    window: _Window,
    strange: NDArray[np.intp],
    trips: Sequence[Trip],
    settings: IncidentSettings,
) -> tuple[dict[str, list[Sighting]], tuple[Sighting, ...]]:
    """What is strange in this window by service, and the falls of traffic that wait for the next one."""
    layout = window.layout
    members = {series_id for entry in state.entries for series_id in entry.members}
    tripped = {trip.column: trip for trip in trips}
    found: dict[str, list[Sighting]] = {}
    # A fall seen in the last window counts now that its source is known to live; otherwise it was the source
    # that died inside the window.
    heard = layout.heard_services(window.block.heard[window.at]) if state.pending else None
    for sighting in state.pending:
        service_at = layout.place_of(sighting.key.service)
        if heard is not None and service_at is not None and heard[service_at]:
            found.setdefault(sighting.key.service, []).append(sighting)
            members.add(sighting.series_id)
    waiting: list[Sighting] = []
    for column in sorted({*strange.tolist(), *tripped}):
        sighting = window.sighting(column, tripped.get(column))
        fell = int(layout.kind[column]) == Kind.TRAFFIC and sighting.direction < 0
        wait = fell and settings.confirm_drops and not sighting.why
        if wait and sighting.series_id not in members:
            waiting.append(sighting)
        else:
            found.setdefault(sighting.key.service, []).append(sighting)
    return found, tuple(waiting)


def _placed(
    state: TrackerState,
    window: _Window,
    sightings: Mapping[str, Sequence[Sighting]],
    blind: NDArray[np.bool_],
    settings: IncidentSettings,
) -> tuple[tuple[OpenIncident, ...], set[str], set[str], set[str]]:
    """The open incidents after this window's sightings, and the ids that opened, grew, and were active."""
    layout = window.layout
    by_service: dict[str, list[OpenIncident]] = {}
    for entry in state.entries:
        by_service.setdefault(entry.incident.group, []).append(entry)
    opened: set[str] = set()
    grown: set[str] = set()
    active: set[str] = set()
    for service, seen in sightings.items():
        before = by_service.get(service, [])
        after, new_at, grown_at = placed(
            before, seen, service=service, end_ns=window.end_ns, settings=settings
        )
        by_service[service] = after
        opened.update(after[index].incident.incident_id for index in new_at)
        grown.update(after[index].incident.incident_id for index in grown_at)
        active.update(
            entry.incident.incident_id
            for index, entry in enumerate(after)
            if index >= len(before) or entry is not before[index]
        )
    for at in np.flatnonzero(blind):
        service = layout.services[at]
        entries = by_service.setdefault(service, [])
        if not any(entry.incident.kind is IncidentKind.BLIND for entry in entries):
            unheard_ns = int(state.guards.unheard_count[at]) * window.step_ns
            ticket = blinded(service, first_ns=window.end_ns - unheard_ns, end_ns=window.end_ns)
            entries.append(ticket)
            opened.add(ticket.incident.incident_id)
    _pause_unheard(by_service, state, window, blind, settings)
    ordered = sorted(
        (entry for entries in by_service.values() for entry in entries),
        key=lambda entry: (entry.incident.paged_ns, entry.incident.incident_id),
    )
    return tuple(ordered), opened, grown, active


def _after_gap(
    state: TrackerState, block: WindowBlock, settings: IncidentSettings
) -> TrackerState:
    """The state at the start of a block, no hold having run while there were no windows at all.

    Otherwise the first window after a long stop would resolve what nobody had looked at in between.
    """
    gap_ns = block.start_ns - state.end_ns
    entries = state.entries
    if state.end_ns and gap_ns > 0 and settings.guards.enabled:
        entries = tuple(
            replace(entry, active_until_ns=entry.active_until_ns + gap_ns) for entry in entries
        )
    return replace(state, entries=entries, end_ns=block.end_ns)


def _pause_unheard(
    by_service: dict[str, list[OpenIncident]],
    state: TrackerState,
    window: _Window,
    blind: NDArray[np.bool_],
    settings: IncidentSettings,
) -> None:
    """Let no hold run while nothing is known: a source that is not heard is not quiet, it is unheard.

    A pause, not a new start: a source that is heard in every other window must still come to an end.
    """
    if not settings.guards.enabled:
        return
    for service, entries in by_service.items():
        at = window.layout.place_of(service)
        if at is not None:
            unheard_ns = int(state.guards.unheard_count[at]) * window.step_ns
            is_blind = bool(blind[at])
        else:
            # A source that was dropped from the block because it was silent so long is no less blind.
            since = [
                e.incident.opened_ns for e in entries if e.incident.kind is IncidentKind.BLIND
            ]
            unheard_ns = window.end_ns - since[0] if since else 0
            is_blind = unheard_ns > 0
        if not 0 < unheard_ns < settings.guards.forget_after_ns:
            continue
        for index, entry in enumerate(entries):
            until_ns = min(entry.active_until_ns + window.step_ns, window.end_ns)
            if is_blind and entry.incident.kind is IncidentKind.BLIND:
                until_ns = window.end_ns
            entries[index] = replace(entry, active_until_ns=until_ns)


def _paged(
    state: TrackerState,
    window: _Window,
    settings: IncidentSettings,
    attach: Attach | None,
    transitions: list[Transition],
    pages: list[Page],
    *,
    opened: set[str],
    grown: set[str],
    active: set[str],
) -> TrackerState:
    """Resolve, page or leave each open incident, oldest first, under the cap on pages."""
    end_ns = window.end_ns
    storm = forget_old(state.storm, end_ns=end_ns)
    everything: list[Incident] | None = None
    kept: list[OpenIncident] = []
    held: list[Incident] = []
    for entry in state.entries:
        incident_id = entry.incident.incident_id
        if is_quiet(
            active_until_ns=entry.active_until_ns,
            end_ns=end_ns,
            hold_ns=_hold_of(entry, window.step_ns, settings),
        ):
            transitions.append(_resolved(entry, end_ns, settings, pages))
            continue
        fresh = incident_id in opened
        reason = reason_to_page(
            entry, end_ns=end_ns, strange_now=incident_id in active, settings=settings
        )
        if reason is not None and may_page(storm, settings):
            if attach is not None:
                if everything is None:
                    everything = list(state.open_incidents())
                entry = _with_evidence(entry, attach, everything, window)
            storm = paged(storm, end_ns=end_ns)
            incident = published(entry, members_max=settings.members_max)
            pages.append(
                page_of(
                    incident,
                    reason=reason,
                    sequence=entry.sequence,
                    member_count=len(entry.members),
                    settings=settings,
                )
            )
            entry = after_page(
                entry, reason, end_ns=end_ns, step_ns=window.step_ns, settings=settings
            )
            # A held incident opened in an earlier window; now its evidence has changed.
            was_held = reason is PageReason.OPENED and not fresh
            kind = TransitionKind.JOINED if was_held else _TRANSITION_OF[reason]
            transitions.append(Transition(kind=kind, at_ns=end_ns, incident=incident))
        elif fresh or incident_id in grown:
            kind = TransitionKind.OPENED if fresh else TransitionKind.JOINED
            incident = published(entry, members_max=settings.members_max)
            transitions.append(Transition(kind=kind, at_ns=end_ns, incident=incident))
        if entry.sequence == 0:
            held.append(entry.incident)
        kept.append(entry)
    storm, summary = summarise(storm, held, end_ns=end_ns, settings=settings)
    if summary is not None:
        pages.append(summary)
    return replace(state, entries=tuple(kept), storm=storm)


def _with_evidence(
    entry: OpenIncident, attach: Attach, everything: Sequence[Incident], window: _Window
) -> OpenIncident:
    whole = replace(entry.incident, members=tuple(entry.members.values()))
    attached = attach(whole, everything, at_ns=window.end_ns, step_ns=window.step_ns)
    return replace(entry, incident=replace(attached, members=()))


def _resolved(
    entry: OpenIncident, end_ns: int, settings: IncidentSettings, pages: list[Page]
) -> Transition:
    resolved = replace(
        published(entry, members_max=settings.members_max),
        state=IncidentState.RESOLVED,
        resolved_ns=end_ns,
    )
    if entry.sequence > 0:
        pages.append(
            page_of(
                resolved,
                reason=PageReason.RESOLVED,
                sequence=entry.sequence,
                member_count=len(entry.members),
                settings=settings,
            )
        )
    return Transition(kind=TransitionKind.RESOLVED, at_ns=end_ns, incident=resolved)


def _hold_of(entry: OpenIncident, step_ns: int, settings: IncidentSettings) -> int:
    if entry.incident.kind is IncidentKind.BLIND:
        return max(settings.blind_clear_ns, step_ns)
    return settings.hold_of(step_ns)


def _frozen(state: TrackerState, series: NDArray[np.int64]) -> NDArray[np.bool_]:
    frozen = np.zeros(len(series), dtype=np.bool_)
    ids = [series_id for entry in state.entries for series_id in entry.members]
    ids.extend(sighting.series_id for sighting in state.pending)
    if ids and len(series):
        wanted = np.array(ids, dtype=np.int64)
        at = np.minimum(np.searchsorted(series, wanted), len(series) - 1)
        frozen[at[series[at] == wanted]] = True
    return frozen
