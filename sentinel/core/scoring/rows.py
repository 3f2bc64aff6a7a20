"""Series come and go: which rows a state holds, and what is kept of those that are not in the present block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.state import COLUMNS, DetectorState, new_state

PARKED_MAX = 20_000
"""Series that are known but not in the present block."""

_OF_AN_INCIDENT = ("shifted", "shifted_square", "held_value", "held_usual", "held_square")
"""What is followed while learning stands still: where the level would be, if it did not."""


def with_series(
    state: DetectorState, parked: DetectorState, series: NDArray[np.int64], *, base_cut: float
) -> tuple[DetectorState, DetectorState]:
    """The state for exactly these series, and what is known about all others.

    A series that is not in a block any more is parked, not forgotten; one that comes (back) takes what is
    parked of it. Of parked series those that know least go first when there are too many.
    """
    if state.series is series or np.array_equal(state.series, series):
        return state, parked
    present = new_state(series, step_ns=state.step_ns, base_cut=base_cut)
    present.next_ns, present.hour, present.clock = state.next_ns, state.hour, state.clock
    copy_rows(parked, present)
    copy_rows(state, present)
    joined = ~np.isin(series, state.series)
    _forget_moment(present, np.flatnonzero(joined))
    others = np.setdiff1d(np.union1d(state.series, parked.series), series, assume_unique=True)
    aside = new_state(others, step_ns=state.step_ns, base_cut=base_cut)
    aside.clock = state.clock
    copy_rows(parked, aside)
    copy_rows(state, aside)
    return present, _bounded(aside)


def copy_rows(
    source: DetectorState, target: DetectorState, *, only: NDArray[np.bool_] | None = None
) -> None:
    """Rows of `source` into `target`, for the series that both hold (and that `only`, of target's, marks).

    Both follow the same clock.
    """
    _, theirs, mine = np.intersect1d(
        source.series, target.series, assume_unique=True, return_indices=True
    )
    if only is not None:
        theirs, mine = theirs[only[mine]], mine[only[mine]]
    for name in COLUMNS:
        if name != "series":
            getattr(target, name)[..., mine] = getattr(source, name)[..., theirs]
    target.hourly = None


def select_rows(
    state: DetectorState, wanted: NDArray[np.bool_], *, base_cut: float
) -> DetectorState:
    """The state of some of its series."""
    part = new_state(state.series[wanted], step_ns=state.step_ns, base_cut=base_cut)
    part.next_ns, part.hour, part.clock = state.next_ns, state.hour, state.clock
    copy_rows(state, part)
    return part


def forget_moment(state: DetectorState, *, held: NDArray[np.bool_]) -> None:
    """Leave of every series what it takes with it when it was away, as those do that are parked.

    Args:
        state: changed in place.
        held: bool[S], series whose incident is open, and is forgotten too.
    """
    _forget_moment(state, np.arange(state.series_count))
    fresh = new_state(state.series, step_ns=state.step_ns, base_cut=0.0)
    for name in _OF_AN_INCIDENT:
        getattr(state, name)[..., held] = getattr(fresh, name)[..., held]
    state.hourly = None


def _forget_moment(state: DetectorState, place: NDArray[np.intp]) -> None:
    """What holds only for windows just before: a series that was away has none."""
    for name in ("recent", "previous", "horizon_verdict"):
        getattr(state, name)[..., place] = np.nan
    for name in COLUMNS:
        if name.startswith("now_"):
            getattr(state, name)[..., place] = 0.0
    state.last_over[:, place] = -1
    state.frozen_from[place] = -1


def _bounded(parked: DetectorState) -> DetectorState:
    if parked.series_count <= PARKED_MAX:
        return parked
    most = np.argsort(-parked.seen, kind="stable")[:PARKED_MAX]
    wanted = np.zeros(parked.series_count, np.bool_)
    wanted[most] = True
    return select_rows(parked, wanted, base_cut=0.0)
