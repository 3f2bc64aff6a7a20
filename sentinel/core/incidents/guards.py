"""Static guards: what is wrong from the first minute on, whatever the baseline has or has not learned.

A guard looks at the window's values only. It trips when

    errors    share >= limit for n windows in a row, with enough failed calls in the run;
    latency   95th percentile >= limit for n windows in a row, with enough calls in the run;
    stopped   traffic is exactly zero for n windows after it had been busy long enough;
    blind     the source is not heard at all for a while after it had been heard long enough.

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
from sentinel.core.model import Kind

_Counts = NDArray[np.int64]
_RUN_STALE_NS = 5 * MINUTE_NS
"""A run older than this ends at a window without a value, so that two bad windows hours apart are not a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """Runs of windows, one row a series (S) or a service (K).

    Attributes:
        over_count, over_calls, over_first_ns: of the run at or over the limit: windows, calls, first start.
        busy_count: windows in a row with traffic at or over the rate; kept while traffic is zero.
        zero_count: windows in a row with zero traffic after it was busy long enough; below zero, so many are forgiven.
        zero_first_ns: start of the first of them, 0 when there is none.
        heard_count, unheard_count: of each service; windows heard in all, and not heard in a row.
    """

    over_count: NDArray[np.int64]
    over_calls: NDArray[np.float64]
    over_first_ns: NDArray[np.int64]
    busy_count: NDArray[np.int64]
    zero_count: NDArray[np.int64]
    zero_first_ns: NDArray[np.int64]
    heard_count: NDArray[np.int64]
    unheard_count: NDArray[np.int64]


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


def no_runs(series_count: int, service_count: int) -> GuardState:
    """The state before any window."""
    return GuardState(
        over_count=np.zeros(series_count, dtype=np.int64),
        over_calls=np.zeros(series_count, dtype=np.float64),
        over_first_ns=np.zeros(series_count, dtype=np.int64),
        busy_count=np.zeros(series_count, dtype=np.int64),
        zero_count=np.zeros(series_count, dtype=np.int64),
        zero_first_ns=np.zeros(series_count, dtype=np.int64),
        heard_count=np.zeros(service_count, dtype=np.int64),
        unheard_count=np.zeros(service_count, dtype=np.int64),
    )


def watch(
    state: GuardState,
    layout: Layout,
    *,
    start_ns: int,
    step_ns: int,
    value: NDArray[np.float32],
    weight: NDArray[np.float32],
    heard: NDArray[np.bool_],
    settings: GuardSettings,
) -> tuple[GuardState, list[Trip], NDArray[np.bool_]]:
    """Look at one window (rows of S); the new state, the trips in column order, and which services are blind."""
    state, trips = _over_limit(
        state, layout, start_ns=start_ns, value=value, weight=weight, settings=settings
    )
    busy_count, zero_count, zero_first_ns, stopped = _stopped(
        state, layout, start_ns=start_ns, step_ns=step_ns, value=value, settings=settings
    )
    trips = sorted(trips + stopped, key=lambda trip: trip.column)
    heard_now = layout.heard_services(heard)
    unheard_count = np.where(heard_now, 0, state.unheard_count + 1)
    forgotten = unheard_count * step_ns >= settings.forget_after_ns
    heard_count = np.where(forgotten, 0, state.heard_count + heard_now)
    blind = (
        layout.watched
        & (unheard_count * step_ns >= settings.blind_after_ns)
        & (heard_count * step_ns >= settings.blind_heard_ns)
    )
    silent = unheard_count * step_ns >= settings.blind_after_ns
    if silent.any():
        at = layout.traffic[silent[layout.service_of[layout.traffic]]]
        forgiven = -(-settings.stopped_after_ns // step_ns) - settings.stopped_window_count
        zero_count, zero_first_ns = zero_count.copy(), zero_first_ns.copy()
        zero_count[at], zero_first_ns[at] = -max(0, forgiven), 0
    state = replace(
        state,
        busy_count=busy_count,
        zero_count=zero_count,
        zero_first_ns=zero_first_ns,
        heard_count=heard_count,
        unheard_count=unheard_count,
    )
    return state, trips, blind


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
    if not over.any() and not np.count_nonzero(state.over_count):
        return state, []
    is_errors = layout.kind == Kind.ERRORS
    calls = np.where(is_errors, value.astype(np.float64) * weight, weight)
    needed = np.where(is_errors, settings.error_window_count, settings.latency_window_count)
    missing = np.isnan(value)
    stale = missing & (start_ns - state.over_first_ns > _RUN_STALE_NS)
    broken = (~missing & ~over) | stale
    before = np.where(broken, 0, state.over_count)
    over_count = before + over
    over_first_ns = np.where(over & (before == 0), start_ns, state.over_first_ns)
    over_calls = np.where(broken, 0.0, state.over_calls) + np.where(over, calls, 0.0)
    enough = np.where(is_errors, settings.error_failed_count, settings.latency_call_count)
    tripped = over & (over_count >= needed) & (over_calls >= enough)
    trips = [
        Trip(
            column=int(column),
            first_ns=int(over_first_ns[column]),
            direction=1,
            why=_why_over(Kind(int(layout.kind[column])), settings),
        )
        for column in np.flatnonzero(tripped)
    ]
    state = replace(
        state, over_count=over_count, over_calls=over_calls, over_first_ns=over_first_ns
    )
    return state, trips


def _stopped(
    state: GuardState,
    layout: Layout,
    *,
    start_ns: int,
    step_ns: int,
    value: NDArray[np.float32],
    settings: GuardSettings,
) -> tuple[_Counts, _Counts, _Counts, list[Trip]]:
    """The new `busy_count`, `zero_count` and `zero_first_ns`, and the trips."""
    at = layout.traffic
    traffic = value[at]
    before = state.busy_count[at]
    busy = before + 1
    busy[~(traffic >= settings.stopped_rate_per_s)] = 0
    # Zero traffic keeps the run that arms the guard, a window without a value keeps any run.
    idle = np.flatnonzero(~(traffic > 0.0))
    missing = np.isnan(traffic[idle])
    armed = ~missing & (before[idle] * step_ns >= settings.stopped_after_ns)
    busy[idle] = np.where(missing | armed, before[idle], 0)
    busy_count = state.busy_count.copy()
    busy_count[at] = busy
    zeros, first_ns = state.zero_count, state.zero_first_ns
    trips: list[Trip] = []
    if armed.any() or np.count_nonzero(zeros):
        silent, unknown = at[idle[armed]], at[idle[missing]]
        first_ns = first_ns.copy()
        first_ns[silent[(zeros[silent] == 0) | (first_ns[silent] == 0)]] = start_ns
        counts = np.zeros_like(zeros)
        counts[unknown] = zeros[unknown]
        counts[silent] = zeros[silent] + 1
        zeros = counts
        trips = [
            Trip(
                column=int(column),
                first_ns=int(first_ns[column]),
                direction=-1,
                why="static guard: calls stopped though the source is heard",
            )
            for column in silent[zeros[silent] >= settings.stopped_window_count]
        ]
    return busy_count, zeros, first_ns, trips


def _why_over(kind: Kind, settings: GuardSettings) -> str:
    if kind is Kind.ERRORS:
        return f"static guard: at least {settings.error_ratio * 100:g} % of the calls fail"
    return f"static guard: the 95th percentile is at least {settings.latency_s:g} s"
