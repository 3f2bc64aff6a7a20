"""Verdicts in, incidents and pages out: the one function that walks a block window by window.

Most windows of most systems are quiet, and a quiet window costs a few passes over columns: objects are made
only for series that are strange, for guards that trip, and for incidents that are open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.drifting import Drifting, open_drifts
from sentinel.core.incidents.falls import Fall, sifted
from sentinel.core.incidents.grouping import OpenIncident, placed
from sentinel.core.incidents.guards import Shares, Trip, Watched, watch
from sentinel.core.incidents.hysteresis import Sighting
from sentinel.core.incidents.layout import Layout, layout_of
from sentinel.core.incidents.paging import Attach, Moved, page_window
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.settling import broke_limit, released, settled
from sentinel.core.incidents.state import TrackerState, aligned
from sentinel.core.incidents.stopped import Stopped, untold
from sentinel.core.incidents.tickets import hold_unheard, open_tickets
from sentinel.core.incidents.window import Window
from sentinel.core.model import (
    BESIDE_KINDS,
    Acceptance,
    Gate,
    Kind,
    Page,
    SeriesKey,
    Transition,
    VerdictBlock,
    WindowBlock,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What a block did to the incidents.

    Attributes:
        state: to be handed in with the next block.
        transitions: in order of time.
        pages: to be sent, in order.
        frozen: bool[S], the series that must not be learnt from because they are part of an open incident.
        returned: int64[...], ids of the series that came back to what is usual in the last window, though what was
            expected of them had followed a change.
        settled: int64[...], ids of the series whose level is the new normal from the next window on.
        stopped: strange windows of which nobody was told.
    """

    state: TrackerState
    transitions: tuple[Transition, ...]
    pages: tuple[Page, ...]
    frozen: NDArray[np.bool_]
    returned: NDArray[np.int64]
    settled: NDArray[np.int64]
    stopped: tuple[Stopped, ...]


def track(
    state: TrackerState,
    block: WindowBlock,
    verdicts: VerdictBlock,
    keys: Mapping[int, SeriesKey],
    settings: IncidentSettings,
    attach: Attach | None = None,
    usual: NDArray[np.float64] | None = None,
    accepted: Sequence[Acceptance] = (),
    back: NDArray[np.float64] | None = None,
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
        accepted: what people said of open incidents.
        usual: float64[T, S], the profile behind the verdicts; what they expected where it is not given.
        back: float64[S], what that is multiplied with to be at the level before a new one was adopted, NaN where none was;
            None for none.
    """
    if usual is None:
        usual = verdicts.expected.astype(np.float64)
    if (
        state.layout is None
        or state.layout.guards != settings.guards
        or not (
            state.layout.series is block.series
            or np.array_equal(state.layout.series, block.series)
        )
    ):
        layout = layout_of(block.series, block.kind, keys, settings.guards)
        state = aligned(state, layout)
    else:
        layout = state.layout
    state = _after_gap(state, block, settings)
    strange_row = [bool(np.count_nonzero(row >= 1.0)) for row in verdicts.score]
    made = _Made()
    for at in range(block.window_count):
        made.returned.clear()
        idle = not (
            state.entries
            or state.pending
            or state.drifting.pending
            or state.storm.raging
            or strange_row[at]
        )
        if idle and not settings.guards.enabled:
            continue
        window = Window(
            block=block,
            verdicts=verdicts,
            usual=usual,
            back=back,
            at=at,
            layout=layout,
            strange=strange_row[at],
        )
        state = _step(state, window, keys, accepted, settings, attach, made)
    return Tracked(
        state=state,
        transitions=tuple(made.transitions),
        pages=tuple(made.pages),
        frozen=_frozen(state, block.series, settings),
        returned=block.series[made.returned],
        settled=np.array(sorted(set(made.settled)), dtype=np.int64),
        stopped=tuple(made.stopped),
    )


@dataclass(slots=True, kw_only=True)
class _Made:
    """What the windows of a block led to so far; `returned` are columns of the last one."""

    transitions: list[Transition] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)


def _step(
    state: TrackerState,
    window: Window,
    keys: Mapping[int, SeriesKey],
    accepted: Sequence[Acceptance],
    settings: IncidentSettings,
    attach: Attach | None,
    made: _Made,
) -> TrackerState:
    layout, at = window.layout, window.at
    unheard_before = state.guards.unheard_count
    watched: Watched | None = None
    trips: list[Trip] = []
    owing: frozenset[int] = frozenset()
    if settings.guards.enabled:
        watched = watch(
            state.guards,
            layout,
            start_ns=window.start_ns,
            step_ns=window.step_ns,
            value=window.block.value[at],
            weight=window.block.weight[at],
            heard=window.block.heard[at],
            thought=window.thought(),
            judged=Shares(ratio=window.verdicts.value[at], calls=window.verdicts.weight[at]),
            settings=settings.guards,
        )
        state = replace(state, guards=watched.state)
        trips, owing = watched.trips, watched.owing
    silent = watched is not None and bool(watched.blind.any() or watched.late.any())
    news = state.pending or state.drifting.pending
    quiet = not (window.strange or trips or silent or state.entries or news)
    if quiet and not state.storm.raging:
        return state
    tripped = {trip.column for trip in trips}
    strange: list[int] = []
    for column in np.flatnonzero(window.verdicts.score[at] >= 1.0).tolist():
        if column in tripped:
            strange.append(column)
        elif window.returns(column):
            made.returned.append(column)
            made.stopped.append(Stopped(at, column, Gate.USUAL_AGAIN))
        elif column in owing and window.rises(column):
            made.stopped.append(Stopped(at, column, Gate.OWED))
        else:
            strange.append(column)
    sightings, pending = _sightings(state, window, strange, trips, unheard_before, settings)
    entries, drifting, moved = _placed(state, window, keys, sightings, watched, settings)
    found = settled(
        entries,
        accepted,
        active=moved.active,
        value_of=window.value_of,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        settings=settings,
    )
    guards = state.guards
    if found:
        guards = released(guards, layout.series, found.values())
        made.settled.extend(series_id for one in found.values() for series_id in one.series)
    state = replace(state, entries=entries, pending=pending, drifting=drifting, guards=guards)
    state, happened, pages = page_window(
        state,
        moved,
        found,
        end_ns=window.end_ns,
        step_ns=window.step_ns,
        settings=settings,
        attach=attach,
    )
    made.transitions.extend(happened)
    made.pages.extend(pages)
    made.stopped.extend(untold(strange, layout, state, pages, at=at))
    return state


def _sightings(
    state: TrackerState,
    window: Window,
    strange: Sequence[int],
    trips: Sequence[Trip],
    unheard_before: NDArray[np.int64],
    settings: IncidentSettings,
) -> tuple[dict[str, list[Sighting]], tuple[Fall, ...]]:
    """What is strange in this window by service, and the falls of traffic that wait for the next one."""
    layout = window.layout
    members = {
        series_id
        for entry in state.entries
        if entry.incident.kind not in BESIDE_KINDS
        for series_id in entry.members
    }
    tripped = {trip.column: trip for trip in trips}
    counted: list[Sighting] = []
    falls: list[Sighting] = []
    for column in sorted({*strange, *tripped}):
        sighting = window.sighting(column, tripped.get(column))
        fell = int(layout.kind[column]) == Kind.TRAFFIC and sighting.direction < 0
        wait = fell and settings.confirm_drops and column not in tripped
        if wait and sighting.series_id not in members:
            falls.append(sighting)
        else:
            counted.append(sighting)
    waiting: tuple[Fall, ...] = ()
    if falls or state.pending:
        heard = layout.heard_services(window.block.heard[window.at])
        believed, waiting = sifted(
            state.pending,
            falls,
            start_ns=window.start_ns,
            value_of=window.value_of,
            is_heard=lambda service: bool(_of_service(heard, layout, service)),
            was_silent=lambda service: bool(_of_service(unheard_before, layout, service)),
            after_silence_count=settings.after_silence_window_count,
        )
        counted = believed + counted
    found: dict[str, list[Sighting]] = {}
    for sighting in counted:
        found.setdefault(sighting.key.service, []).append(sighting)
    return found, waiting


def _of_service(row: NDArray[Any], layout: Layout, service: str) -> Any:
    at = layout.place_of(service)
    return 0 if at is None else row[at]


def _placed(
    state: TrackerState,
    window: Window,
    keys: Mapping[int, SeriesKey],
    sightings: Mapping[str, Sequence[Sighting]],
    watched: Watched | None,
    settings: IncidentSettings,
) -> tuple[tuple[OpenIncident, ...], Drifting, Moved]:
    """The open incidents after this window's sightings, what is remembered of drifts, and what both did to them."""
    layout = window.layout
    by_service: dict[str, list[OpenIncident]] = {}
    for entry in state.entries:
        by_service.setdefault(entry.incident.group, []).append(entry)
    opened: set[str] = set()
    grown: set[str] = set()
    active: set[str] = set()
    going_on: dict[str, list[Sighting]] = {}
    for service, seen in sightings.items():
        before = by_service.get(service, [])
        after, new_at, grown_at = placed(
            before, seen, service=service, end_ns=window.end_ns, settings=settings
        )
        by_service[service] = after
        opened.update(after[index].incident.incident_id for index in new_at)
        grown.update(after[index].incident.incident_id for index in grown_at)
        for index, entry in enumerate(after):
            if index >= len(before) or entry is not before[index]:
                active.add(entry.incident.incident_id)
                going_on[entry.incident.incident_id] = [
                    one for one in seen if one.goes_on and one.series_id in entry.members
                ]
    if watched is not None:
        opened |= open_tickets(
            by_service, layout, watched, step_ns=window.step_ns, end_ns=window.end_ns
        )
        hold_unheard(
            by_service,
            layout,
            watched,
            step_ns=window.step_ns,
            end_ns=window.end_ns,
            settings=settings.guards,
        )
    drifting = state.drifting
    if drifting.pending:
        drifting, new, joined = open_drifts(
            by_service, drifting, keys, end_ns=window.end_ns, step_ns=window.step_ns
        )
        opened |= new
        grown |= joined
    ordered = sorted(
        (entry for entries in by_service.values() for entry in entries),
        # By name before by id, which is a hash over the time: the order is then the same at any time.
        key=lambda entry: (
            entry.incident.paged_ns,
            entry.incident.group,
            entry.incident.kind,
            entry.incident.incident_id,
        ),
    )
    moved = Moved(opened=opened, grown=grown, active=active, going_on=going_on)
    return tuple(ordered), drifting, moved


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


def _frozen(
    state: TrackerState, series: NDArray[np.int64], settings: IncidentSettings
) -> NDArray[np.bool_]:
    """The members of open incidents; of those so old that only a broken limit holds them open, what broke it."""
    frozen = np.zeros(len(series), dtype=np.bool_)
    ids = [
        series_id
        for entry in state.entries
        if entry.incident.kind not in BESIDE_KINDS
        for series_id, member in entry.members.items()
        if state.end_ns - entry.incident.opened_ns < settings.adopt_after_ns or broke_limit(member)
    ]
    ids.extend(fall.sighting.series_id for fall in state.pending)
    if ids and len(series):
        wanted = np.array(ids, dtype=np.int64)
        at = np.minimum(np.searchsorted(series, wanted), len(series) - 1)
        frozen[at[series[at] == wanted]] = True
    return frozen
