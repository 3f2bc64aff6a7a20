"""A threshold of its own for each series and side.

A threshold is good where few of the series' own peaks lie just above it. Noise has a dense shoulder, and the
threshold climbs over it; incidents lie beyond a gap, so it stays below them however often they come. A rule
on how many peaks lie above, instead of just above, would raise the threshold over the incidents too.

Peaks are counted also while learning stands still for an open incident. Were they not, every peak above
the threshold would go uncounted, for it is what opens incidents, and the threshold could never climb.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.settings import Grid, ScoringSettings
from sentinel.core.scoring.state import BIN_COUNT, SIDES, DetectorState

PEAK_MIN = 2.5
"""An excursion is what reaches this statistic; lower ones say nothing about a threshold."""

_PEAK_MAX = np.float32(1e30)
_BIN_RATIO = 1.08
_SHOULDER_RATIO = 1.25
_EDGES = PEAK_MIN * _BIN_RATIO ** np.arange(BIN_COUNT)
_SHOULDER_BINS = max(1, round(math.log(_SHOULDER_RATIO) / math.log(_BIN_RATIO)))


def own_cuts(
    peaks: NDArray[np.float32],
    weeks: NDArray[np.float64],
    *,
    grid: Grid,
    settings: ScoringSettings,
) -> NDArray[np.float64]:
    """The smallest level from the base upwards with a thin enough shoulder, float64[2, S]."""
    base = grid.base_cut(settings)
    first = max(0, math.floor(math.log(base / PEAK_MIN) / math.log(_BIN_RATIO) + 1e-9))
    cuts = np.full((SIDES, peaks.shape[-1]), base)
    allowed = settings.shoulder_count * (weeks + settings.quiet_weeks)
    # Nearly all series are thin at the base already; only for the others is it worth to look further up.
    for side in range(SIDES):
        place = np.flatnonzero(
            _shoulders(peaks[side, first : first + _SHOULDER_BINS])[0] > allowed
        )
        if place.size:
            thin = _shoulders(peaks[side][first:, place]) <= allowed[place]
            thin[-1] = True
            level = first + np.argmax(thin, axis=0)
            cuts[side, place] = np.where(level == first, base, _EDGES[level])
    return cuts


def _shoulders(peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Peaks in each bin and those just above it, down axis 0."""
    above = np.zeros((_SHOULDER_BINS - 1, *peaks.shape[1:]), np.float32)
    padded = np.concatenate([peaks, above])
    total = peaks.copy()
    for further in range(1, _SHOULDER_BINS):
        total += padded[further : further + len(peaks)]
    return total


def note_excursions(
    state: DetectorState, statistic: NDArray[np.float32], *, first_window: int
) -> None:
    """Follow the excursions of both sides through consecutive windows of one hour.

    Args:
        state: its `peak`, `last_over` and `peaks` are changed.
        statistic: float32[T, S], NaN where unknown.
        first_window: number of the first window.
    """
    hold = state.grid.hold_windows
    strange = np.abs(statistic) >= PEAK_MIN
    for row in np.flatnonzero(strange.any(axis=1)) if len(strange) > 1 else (0,):
        place = np.flatnonzero(strange[row])
        if place.size == 0:
            continue
        value = statistic[row, place]
        side = (value < 0).astype(np.intp)
        # One index into the flat columns costs half of a pair of indices.
        flat = side * state.series_count + place
        window = first_window + int(row)
        last = state.last_over.take(flat)
        over = (last >= 0) & (window - last > hold)
        if over.any():
            _count_peaks(state, side[over], place[over])
        before = state.peak.take(flat)
        before[over | (last < 0)] = 0.0
        state.peak.put(flat, np.maximum(before, np.minimum(np.abs(value), _PEAK_MAX)))
        state.last_over.put(flat, window)


def close_excursions(state: DetectorState, *, window: int, hold_windows: int) -> None:
    """Count the peaks of the excursions that were over before `window`."""
    last = state.last_over
    side, place = np.nonzero((last >= 0) & (window - last > hold_windows))
    if place.size:
        _count_peaks(state, side, place)
        last[side, place] = -1


def _count_peaks(state: DetectorState, side: NDArray[np.intp], place: NDArray[np.intp]) -> None:
    level = np.searchsorted(_EDGES, state.peak[side, place], side="right") - 1
    state.peaks[side, np.clip(level, 0, BIN_COUNT - 1), place] += 1
