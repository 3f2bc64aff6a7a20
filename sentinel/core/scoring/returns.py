"""What comes back is no news: the end of an excursion must not page as one of its own.

A series that moves to a new height and stays there is taken up: its incident ends, and what is expected follows. When it
later goes back to where it was before, that is as strange against the last windows as the first move was. So for some
hours after an incident, a window on the side opposite to it must be strange twice: against what is expected now, and
against what was expected before, the profile with the level that stood when the incident opened. The band's edge on
that side is the farther of the two, so that band and score still say the same.

    excursion up     level before it | expected now       the lower edge lies below both
    excursion down   expected now    | level before it    the upper edge lies above both
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import SIDES, DetectorState, Hourly

_Halves = NDArray[np.float32]


def return_reach(
    state: DetectorState,
    facts: Hourly,
    *,
    first_window: int,
    usual: _Halves,
    expected: _Halves,
    spread: _Halves,
) -> _Halves | None:
    """How far from `expected` the band's edges lie at least, because of an excursion that may come back.

    Args:
        state: what was learned before the first window.
        facts: of the present hour.
        first_window: its number.
        usual: float32[T, S], the profile.
        expected: float32[T, S], the middle of the band.
        spread: float32[T, S], scale of the view against the profile.

    Returns:
        float32[2, T, S], above and below, 0 where nothing is asked; None where that is so everywhere.
    """
    place = np.flatnonzero(state.return_side)
    if place.size == 0:
        return None
    place = place[state.return_until[place] >= first_window]
    if place.size == 0:
        return None
    reach = np.zeros((SIDES, *expected.shape), np.float32)
    window = first_window + np.arange(len(expected))[:, None]
    before = usual[:, place] + state.return_level[place]
    half = spread[:, place] / facts.gain[place]
    for side, sign in enumerate((1, -1)):
        # The side opposite to the excursion's.
        asked = (state.return_side[place] == -sign) & (window <= state.return_until[place])
        needed = sign * (before - expected[:, place]) + half * facts.need[side, place]
        reach[side][:, place] = np.where(asked & np.isfinite(needed), needed, np.float32(0))
    return reach


def forget_returns(state: DetectorState, *, window: int) -> None:
    """Let go of excursions that are too long ago at `window`, so that what is quiet costs nothing."""
    state.return_side[state.return_until < window] = 0


def note_frozen(
    state: DetectorState,
    frozen: NDArray[np.bool_],
    *,
    window: int,
    settings: ScoringSettings,
) -> None:
    """Note which series stand still from a window on, before it is scored.

    Of those that begin to, it is remembered where they were before their excursion: all windows that follow are judged by it, in
    however many pieces they come.

    Args:
        state: as it was after the window in which incidents opened or ended; changed in place.
        frozen: bool[S], series with an open incident.
        window: number of the window that comes next.
        settings: the constants.
    """
    if not frozen.any() and state.frozen_from.max(initial=-1) < 0:
        return
    held = state.frozen_from >= 0
    new = frozen & ~held
    opened = np.flatnonzero(new)
    if opened.size:
        side = np.sign(state.previous[opened])
        state.return_side[opened] = np.where(np.isfinite(side), side, 0).astype(np.int8)
        state.return_level[opened] = state.level[opened]
        await_returns(state, new, end=window, settings=settings)
    state.shifted[held != frozen] = np.nan
    state.held_value[held != frozen] = np.nan
    state.frozen_from[~frozen] = -1
    state.frozen_from[new] = window


def await_returns(
    state: DetectorState, frozen: NDArray[np.bool_], *, end: int, settings: ScoringSettings
) -> None:
    """Of series with an open incident the way back counts for so long after the window before number `end`."""
    state.return_until[frozen] = end + round(settings.return_s / state.grid.step_s)
