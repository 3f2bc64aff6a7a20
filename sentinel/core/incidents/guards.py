"""Static guards: what is wrong from the first minute on, whatever the baseline has or has not learned.

A guard looks at the window's values only. It trips when

    errors    share >= limit for n windows in a row, with enough failed calls in the run, or in the last
              calls of a trickle;
    latency   95th percentile >= limit for n windows in a row, with enough calls in the run;
    gauge     at its limit or beyond it for n windows in a row, on the side that is bad;
    stopped   traffic is zero for longer than chance allows, or, before anything is expected of it, for n windows
              after it had been busy long enough; see `stops`;
    blind     the source is not heard at all for a while after it had been heard long enough;
    late      for a while its data has come after its windows were closed.

A window without a value neither adds to a run nor breaks it, because "no calls" says nothing about failing.
Whatever belongs to a source that is not heard has no value, so a blind source trips only "blind". When it comes back, zeros
from before its silence do not count any more, and its calls have as long to come back as they must have been there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.settings import MINUTE_NS, GuardSettings
from sentinel.core.incidents.stops import Stop, StopState, Thought, no_stops, watch_stops
from sentinel.core.incidents.text import span
from sentinel.core.model import LATE_WEIGHT, UNREACHED_WEIGHT, Kind

STATIC = "static guard"
"""What the clause of a limit begins with that holds whatever was learned."""

_NEVER = 2**40
_RUN_STALE_NS = 5 * MINUTE_NS
"""A run older than this ends at a window without a value, so that two bad windows hours apart are not a run."""

_SURE = 2.0
"""How many standard deviations a share of the last calls must lie above its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """Runs of windows, one row a series (S) or a service (K).

    Attributes:
        over_count, over_calls, over_first_ns: of the run at or over the limit: windows, calls, first start.
        stops: of zero traffic.
        heard_count, unheard_count: of each service; windows heard in all, and not heard in a row.
        late_count, since_late_count: of each service; windows in which its data came too late, since it last came in
            time, and windows since the latest of them.
    """

    over_count: NDArray[np.int64]
    over_calls: NDArray[np.float64]
    over_first_ns: NDArray[np.int64]
    stops: StopState
    heard_count: NDArray[np.int64]
    unheard_count: NDArray[np.int64]
    late_count: NDArray[np.int64]
    since_late_count: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A guard that holds in this window.

    Attributes:
        column: of the series.
        first_ns: start of the first window of the run.
        direction: +1 too high, -1 too low.
        why: one clause for the page.
    """

    column: int
    first_ns: int
    direction: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of failed calls as they were judged: with those of the windows before, where a window has few.

    Attributes:
        ratio, calls: float32[S]; of what is no share they are the window's own value and weight.
    """

    ratio: NDArray[np.float32]
    calls: NDArray[np.float32]


def no_runs(series_count: int, service_count: int) -> GuardState:
    """The state before any window."""
    return GuardState(
        over_count=np.zeros(series_count, dtype=np.int64),
        over_calls=np.zeros(series_count, dtype=np.float64),
        over_first_ns=np.zeros(series_count, dtype=np.int64),
        stops=no_stops(series_count),
        heard_count=np.zeros(service_count, dtype=np.int64),
        unheard_count=np.zeros(service_count, dtype=np.int64),
        late_count=np.zeros(service_count, dtype=np.int64),
        since_late_count=np.full(service_count, _NEVER, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the guards say of one window.

    Attributes:
        state: to be handed in with the next.
        trips: in column order.
        blind: bool[K], services that are blind.
        late: bool[K], services whose data comes too late.
        known: bool[K], services that were heard for long enough for their silence to mean something.
        any_heard: whether any service is heard in this window, in time or late.
        behind: bool[K], services that are not heard because who tells of them was not reached.
        all_blind: whether some service is blind, and nothing is heard of any of several that are known.
        owing: columns whose calls of a stop may still come, so that a rise is no news.
    """

    state: GuardState
    trips: list[Trip]
    blind: NDArray[np.bool_]
    late: NDArray[np.bool_]
    known: NDArray[np.bool_]
    any_heard: bool
    behind: NDArray[np.bool_]
    all_blind: bool
    owing: frozenset[int]


def watch(
    state: GuardState,
    layout: Layout,
    *,
    start_ns: int,
    step_ns: int,
    value: NDArray[np.float32],
    weight: NDArray[np.float32],
    heard: NDArray[np.bool_],
    thought: Thought,
    judged: Shares,
    settings: GuardSettings,
) -> Watched:
    """Look at one window, rows of S."""
    state, trips = _over_limit(
        state, layout, start_ns=start_ns, value=value, weight=weight, settings=settings
    )
    trips += _of_last_calls(
        trips, layout, start_ns=start_ns, weight=weight, judged=judged, settings=settings
    )
    heard_now = layout.heard_services(heard)
    unheard_count = np.where(heard_now, 0, state.unheard_count + 1)
    forgotten = unheard_count * step_ns >= settings.forget_after_ns
    heard_count = np.where(forgotten, 0, state.heard_count + heard_now)
    # One window alone is no silence, however wide: who is asked once a window may be asked a moment too early.
    silent = (unheard_count * step_ns >= settings.blind_after_ns) & (unheard_count > 1)
    late_now = _late_services(layout, weight=weight, heard=heard)
    late_count = np.where(late_now, state.late_count + 1, np.where(heard_now, 0, state.late_count))
    since_late_count = np.where(late_now, 0, np.minimum(state.since_late_count + 1, _NEVER))
    # Not multiplied: "never" in nanoseconds is beyond 64 bits, and was below 0 for windows of a second.
    lately = since_late_count < -(-settings.blind_after_ns // step_ns)
    known = layout.watched & (heard_count * step_ns >= settings.blind_heard_ns)
    late = known & lately & (late_count * step_ns >= settings.blind_after_ns)
    blind = known & silent & ~lately
    any_heard = bool(heard_now.any() or late_now.any())
    stops, stopped, owing = watch_stops(
        state.stops,
        layout,
        start_ns=start_ns,
        step_ns=step_ns,
        value=value,
        unheard=state.unheard_count > 0,
        silent=silent,
        thought=thought,
        settings=settings,
    )
    trips = sorted(
        trips + [_trip(stop, step_ns=step_ns) for stop in stopped], key=lambda trip: trip.column
    )
    state = replace(
        state,
        stops=stops,
        heard_count=heard_count,
        unheard_count=unheard_count,
        late_count=late_count,
        since_late_count=since_late_count,
    )
    return Watched(
        state=state,
        trips=trips,
        blind=blind,
        late=late,
        known=known,
        any_heard=any_heard,
        behind=_behind_services(layout, weight=weight) & ~heard_now,
        all_blind=not any_heard and bool(blind.any()) and int(known.sum()) > 1,
        owing=owing,
    )


def _late_services(
    layout: Layout, *, weight: NDArray[np.float32], heard: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool[K], services of which something came too late, and no calls in time."""
    late = weight == LATE_WEIGHT
    if not late.any():
        return np.zeros(len(layout.services), np.bool_)
    calls = heard & (layout.kind != Kind.GAUGE)
    in_time: NDArray[np.bool_] = np.logical_or.reduceat(
        calls[layout.by_service], layout.service_start
    )
    found: NDArray[np.bool_] = np.logical_or.reduceat(
        late[layout.by_service], layout.service_start
    )
    return found & ~in_time


def _behind_services(layout: Layout, *, weight: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool[K], services of which somebody else tells who was not reached."""
    unreached = weight == UNREACHED_WEIGHT
    if not unreached.any():
        return np.zeros(len(layout.services), np.bool_)
    found: NDArray[np.bool_] = np.logical_or.reduceat(
        unreached[layout.by_service], layout.service_start
    )
    return found


def _over_limit(
    state: GuardState,
    layout: Layout,
    *,
    start_ns: int,
    value: NDArray[np.float32],
    weight: NDArray[np.float32],
    settings: GuardSettings,
) -> tuple[GuardState, list[Trip]]:
    over = value >= layout.limit
    if layout.low.size:
        over[layout.low] = value[layout.low] <= layout.limit[layout.low]
    if not over.any() and not np.count_nonzero(state.over_count):
        return state, []
    is_errors = layout.kind == Kind.ERRORS
    calls = np.where(is_errors, value.astype(np.float64) * weight, weight)
    missing = np.isnan(value)
    stale = missing & (start_ns - state.over_first_ns > _RUN_STALE_NS)
    broken = (~missing & ~over) | stale
    before = np.where(broken, 0, state.over_count)
    over_count = before + over
    over_first_ns = np.where(over & (before == 0), start_ns, state.over_first_ns)
    over_calls = np.where(broken, 0.0, state.over_calls) + np.where(over, calls, 0.0)
    tripped = over & (over_count >= layout.window_count) & (over_calls >= layout.call_count)
    low = set(layout.low.tolist())
    trips = [
        Trip(
            column=column,
            first_ns=int(over_first_ns[column]),
            direction=-1 if column in low else 1,
            why=_why_over(layout, column, settings),
        )
        for column in np.flatnonzero(tripped).tolist()
    ]
    state = replace(
        state, over_count=over_count, over_calls=over_calls, over_first_ns=over_first_ns
    )
    return state, trips


def _trip(stop: Stop, *, step_ns: int) -> Trip:
    lasted = span(stop.window_count * step_ns / 1e9)
    return Trip(
        column=stop.column,
        first_ns=stop.first_ns,
        direction=-1,
        why=f"{STATIC}: calls stopped though the source is heard"
        if stop.static
        else f"no call in {lasted} where about {stop.missed:.0f} were expected, though the source is heard",
    )


def _of_last_calls(
    known: list[Trip],
    layout: Layout,
    *,
    start_ns: int,
    weight: NDArray[np.float32],
    judged: Shares,
    settings: GuardSettings,
) -> list[Trip]:
    """Trips of errors that come in too few calls for a run of windows: the last calls are the run.

    They must be over the limit by more than chance: of thirty calls of which two in five fail, every tenth time half do.
    """
    at = layout.errors
    at = at[(judged.ratio[at] >= layout.limit[at]) & (judged.calls[at] > weight[at])]
    if not at.size:
        return []
    calls, limit = judged.calls[at].astype(np.float64), settings.error_ratio
    failed = judged.ratio[at] * calls
    surely = failed - limit * calls >= _SURE * np.sqrt(limit * (1 - limit) * calls)
    at = at[surely & (failed >= settings.error_failed_count)]
    why = _why_errors(settings)
    told = {trip.column for trip in known}
    return [
        Trip(column=column, first_ns=start_ns, direction=1, why=why)
        for column in at.tolist()
        if column not in told
    ]


def _why_over(layout: Layout, column: int, settings: GuardSettings) -> str:
    if (guard := layout.gauge_guards.get(column)) is not None:
        return f"{STATIC}: {layout.keys[column].signal} is {guard.clause}"
    if int(layout.kind[column]) == Kind.ERRORS:
        return _why_errors(settings)
    return f"{STATIC}: the 95th percentile is at least {settings.latency_s:g} s"


def _why_errors(settings: GuardSettings) -> str:
    return f"{STATIC}: at least {settings.error_ratio * 100:g} % of the calls fail"
