"""What a window teaches, after it was scored.

While a series' incident is open its level stands still (for a bounded time), so that a long outage does not become
what is expected. Its spread goes on learning, but a window never counts for more than `spread_clip` scales.
Leaving those windows out altogether was measured and is worse: a spread made of calm windows only is too
small, and the series pages ever more often for its ordinary noise.

Sums are made strictly one window after the other, so that any split of the same windows gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.borrow import check_borrowed
from sentinel.core.scoring.score import Scored
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import VIEWS, DetectorState
from sentinel.core.scoring.thresholds import note_excursions

_Floats = NDArray[np.float64]


def learn(
    state: DetectorState,
    scored: Scored,
    *,
    window_count: int,
    open_incident: NDArray[np.bool_],
    settings: ScoringSettings,
) -> None:
    """Take the first `window_count` windows of `scored` into the state.

    Args:
        state: changed in place; what `scored` was made from.
        scored: verdicts and residuals of windows of one hour.
        window_count: how many of them to take; the rest is as if it had not been scored.
        open_incident: bool[S], series that had an open incident when they were scored.
        settings: the constants.
    """
    start_ns = scored.verdicts.start_ns
    first_window = start_ns // state.step_ns
    facts = state.hourly
    if facts is None:
        msg = "windows are learnt from right after they were scored"
        raise ValueError(msg)
    _note_freezing(state, open_incident, first_window)
    take = slice(0, window_count)
    deviation, ratio = scored.deviation[:, take], scored.ratio[:, take]
    usable = np.isfinite(deviation[0])
    usable &= (state.borrowed < 0) | (state.borrowed >= settings.borrowed_windows)
    for view in range(VIEWS):
        apart = np.where(usable, np.abs(deviation[view]), 0.0)
        scale = facts.scale[view]
        limit = np.where(np.isfinite(scale), scale, np.inf)
        normal = np.minimum(apart / ratio[view], settings.spread_clip * limit)
        squares = normal * normal
        _add(state.block_square[view], squares)
        _add(state.run_square[view], squares)
        clipped = np.minimum(apart, settings.hour_clip * ratio[view] * limit)
        _add(state.now_abs[view], np.where(np.isfinite(scale), clipped, 0.0))
    _add(state.block_count, usable)
    _add(state.run_count, usable)
    _add(state.now_abs_count, usable & np.isfinite(facts.scale[0]))
    _add_moments(state, scored.value[take])
    note_excursions(state, scored.statistic[take], first_window=first_window)
    state.level[:] = scored.level[window_count - 1]
    state.previous[:] = scored.statistic[window_count - 1]
    width = state.recent.shape[0]
    state.recent[:] = scored.recent[window_count : window_count + width]
    state.next_ns = start_ns + window_count * state.step_ns
    if bool((state.borrowed >= 0).any()):
        check_borrowed(state, scored.residual[window_count - 1], settings)


def _note_freezing(state: DetectorState, frozen: NDArray[np.bool_], window: int) -> None:
    if frozen.any():
        state.frozen_from[:] = np.where(
            frozen, np.where(state.frozen_from < 0, window, state.frozen_from), -1
        )
    elif (state.frozen_from >= 0).any():
        state.frozen_from[:] = -1


def _add_moments(state: DetectorState, value: _Floats) -> None:
    there = np.isfinite(value)
    value = np.where(there, value, 0.0)
    shift = np.where(there, value - state.mean, 0.0)
    _add(state.now_shift, shift)
    _add(state.now_shift_square, shift * shift)
    _add(state.now_magnitude, np.abs(value))
    _add(state.now_active, value != 0)
    _add(state.now_seen, there)


def _add(total: _Floats, terms: NDArray[np.float64] | NDArray[np.bool_]) -> None:
    """Add rows to a sum in their order; numpy's own sum may pair them, which changes the last bit."""
    if len(terms) == 1:
        total += terms[0]
    else:
        total[:] = np.cumsum(np.concatenate([total[None], terms]), axis=0)[-1]
