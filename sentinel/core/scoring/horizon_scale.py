"""How far the longer horizons spread: a power mean over the last days, as the scale of single windows is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import HORIZONS_S
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import MEMORY_DAYS, DetectorState

_DAY_S = 86_400
_WARM_S = 6 * 3600


def borrow_horizons(coarse: DetectorState, fine: DetectorState, rows: NDArray[np.bool_]) -> None:
    """Give `fine` the spread of the horizons that `coarse` knows of: its own, and the one that is as wide as its window.

    The level is not borrowed, because what history ended with may be long ago: the first window of a horizon is its level.
    """
    for horizon, length_s in enumerate(HORIZONS_S):
        if length_s * 1_000_000_000 == coarse.step_ns:
            fine.horizon_scale[horizon] = coarse.scale[0, rows]
            fine.horizon_day[horizon] = coarse.day_square[0][:, rows]
            fine.horizon_filled[horizon] = coarse.day_filled[rows]
        elif length_s * 1_000_000_000 > coarse.step_ns:
            fine.horizon_scale[horizon] = coarse.horizon_scale[horizon, rows]
            fine.horizon_day[horizon] = coarse.horizon_day[horizon][:, rows]
            fine.horizon_filled[horizon] = coarse.horizon_filled[horizon, rows]


def warm_count(horizon: int) -> int:
    """Windows of a horizon before it has a first scale: six hours of them."""
    return _WARM_S // HORIZONS_S[horizon]


def first_scale(
    block: NDArray[np.float32], filled: NDArray[np.int16], scale: NDArray[np.float32], horizon: int
) -> NDArray[np.float32]:
    """The scale with that of the first day, the plain root mean square so far, where there is no whole day yet."""
    early = (filled == 0) & (block[1] >= warm_count(horizon))
    if not np.count_nonzero(early):
        return scale
    plain = np.sqrt(block[0] / np.maximum(block[1], np.float32(1)))
    return np.where(early, plain, scale)


def end_horizon_day(state: DetectorState, settings: ScoringSettings) -> None:
    """Fold the day that ended into the scales; a day counts when a quarter of it was there."""
    for horizon, length_s in enumerate(HORIZONS_S):
        square, count = state.horizon_block[horizon]
        place = np.flatnonzero(count >= _DAY_S // length_s // 4)
        if place.size:
            slot = state.horizon_filled[horizon, place] % MEMORY_DAYS
            state.horizon_day[horizon, slot, place] = square[place] / count[place]
            state.horizon_filled[horizon, place] += 1
            days = np.minimum(state.horizon_filled[horizon, place], MEMORY_DAYS)
            held = np.arange(MEMORY_DAYS)[:, None] < days
            squares = state.horizon_day[horizon][:, place].astype(np.float64)
            powers = np.where(held, squares**settings.block_power, 0.0)
            mean = np.cumsum(powers, axis=0)[-1] / days
            state.horizon_scale[horizon, place] = np.sqrt(mean ** (1 / settings.block_power))
    state.horizon_block[...] = 0.0
