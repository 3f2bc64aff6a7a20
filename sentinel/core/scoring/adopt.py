"""What an incident showed becomes what is expected: the held level is let go, and taken up where the values are.

Only for a level that was held is it known where it would be: an exponential mean of its residuals, kept while it stands
still, so that neither the last window alone nor the hours since the change began decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.borrow import widen
from sentinel.core.scoring.multiples import STOOD_STILL, adopt_multiple
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import VIEWS, DetectorState

_RETURN_GAIN = np.float32(0.2)
_LEAST = 1e-12
_ABS_OF_NORMAL = 0.7979
_APART_MAX = np.float32(1e17)
"""The square of this is held by float32."""


def follow_shifted(
    state: DetectorState,
    residual: NDArray[np.float32],
    held: NDArray[np.bool_] | None,
    *,
    settings: ScoringSettings,
) -> None:
    """Take windows (float32[T, S]) into where the levels of held series would be, one after the other."""
    place = np.flatnonzero(held) if held is not None else ()
    if not len(place):
        return
    gain = np.float32(state.grid.shifted_gain(settings))
    shifted, square = state.shifted[place], state.shifted_square[place]
    for row in residual[:, place]:
        missing, fresh = np.isnan(row), np.isnan(shifted)
        apart = np.clip(row - shifted, -_APART_MAX, _APART_MAX)
        moved = np.where(fresh, row, shifted + gain * apart)
        # The first windows lie on the way there; they are forgotten as the mean comes closer.
        spread = np.where(fresh, 0.0, (1 - gain) * (square + gain * apart * apart))
        shifted = np.where(missing, shifted, moved).astype(np.float32)
        square = np.where(missing, square, spread).astype(np.float32)
    state.shifted[place], state.shifted_square[place] = shifted, square


def adopt_level(
    state: DetectorState, series: NDArray[np.int64], *, kind: NDArray[np.int8], at_ns: int
) -> None:
    """Expect of these series (ids) what they show now; of one whose level was not held nothing changes.

    Of a kind (int8[S]) whose changes multiply that is a multiple of the profile, where one is known; see `multiples`. Of all
    others it is the level of the last hour.

    A larger level may spread more: all that is known of its spread is widened to what was seen at it, never narrowed.
    The excursion that ends so was a change of the level and no peak of its noise: thresholds do not learn it.
    """
    place = np.flatnonzero(
        np.isin(state.series, series) & (state.frozen_from >= 0) & np.isfinite(state.shifted)
    )
    place = place[~adopt_multiple(state, place, kind=kind[place], at_ns=at_ns)]
    state.level[place] = state.shifted[place]
    state.recent[:, place] = state.shifted[place]
    state.horizon_level[:, place] = state.shifted[place]
    state.horizon_verdict = state.horizon_verdict.copy()
    state.horizon_verdict[..., place] = np.nan
    state.previous[place] = np.nan
    state.last_over[:, place] = -1
    spread = np.sqrt(state.shifted_square[place].astype(np.float64))
    for view in range(VIEWS):
        ratio = spread / np.maximum(state.scale[view, place], _LEAST)
        stood = ratio > STOOD_STILL
        widen(state, view, place[~stood], np.maximum(1.0, ratio[~stood]))
        _begin_spread(state, view, place[stood], spread[stood])
    # What is left in `shifted` says that the level was adopted; see `hasten_back`.
    state.frozen_from[place] = -1
    state.hourly = None


def _begin_spread(
    state: DetectorState, view: int, place: NDArray[np.intp], spread: NDArray[np.float64]
) -> None:
    """Let these columns have spread so on every day and at every hour: what stood still says nothing of when it is wider."""
    state.scale[view, place] = spread
    state.day_square[view][:, place] = (spread * spread).astype(np.float32)
    usual = spread * _ABS_OF_NORMAL
    state.hour_abs[view][:, place] = usual.astype(np.float32)
    state.all_abs[view, place] = usual


def hasten_back(
    state: DetectorState, series: NDArray[np.int64], residual: NDArray[np.float32]
) -> None:
    """Bring an adopted level of these series (ids) back to the profile, where their values are again.

    At its own pace it takes hours, in which its distance would be learnt as spread, and the next fault not be seen.
    A level that was not adopted keeps its pace: of a busy day with pauses it would be brought down in each.

    Args:
        state: changed in place.
        series: which of its series.
        residual: float32[S], of the window that was just learnt.
    """
    adopted = (state.frozen_from < 0) & np.isfinite(state.shifted)
    place = np.flatnonzero(np.isin(state.series, series) & adopted & np.isfinite(residual))
    state.level[place] += _RETURN_GAIN * (residual[place] - state.level[place])
    left = np.abs(residual[place] - state.level[place])
    state.shifted[place[left < 0.1 * np.abs(residual[place] - state.shifted[place])]] = np.nan
