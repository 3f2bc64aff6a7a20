"""Traffic that is zero though its source is heard, and the burst that may follow when it comes back.

A zero is judged by what is known of the series:

    what is expected at this hour is known        the chance that nobody called for so long, from the calls that are
                                                  expected in the run of zeros and how they are spread; a usual zero
                                                  is expected and proves nothing, an unusual one is told from the
                                                  second window on, as soon as the run is too long to be chance
    nothing is expected yet                       a static limit: busy for some minutes, then zero for some windows
    a pause about as long is usual here           no stop at all: the longest pauses of this week and the last are
                                                  remembered, with and without a baseline

Expected is the lower of the profile and of what was expected as the run began, which knows today's level. Calls are
taken as over-dispersed counts (negative binomial): of m expected in a window none comes with a chance of
(1 + b m) ** (-1 / b), b from the width of the band; b = 0 is plain counting.

Calls that could not come are owed: a rise after a stop is no news while it brings no more than these, for a bounded time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.settings import GuardSettings

_Longs = NDArray[np.int64]
_Floats = NDArray[np.float64]

PAUSES = 3
"""So many of the longest pauses of a week are remembered."""

_WEEK_NS = 7 * 86_400 * 10**9
_SPREADS_A_BAND = 5.0
"""A band reaches at least so many spreads to each side, at sensitivity normal: more makes stops a little slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopState:
    """Runs of zero traffic, one row a series (S); rows of other kinds stay as they are.

    Attributes:
        busy_count: windows in a row with traffic at or over the static rate; kept while traffic is zero.
        static_count: windows in a row with zero traffic after it was busy long enough; below zero, so many are forgiven.
        first_ns: start of the first of the run, 0 when there is none.
        run_count: windows of the run, whatever came before it.
        rate: calls a second expected as the run began; NaN where nothing was.
        clumping: b above.
        evidence: minus the logarithm of the chance that nobody called in the run; NaN when the stop was accepted.
        missed: calls that were expected while none came, or the source was silent.
        owed: calls that may still come late, and ...
        owed_until_ns: ... until when.
        pauses: int64[2 * PAUSES, S], windows of the longest runs that ended: this week's, then last week's.
        week: number of the week of the first half of `pauses`.
    """

    busy_count: _Longs
    static_count: _Longs
    first_ns: _Longs
    run_count: _Longs
    rate: _Floats
    clumping: _Floats
    evidence: _Floats
    missed: _Floats
    owed: _Floats
    owed_until_ns: _Longs
    pauses: _Longs
    week: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Traffic that has stopped.

    Attributes:
        column: of the series.
        first_ns: start of the first window of the run.
        window_count: windows of the run.
        missed: calls that were expected in it; 0 where nothing was expected.
        static: whether the static limit says so, and not what is expected.
    """

    column: int
    first_ns: int
    window_count: int
    missed: float
    static: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What was thought of one window before it was seen, rows of S.

    Attributes:
        usual: float64, the profile; NaN where unknown.
        expected, lower: float32, middle and lower edge of the band.
    """

    usual: _Floats
    expected: NDArray[np.float32]
    lower: NDArray[np.float32]


def no_stops(series_count: int) -> StopState:
    """The state before any window."""

    def longs() -> _Longs:
        return np.zeros(series_count, np.int64)

    def floats() -> _Floats:
        return np.zeros(series_count)

    return StopState(
        busy_count=longs(),
        static_count=longs(),
        first_ns=longs(),
        run_count=longs(),
        rate=floats(),
        clumping=floats(),
        evidence=floats(),
        missed=floats(),
        owed=floats(),
        owed_until_ns=longs(),
        pauses=np.zeros((2 * PAUSES, series_count), np.int64),
    )


def watch_stops(
    state: StopState,
    layout: Layout,
    *,
    start_ns: int,
    step_ns: int,
    value: NDArray[np.float32],
    unheard: NDArray[np.bool_],
    silent: NDArray[np.bool_],
    thought: Thought,
    settings: GuardSettings,
) -> tuple[StopState, list[Stop], frozenset[int]]:
    """Look at one window (rows of S).

    Returns:
        The new state, what has stopped, in column order, and columns whose calls of earlier may still come late.

    Args:
        state: as the window before left it.
        layout: of the series.
        start_ns: of the window.
        step_ns: of the window.
        value: its values.
        unheard: bool[K], services that were not heard in the window before.
        silent: bool[K], services that are silent for so long that they may be blind.
        thought: what was expected of it.
        settings: the limits.
    """
    at = layout.traffic
    if not at.size:
        return state, [], frozenset()
    traffic = value[at]
    idle = ~(traffic > 0.0)
    missing = np.isnan(traffic)
    state = _with_busy(state, at, traffic, idle, missing, step_ns, settings)
    state = _of_week(state, start_ns)
    running = (state.run_count[at] > 0) | (state.static_count[at] != 0)
    ended = at[running & ~idle]
    if ended.size:
        state = _ended(state, ended, start_ns=start_ns, step_ns=step_ns, settings=settings)
    owing = np.flatnonzero(state.owed)
    if owing.size:
        state, owing = _paid_back(state, owing, value, thought, start_ns=start_ns, step_ns=step_ns)
    if silent.any():
        state = _silent(
            state, at[silent[layout.service_of[at]]], thought, step_ns=step_ns, settings=settings
        )
    zeros = at[idle & ~missing]
    found: list[Stop] = []
    if zeros.size:
        # A source that comes back was there for a part of the window only.
        partly = unheard[layout.service_of[zeros]]
        state = _longer(state, zeros, partly, thought, start_ns=start_ns, step_ns=step_ns)
        found = _stops(state, zeros, settings)
    return state, found, frozenset(owing.tolist())


def accepted(state: StopState, columns: NDArray[np.intp]) -> StopState:
    """The state in which zero traffic of these series is no stop, until they have calls again."""
    busy_count, evidence, static = (
        state.busy_count.copy(),
        state.evidence.copy(),
        state.static_count.copy(),
    )
    busy_count[columns] = 0
    static[columns] = 0
    evidence[columns] = np.nan
    return replace(state, busy_count=busy_count, evidence=evidence, static_count=static)


def _with_busy(
    state: StopState,
    at: _Longs,
    traffic: NDArray[np.float32],
    idle: NDArray[np.bool_],
    missing: NDArray[np.bool_],
    step_ns: int,
    settings: GuardSettings,
) -> StopState:
    before = state.busy_count[at]
    busy = before + 1
    busy[~(traffic >= settings.stopped_rate_per_s)] = 0
    # Zero traffic keeps the run that arms the static limit, a window without a value keeps any run.
    armed = idle & (missing | (before * step_ns >= settings.stopped_after_ns))
    busy[idle] = np.where(armed, before, 0)[idle]
    busy_count = state.busy_count.copy()
    busy_count[at] = busy
    return replace(state, busy_count=busy_count)


def _of_week(state: StopState, start_ns: int) -> StopState:
    """The state with this week's pauses in the first half."""
    week = start_ns // _WEEK_NS
    if week == state.week:
        return state
    pauses = np.zeros_like(state.pauses)
    if week == state.week + 1:
        pauses[PAUSES:] = state.pauses[:PAUSES]
    elif week < state.week:
        # The clock was ahead; what was seen is as good in the week that it was really seen in.
        pauses = state.pauses
    return replace(state, pauses=pauses, week=week)


def _ended(
    state: StopState, ended: _Longs, *, start_ns: int, step_ns: int, settings: GuardSettings
) -> StopState:
    """The state after calls came again: the pause is remembered, and the calls that are missing are owed."""
    run_count = state.run_count[ended]
    pauses = state.pauses.copy()
    kept = np.concatenate([pauses[:PAUSES, ended], run_count[None]])
    pauses[:PAUSES, ended] = np.sort(kept, axis=0)[:0:-1]
    owed, owed_until_ns = state.owed.copy(), state.owed_until_ns.copy()
    lasted_ns = np.clip(
        run_count * step_ns, settings.backlog_min_ns, settings.backlog_max_ns
    ).astype(np.int64)
    missed = state.missed[ended] * settings.backlog_ratio
    # A pause that may be chance leaves nothing behind; after a silence nobody knows.
    is_stop = (run_count == 0) | (state.evidence[ended] >= settings.stop_evidence / 2)
    is_stop &= missed > 0
    owed[ended[is_stop]] = missed[is_stop]
    owed_until_ns[ended[is_stop]] = start_ns + lasted_ns[is_stop]
    cleared = {}
    for name in ("run_count", "evidence", "missed", "first_ns", "static_count"):
        row = getattr(state, name).copy()
        row[ended] = 0
        cleared[name] = row
    return replace(state, pauses=pauses, owed=owed, owed_until_ns=owed_until_ns, **cleared)


def _paid_back(
    state: StopState,
    owing: NDArray[np.intp],
    value: NDArray[np.float32],
    thought: Thought,
    *,
    start_ns: int,
    step_ns: int,
) -> tuple[StopState, NDArray[np.intp]]:
    """The state after calls above the usual were taken off what is owed, and for which columns any still was."""
    in_time = start_ns < state.owed_until_ns[owing]
    above = (value[owing] - thought.usual[owing]) * step_ns / 1e9
    left = state.owed[owing] - np.where(above > 0, above, 0.0)
    owed = state.owed.copy()
    owed[owing] = np.where(in_time, np.maximum(left, 0.0), 0.0)
    return replace(state, owed=owed), owing[in_time]


def _silent(
    state: StopState,
    columns: _Longs,
    thought: Thought,
    *,
    step_ns: int,
    settings: GuardSettings,
) -> StopState:
    """The state where the source is silent: zeros from before do not count, calls have time to come back."""
    forgiven = -(-settings.stopped_after_ns // step_ns) - settings.stopped_window_count
    names = ("static_count", "first_ns", "run_count", "evidence", "missed")
    static, first_ns, run_count, evidence, missed = (getattr(state, name).copy() for name in names)
    static[columns], first_ns[columns] = -max(0, forgiven), 0
    run_count[columns] = 0
    evidence[columns] = np.where(np.isnan(evidence[columns]), np.nan, 0.0)
    missed[columns] += np.nan_to_num(np.maximum(thought.usual[columns], 0.0)) * step_ns / 1e9
    return replace(
        state,
        static_count=static,
        first_ns=first_ns,
        run_count=run_count,
        evidence=evidence,
        missed=missed,
    )


def _longer(
    state: StopState,
    zeros: _Longs,
    partly: NDArray[np.bool_],
    thought: Thought,
    *,
    start_ns: int,
    step_ns: int,
) -> StopState:
    """The state after one more window of zero traffic of these columns."""
    step_s = step_ns / 1e9
    names = ("first_ns", "run_count", "rate", "clumping", "evidence", "missed", "static_count")
    first_ns, run_count, rate, clumping, evidence, missed, static = (
        getattr(state, name).copy() for name in names
    )
    fresh = zeros[run_count[zeros] == 0]
    expected = thought.expected[fresh].astype(np.float64)
    rate[fresh] = expected
    clumping[fresh] = _clumping(expected, thought.lower[fresh].astype(np.float64), step_s=step_s)
    unmarked = zeros[first_ns[zeros] == 0]
    first_ns[unmarked] = start_ns
    usual = np.maximum(thought.usual[zeros], 0.0)
    calls = np.minimum(usual, np.maximum(rate[zeros], 0.0)) * step_s
    calls = np.nan_to_num(calls)
    b = clumping[zeros]
    lumped = b > 0
    safe = np.where(lumped, b, 1.0)
    gained = np.where(lumped, np.log1p(calls * safe) / safe, calls)
    forgiven = static[zeros] < 0
    # Where no low value can be strange, nobody asked to be told of a stop.
    ignored = np.isneginf(thought.lower[zeros])
    evidence[zeros] += np.where(forgiven | partly | ignored, 0.0, gained)
    missed[zeros] += np.nan_to_num(usual) * step_s
    run_count[zeros] += 1
    armed = state.busy_count[zeros] > 0
    static[zeros] = np.where(armed | forgiven, static[zeros] + 1, 0)
    return replace(
        state,
        first_ns=first_ns,
        run_count=run_count,
        rate=rate,
        clumping=clumping,
        evidence=evidence,
        missed=missed,
        static_count=static,
    )


def _clumping(expected: _Floats, lower: _Floats, *, step_s: float) -> _Floats:
    calls = np.maximum(expected, 0.0) * step_s
    variance = np.square((expected - lower) / _SPREADS_A_BAND * step_s)
    found = (variance - calls) / np.square(np.where(calls > 0, calls, 1.0))
    return np.where(np.isfinite(found) & (calls > 0), np.maximum(found, 0.0), 0.0)


def _stops(state: StopState, zeros: _Longs, settings: GuardSettings) -> list[Stop]:
    run_count = state.run_count[zeros]
    likely = (run_count >= 2) & (
        (state.evidence[zeros] >= settings.stop_evidence)
        | (state.static_count[zeros] >= settings.stopped_window_count)
    )
    found: list[Stop] = []
    for column in zeros[likely]:
        known = bool(np.isfinite(state.rate[column]))
        # With a baseline, what happens thrice in two weeks is usual; without one, what happened twice must do.
        nth = PAUSES if known else PAUSES - 1
        usual = int(np.sort(state.pauses[:, column])[-nth])
        count = int(state.run_count[column])
        enough = (
            state.evidence[column] >= settings.stop_evidence
            if known
            else state.static_count[column] >= settings.stopped_window_count
        )
        if enough and count > settings.pause_ratio * usual:
            found.append(
                Stop(
                    column=int(column),
                    first_ns=int(state.first_ns[column]),
                    window_count=count,
                    missed=float(state.missed[column]),
                    static=not known,
                )
            )
    return found
