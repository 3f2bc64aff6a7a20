"""A new level of what multiplies: traffic and latency have the same day at another height.

The profile of such a series times a ratio is what is expected once a new level was adopted, and its spread shrinks or grows
with it. A sum instead of a ratio fits at the hour of the adoption alone: of a day that swings by half, a fifth of
the traffic would be 20 % of the peak and nothing at night.

A fit that knows the adoption has the level in its profile, and from then on nothing is multiplied:

    adopted, and the fit in effect does not know it    profile * ratio
    adopted, and the fit knows it                      profile
    left again, and the fit does not know that         profile / ratio

Left is a level when values are at the one before it. That is no change to page: for two weeks the way back is known
(`back_ratio`), and what was adopted may have been a long fault.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import AdoptedLevels, Kind
from sentinel.core.scoring.borrow import widen
from sentinel.core.scoring.settings import DAY_NS
from sentinel.core.scoring.state import VIEWS, DetectorState

MULTIPLYING = np.array([Kind.TRAFFIC, Kind.LATENCY], np.int8)
_HALF_LIFE_S = 7200.0
"""Of the means that the ratio is made of: long against noise, short against a fault that grows."""
_RATIO_LEAST, _RATIO_MOST = 1.15, 50.0
"""Below, a sum is as good; beyond, nothing is left to multiply."""
_SPREAD_MARGIN = 1.1
"""Of a spread that was seen for some hours."""
STOOD_STILL = 1e6
"""A spread this many times smaller is none that could be multiplied: 0 stays 0."""
_BEGAN_WINDOWS = 3
"""An incident opens so many windows after it began."""
_BACK_NS = 14 * DAY_NS
_BACK_SHARE = 0.6
"""Of the way back, on a scale of ratios, that the level has gone when the adopted one is left."""
_TINY = 1e-30
_MAX = np.float32(1e17)
"""The square of this is held by float32."""

_Halves = NDArray[np.float32]


def follow_multiple(
    state: DetectorState,
    value: _Halves,
    residual: _Halves,
    ratio: _Halves,
    still: NDArray[np.bool_] | None,
    *,
    first_window: int,
) -> None:
    """Take windows (float32[T, S]) into what multiple of the profile held series are at, one after the other.

    Args:
        state: changed in place.
        value: of the windows.
        residual: value - profile.
        ratio: share of the scale that belongs to the time of day.
        still: bool[S], series that stand still; None for none.
        first_window: number of the first window.
    """
    place = np.flatnonzero(still) if still is not None else ()
    if not len(place):
        return
    least = 1 - 0.5 ** (state.grid.step_s / _HALF_LIFE_S)
    mean, usual, square = (
        state.held_value[place],
        state.held_usual[place],
        state.held_square[place],
    )
    since = first_window - state.frozen_from[place] + 1
    for row in range(len(value)):
        now = np.clip(value[row, place], -_MAX, _MAX)
        expected = np.clip(now - residual[row, place], -_MAX, _MAX)
        there = np.isfinite(now) & np.isfinite(expected)
        fresh = np.isnan(mean)
        # A plain mean at first.
        gain = np.maximum(1 / np.maximum(since + row, 1), least).astype(np.float32)
        new_mean = np.where(fresh, now, mean + gain * (now - mean))
        new_usual = np.where(fresh, expected, usual + gain * (expected - usual))
        multiple = new_mean / np.where(new_usual > 0, new_usual, np.float32(np.nan))
        apart = np.nan_to_num((now - multiple * expected) / ratio[row, place])
        np.clip(apart, -_MAX, _MAX, out=apart)
        new_square = np.where(fresh, np.float32(0), square + gain * (apart * apart - square))
        mean = np.where(there, new_mean, mean)
        usual = np.where(there, new_usual, usual)
        square = np.where(there, new_square, square)
    state.held_value[place], state.held_usual[place] = mean, usual
    state.held_square[place] = square


def adopt_multiple(
    state: DetectorState, place: NDArray[np.intp], *, kind: NDArray[np.int8], at_ns: int
) -> NDArray[np.bool_]:
    """Expect a multiple of the profile of these columns, where the kind (int8, of each) and what was seen allow it; which.

    Args:
        state: changed in place.
        place: columns whose level was held.
        kind: of each.
        at_ns: end of the window that was just learnt.
    """
    usual = state.held_usual[place].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = state.held_value[place].astype(np.float64) / usual
        far = np.maximum(ratio, 1 / ratio)
    known = np.isin(kind, MULTIPLYING) & (usual > 0) & (ratio > 0)
    known &= (far >= _RATIO_LEAST) & (far <= _RATIO_MOST)
    spread = np.sqrt(state.held_square[place].astype(np.float64))
    known &= np.all(state.scale[:, place] * STOOD_STILL > np.maximum(spread, _TINY), axis=0)
    place, ratio = place[known], ratio[known]
    if not place.size:
        return known
    began = (state.frozen_from[place] - _BEGAN_WINDOWS) * state.step_ns
    for name, new in (
        ("adopted_from", began),
        ("adopted_at", at_ns),
        ("adopted_left", 0),
        ("adopted_ratio", ratio),
    ):
        column = getattr(state, name)
        column[1:, place] = column[:-1, place]
        column[0, place] = new
    # A smaller level spreads as much less, or not quite, where counting does; a larger one at least as counting does.
    lowest = np.where(ratio < 1, ratio, np.sqrt(ratio))
    spread = spread[known]
    for view in range(VIEWS):
        seen = _SPREAD_MARGIN * spread / state.scale[view, place]
        state.adopted_spread[view, place] = np.fmax(seen, lowest)
    narrower = state.adopted_spread[:, place].astype(np.float64)
    _multiply(state, place, ratio, spread=narrower, far=_far(narrower, ratio))
    # What is left in `shifted` says that the level was adopted; see `hasten_back`.
    state.shifted[place] = 0.0
    state.frozen_from[place] = -1
    return known


def profile_ratio(state: DetectorState, known_ns: int) -> NDArray[np.float64] | None:
    """float64[S] that the profile is multiplied with, of a fit that knows what was adopted by `known_ns`; None for 1."""
    if not np.count_nonzero(state.adopted_at[0]):
        return None
    place = np.flatnonzero(state.adopted_at[0])
    at, left = state.adopted_at[:, place], state.adopted_left[:, place]
    step = state.adopted_ratio[:, place].astype(np.float64)
    unknown, is_left = at > known_ns, left > 0
    step = np.where(unknown & ~is_left, step, np.where(~unknown & (left > known_ns), 1 / step, 1))
    found = np.ones(state.series_count)
    found[place] = step[0] * step[1] * step[2]
    return found if np.any(found != 1) else None


def back_ratio(state: DetectorState, at_ns: int) -> NDArray[np.float64] | None:
    """float64[S] that what is usual is multiplied with to be at the level before the last adoption; NaN where none is lately."""
    if not np.count_nonzero(state.adopted_at[0]):
        return None
    place = np.flatnonzero(_may_go_back(state, at_ns))
    if not place.size:
        return None
    found = np.full(state.series_count, np.nan)
    found[place] = 1 / state.adopted_ratio[0, place].astype(np.float64)
    return found


def leave_levels(state: DetectorState, usual: NDArray[np.float64], *, at_ns: int) -> bool:
    """Leave adopted levels whose series are back at the one before; whether there were any.

    Args:
        state: changed in place.
        usual: float64[S], the profile times `profile_ratio` for the window that was just learnt.
        at_ns: its end.
    """
    back = back_ratio(state, at_ns)
    if back is None:
        return False
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.log((usual + state.level) / usual) / np.log(back)
    place = np.flatnonzero((gone >= _BACK_SHARE) & (usual > 0) & (state.frozen_from < 0))
    if not place.size:
        return False
    state.adopted_left[0, place] = at_ns
    spread = state.adopted_spread[:, place].astype(np.float64)
    far = _far(spread, 1 / back[place])
    _multiply(state, place, back[place], spread=1 / spread, far=1 / far)
    state.shifted[place] = np.nan
    return True


def adopted_levels(*states: DetectorState) -> AdoptedLevels | None:
    """What a fit must know of the adopted levels of these states, whose series differ; None where there are none."""
    places = [np.flatnonzero(state.adopted_at[0]) for state in states]
    series = np.concatenate([state.series[at] for state, at in zip(states, places, strict=True)])
    if not series.size:
        return None
    order = np.argsort(series, kind="stable")

    def columns(name: str) -> NDArray[np.generic]:
        parts = [getattr(state, name)[:, at] for state, at in zip(states, places, strict=True)]
        return np.concatenate(parts, axis=1)[:, order]

    return AdoptedLevels(
        series=series[order],
        from_ns=columns("adopted_from").astype(np.int64),
        adopted_ns=columns("adopted_at").astype(np.int64),
        left_ns=columns("adopted_left").astype(np.int64),
        ratio=columns("adopted_ratio").astype(np.float32),
    )


def _may_go_back(state: DetectorState, at_ns: int) -> NDArray[np.bool_]:
    adopted = state.adopted_at[0]
    may: NDArray[np.bool_] = (adopted > 0) & (state.adopted_left[0] == 0)
    may &= adopted > at_ns - _BACK_NS
    return may


def _far(spread: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times as far horizons spread: over minutes habits spread more than counting, and they multiply."""
    return np.asarray(np.maximum(spread[0], ratio), np.float64)


def _multiply(
    state: DetectorState,
    place: NDArray[np.intp],
    ratio: NDArray[np.float64],
    *,
    spread: NDArray[np.float64],
    far: NDArray[np.float64],
) -> None:
    """Bring all that is known of columns to a level that is `ratio` times theirs and spreads `spread` times as far, of each view.

    Horizons spread `far` times as far. Values are taken to be at that level. What is not whole yet, the sums of this day and hour, is forgotten: the excursion
    is in it.
    """
    for name in ("level", "recent", "horizon_level"):
        getattr(state, name)[..., place] = 0.0
    state.previous[place] = np.nan
    state.last_over[:, place] = -1
    state.return_side[place] = 0
    state.horizon_verdict = state.horizon_verdict.copy()
    state.horizon_verdict[..., place] = np.nan
    for name in ("block_square", "block_count", "horizon_block"):
        getattr(state, name)[..., place] = 0.0
    for name in (
        "now_square",
        "now_abs",
        "now_count",
        "now_shift",
        "now_shift_square",
        "now_magnitude",
        "now_active",
        "now_seen",
        "now_horizon",
    ):
        getattr(state, name)[..., place] = 0.0
    for view in range(VIEWS):
        widen(state, view, place, spread[view])
        state.run_square[view, place] *= spread[view] ** 2
    state.horizon_scale[:, place] *= far.astype(np.float32)
    state.horizon_day[..., place] *= (far * far).astype(np.float32)
    state.mean[place] *= ratio
    state.magnitude[place] *= ratio
    state.variance[place] *= ratio * ratio
    state.hourly = None
