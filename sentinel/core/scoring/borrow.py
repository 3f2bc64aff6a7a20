"""A scale borrowed from coarser history, and how it is made a series' own.

History is stored in windows of 5 minutes, live windows are 10 seconds, and how much noisier they are depends on
the series. A series that has history therefore starts with everything learned from it, but is not judged
before some live windows have shown their own noise (6 by default, a minute). From then on the borrowed scales are
widened by the ratio of live to borrowed spread, with a margin that shrinks as windows come in (2 at
6 windows, 1.1 at 48), never narrowed. After 48 windows the widening is folded into all that was
borrowed, and the scale is the series' own. The level is taken anew from the first live windows, because
what history ended with may be long ago.

    a live window that                      teaches how noisy they are    counts towards the 48
    lies inside the band                    yes                           yes
    lies outside                            no                            yes, so that no series borrows for ever
    lies outside under an open incident     no                            no, and the level stays

Outage and noise are told apart by the band alone, which the first windows made wide. Were an outage of some minutes taken
for noise, its widening would outlast it by the two weeks that scales remember. Where an incident is open from the
beginning there are no windows to look at: the series is then judged by what history knows, its scale widened as much
as live windows can be noisier when nothing ties one to the next, and the first six that lie inside mend it.

Where the last hour of the past is known in windows as wide as live ones, they are looked at in the place of live ones, before the series lives
(`pipeline.latest`).

The factor's margin covers the sampling error of a spread made of few windows; it was not tuned on data. It is not what
makes a band of traffic wide: simulated after six weeks of history, the upper edge of 20 calls a second lies 73 % above
what is expected at the sixth window, 51 % at the 48th and 39 % after three hours; without any margin 41 % and 46 % at
the first two. Counting alone takes 36 % in windows of 10 s, and 114 % of 2 calls a second.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.horizon_scale import borrow_horizons
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import VIEWS, DetectorState, new_state
from sentinel.core.scoring.thresholds import own_cuts

OWN_AFTER_WINDOWS = 48
_MARGIN_WINDOWS = 6.0
_MEDIAN_OF_SQUARES = 0.455
"""Of normal noise with a spread of 1."""
_AS_THEY_ARE = (
    "level",
    "scale",
    "day_square",
    "day_filled",
    "hour_abs",
    "all_abs",
    "mean",
    "magnitude",
    "variance",
    "active",
    "peaks",
    "weeks",
)
_KEPT_MAX = 1e37
"""Float32 holds it."""
_COUNTS = ("hour_abs_count", "all_abs_count", "seen")


def borrowed_rows(
    coarse: DetectorState, *, step_ns: int, settings: ScoringSettings
) -> DetectorState:
    """Rows for windows of `step_ns` from what was learned on coarser ones, of the series that are ready."""
    ready = coarse.ready()
    fine = new_state(coarse.series[ready], step_ns=step_ns, base_cut=0.0)
    fine.clock = coarse.clock
    for name in _AS_THEY_ARE:
        getattr(fine, name)[:] = getattr(coarse, name)[..., ready]
    borrow_horizons(coarse, fine, ready)
    for name in _COUNTS:
        getattr(fine, name)[:] = getattr(coarse, name)[..., ready] * (coarse.step_ns / step_ns)
    fine.cut[:] = own_cuts(fine.peaks, fine.weeks, grid=fine.grid, settings=settings)
    fine.borrowed[:] = 0
    # For those that cannot look at live windows: a mean over so many would be as much calmer.
    fine.widening[:] = math.sqrt(coarse.step_ns / step_ns)
    return fine


def check_borrowed(
    state: DetectorState,
    residual: NDArray[np.float32],
    *,
    strange: NDArray[np.bool_],
    held: NDArray[np.bool_] | None,
    settings: ScoringSettings,
) -> None:
    """Hold borrowed scales against the live window that was just learnt.

    Args:
        state: changed in place.
        residual: float32[S], of the window.
        strange: bool[S], series whose window lies outside the band.
        held: bool[S], series that must not learn an outage's level; None for none.
        settings: the constants.
    """
    looked = (state.borrowed >= 0) & np.isfinite(residual)
    if held is not None:
        looked &= ~(strange & held)
    place = np.flatnonzero(looked)
    if place.size == 0:
        return
    state.borrowed[place] += 1
    count = state.borrowed[place]
    beginning = place[count == settings.borrowed_windows]
    if held is not None:
        _begin_unseen(state, beginning[held[beginning]])
        beginning = beginning[~held[beginning]]
    _first_look(state, beginning)
    windows = state.run_count[place] + state.now_count[place]
    enough = windows >= settings.borrowed_windows
    looking, windows = place[enough], windows[enough]
    margin = 1.0 + _MARGIN_WINDOWS / windows
    for view in range(VIEWS):
        squares = state.run_square[view, looking] + state.now_square[view, looking]
        live = np.sqrt(squares / windows)
        borrowed = state.scale[view, looking]
        widening = margin * live / np.where(borrowed > 0, borrowed, 1.0)
        state.widening[view, looking] = np.where(borrowed > 0, np.maximum(widening, 1.0), 1.0)
    _make_own(state, place[count >= OWN_AFTER_WINDOWS])
    state.hourly = None


def _first_look(state: DetectorState, place: NDArray[np.intp]) -> None:
    """The level from the first live windows, and their spread round it.

    Both from medians: an outage that begins in the second half of the first minute would otherwise be their noise.
    """
    if place.size == 0:
        return
    state.now_square[:, place] = 0.0
    state.now_count[place] = 0.0
    recent = state.recent[:, place].astype(np.float64)
    middle = np.nanmedian(recent, axis=0)
    state.level[place] = middle
    count = np.isfinite(recent).sum(axis=0)
    state.run_count[place] = count
    square = np.nanmedian((recent - middle) ** 2, axis=0) / _MEDIAN_OF_SQUARES
    state.run_square[:, place] = count * square


def _begin_unseen(state: DetectorState, place: NDArray[np.intp]) -> None:
    """Level and scale as history knows them; the windows until now were an outage's."""
    state.now_square[:, place] = 0.0
    state.now_count[place] = 0.0
    state.recent[:, place] = np.nan
    state.previous[place] = np.nan


def _make_own(state: DetectorState, place: NDArray[np.intp]) -> None:
    if place.size == 0:
        return
    for view in range(VIEWS):
        widen(state, view, place, state.widening[view, place])
    state.widening[:, place] = 1.0
    state.borrowed[place] = -1


def widen(
    state: DetectorState, view: int, place: NDArray[np.intp], ratio: NDArray[np.float64]
) -> None:
    """Multiply all that is known of the spread of these columns."""
    state.scale[view, place] *= ratio
    for kept, factor in ((state.day_square, ratio * ratio), (state.hour_abs, ratio)):
        # In float64, where the factor may be immense and nothing times it is nothing.
        known = kept[view][:, place] * factor
        kept[view][:, place] = np.minimum(known, _KEPT_MAX).astype(np.float32)
    state.all_abs[view, place] *= ratio
