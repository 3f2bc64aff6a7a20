"""The spread by hour of day follows the wall clock, as what is expected does: a night's batch is as unsteady after a change."""

from __future__ import annotations

import numpy as np

from sentinel.core.model import LocalHours
from sentinel.core.scoring.state import DetectorState


def follow_clock(state: DetectorState, clock: LocalHours, *, hour: int) -> None:
    """Number what is kept by hour of day by this clock from now on.

    A change of the clock changes no numbers, because the clock knows it before and after. Another clock does, such as that
    of the first fit with a zone after an earlier version: what was learned stays with its instants and is numbered anew.

    Args:
        state: changed; its columns are not, so that they may be read-only.
        clock: of the fit in effect.
        hour: the present hour since 1970, UTC.
    """
    if clock == state.clock:
        return
    turn = clock.ahead(hour) - state.clock.ahead(hour)
    if turn:
        state.hour_abs = np.roll(state.hour_abs, turn, axis=1)
        state.hour_abs_count = np.roll(state.hour_abs_count, turn, axis=0)
    state.clock = clock
    state.hourly = None
