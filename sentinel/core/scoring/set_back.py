"""Time that was ahead is put back: what was learned stays, what holds only for a moment of the wrong time goes."""

from __future__ import annotations

import numpy as np

from sentinel.core.scoring.state import COLUMNS, DetectorState, hour_of


def set_back(state: DetectorState, at_ns: int) -> None:
    """Let the state's next window begin at `at_ns`, which lies before the one that it waits for.

    The sums of the present hour belong to another hour of the day than the one that comes. The last residuals are
    forgotten as after a gap, save those that an open incident holds.
    """
    frozen = state.frozen_from >= 0
    state.horizon_verdict = np.full_like(state.horizon_verdict, np.nan)
    state.recent[..., ~frozen] = np.nan
    state.previous[..., ~frozen] = np.nan
    for name in COLUMNS:
        if name.startswith("now_"):
            getattr(state, name)[...] = 0.0
    state.last_over[...] = -1
    np.minimum(state.frozen_from, at_ns // state.step_ns, out=state.frozen_from)
    for name in ("adopted_from", "adopted_at", "adopted_left"):
        column = getattr(state, name)
        np.minimum(column, at_ns, out=column)
    np.minimum(state.gathered_at, at_ns // state.step_ns, out=state.gathered_at)
    # An hour more or less of it does not matter; for ever would.
    ahead = max(0, state.next_ns - at_ns) // state.step_ns
    state.return_until[...] -= ahead
    state.next_ns, state.hour, state.hourly = at_ns, hour_of(at_ns), None
