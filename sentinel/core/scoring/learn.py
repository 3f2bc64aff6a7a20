"""What a window teaches, after it was scored.

While a series' incident is open its level stands still, so that a long outage does not become what is expected.

Of gauges the spread goes on learning, but a window never counts for more than `spread_clip` scales. Leaving those windows
out altogether was measured and is worse: a spread made of calm windows only is too small, and the series pages ever more
often for its ordinary noise. Of traffic, errors and latency, whose last residuals stand still too, it counts for no more than
`held_spread_clip`: a day of an outage would widen the band by half for two weeks. Where the new level is the new normal, its spread comes with it.

Sums are made strictly one window after the other, so that any split of the same windows gives the same bits.
They are float32, because they last an hour at most; what they are folded into is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.adopt import follow_shifted
from sentinel.core.scoring.borrow import check_borrowed
from sentinel.core.scoring.multiples import MULTIPLYING, follow_multiple
from sentinel.core.scoring.recents import keep_recent
from sentinel.core.scoring.returns import await_returns
from sentinel.core.scoring.score import Scored
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import DetectorState, Hourly
from sentinel.core.scoring.thresholds import note_excursions
from sentinel.core.stats.sums import added_in_order

_Halves = NDArray[np.float32]

_VALUE_MAX = np.float32(1e17)
"""Values count for the moments with no more: float32 holds an hour's sum of the squares of this."""
_STATISTIC_MAX = np.float32(1e30)


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
    await_returns(state, open_incident, end=first_window + window_count, settings=settings)
    take = slice(0, window_count)
    usable = np.isfinite(scored.deviation[0, take])
    if facts.borrowing:
        strange = scored.verdicts.score[take] >= 1
        is_own = state.borrowed < 0
        usable &= is_own | (~strange & (state.borrowed >= settings.borrowed_windows))
    limit = facts.spread_limit
    if scored.still is not None:
        of_held = np.float32(settings.held_spread_clip / settings.spread_clip)
        limit = np.where(scored.still, limit * of_held, limit)
    _add_deviations(
        state, facts, scored.deviation[:, take], scored.ratio[:, take], usable, limit=limit
    )
    _add_moments(state, facts, scored.value[take], scored.still)
    note_excursions(state, scored.statistic[take], first_window=first_window)
    follow_shifted(state, scored.residual[take], scored.held, settings=settings)
    follow_multiple(
        state,
        scored.value[take],
        scored.residual[take],
        scored.ratio[0, take],
        scored.still,
        first_window=first_window,
    )
    state.level[:] = scored.level[window_count - 1]
    last = scored.statistic[window_count - 1]
    np.maximum(last, -_STATISTIC_MAX, out=state.previous)
    np.minimum(state.previous, _STATISTIC_MAX, out=state.previous)
    keep_recent(state, scored.residual[take], scored.still, first_window=first_window)
    state.next_ns = start_ns + window_count * state.step_ns
    if facts.borrowing:
        check_borrowed(
            state,
            scored.residual[window_count - 1],
            strange=scored.verdicts.score[window_count - 1] >= 1,
            held=scored.held,
            settings=settings,
        )


def _add_deviations(
    state: DetectorState,
    facts: Hourly,
    deviation: _Halves,
    ratio: _Halves,
    usable: NDArray[np.bool_],
    *,
    limit: _Halves,
) -> None:
    normal = np.abs(deviation)
    normal /= ratio
    np.minimum(normal, limit, out=normal)
    squares = normal * normal
    np.minimum(normal, facts.hour_limit, out=normal)
    normal *= ratio
    if np.count_nonzero(usable) < usable.size:
        squares[:, ~usable] = 0.0
        normal[:, ~usable] = 0.0
    state.now_square[...] = added_in_order(state.now_square, squares)
    state.now_abs[...] = added_in_order(state.now_abs, normal)
    _add_count(state.now_count, usable)


def _add_moments(
    state: DetectorState, facts: Hourly, value: _Halves, still: NDArray[np.bool_] | None
) -> None:
    there = np.isfinite(value)
    if still is not None:
        # What an incident shows says nothing of how large the series usually is, by which its spread is measured.
        there &= ~(still & np.isin(facts.kind, MULTIPLYING))
    bounded = np.maximum(value, -_VALUE_MAX)
    np.minimum(bounded, _VALUE_MAX, out=bounded)
    shift = bounded - facts.mean
    magnitude = np.abs(bounded, out=bounded)
    if np.count_nonzero(there) < there.size:
        shift[~there] = 0.0
        magnitude[~there] = 0.0
    state.now_shift[...] = added_in_order(state.now_shift, shift)
    shift *= shift
    state.now_shift_square[...] = added_in_order(state.now_shift_square, shift)
    state.now_magnitude[...] = added_in_order(state.now_magnitude, magnitude)
    _add_count(state.now_active, magnitude != 0)
    _add_count(state.now_seen, there)


def _add_count(total: _Halves, marked: NDArray[np.bool_]) -> None:
    """Count the marked windows of each series; sums of whole numbers are exact in any order."""
    if np.count_nonzero(marked) == marked.size:
        total += np.float32(len(marked))
    else:
        total += np.count_nonzero(marked, axis=0).astype(np.float32)
