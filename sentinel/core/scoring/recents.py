"""The last residuals of each series, as a ring: window number n has row n % width.

A window that comes overwrites the row of the one that leaves, so that nothing is moved, and where an open incident
holds the residuals still nothing is written. Rows are therefore in no order of time, which a median does not mind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.state import DetectorState

_Halves = NDArray[np.float32]

_LEVEL_LAG = 3


def recent_rows(
    state: DetectorState, residual: _Halves, still: NDArray[np.bool_] | None
) -> tuple[_Halves, _Halves]:
    """The ring before each window, and the residual that the level takes in at it.

    Args:
        state: as it was before the first window.
        residual: float32[T, S], of the windows.
        still: bool[S], series whose ring is held; None for none.

    Returns:
        float32[w, T, S], rows of the ring; and float32[T, S], the residual three windows before. Views of
        the state where there is one window.
    """
    ring = state.recent
    width, count = len(ring), len(residual)
    first = state.next_ns // state.step_ns
    if count == 1:
        at = (first - _LEVEL_LAG) % width
        return ring[:, None], ring[at : at + 1]
    # The residuals in order of time: that of window `first + t` has row `width + t`.
    line = np.concatenate([ring[(first + np.arange(width)) % width], residual])
    held = np.flatnonzero(still) if still is not None else ()
    for row in range(width, len(line)) if len(held) else ():
        line[row, held] = line[row - width, held]
    behind = (first + np.arange(count) - 1 - np.arange(width)[:, None]) % width
    rows = line[width + np.arange(count) - 1 - behind]
    return rows, line[width - _LEVEL_LAG : width - _LEVEL_LAG + count]


def keep_recent(
    state: DetectorState,
    residual: _Halves,
    still: NDArray[np.bool_] | None,
    *,
    first_window: int,
) -> None:
    """Write the residuals of windows from number `first_window` on into the state's ring."""
    ring = state.recent
    width, count = len(ring), len(residual)
    for row in range(max(0, count - width), count):
        slot = ring[(first_window + row) % width]
        if still is None:
            slot[:] = residual[row]
        else:
            np.copyto(slot, residual[row], where=~still)
