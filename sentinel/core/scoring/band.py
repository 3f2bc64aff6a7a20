"""Edges of a band, and the score that agrees with them; the same for single windows and for longer horizons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.state import Hourly

_Halves = NDArray[np.float32]

_SCORE_MAX = np.float32(1e30)
_UNDER_ONE = np.nextafter(np.float32(1), np.float32(0))


def possible(expected: _Halves, distance: _Halves, facts: Hourly) -> _Halves:
    """What is expected, within what a value can be; `distance` from it is mended where that changes it."""
    if not facts.bounded:
        return expected
    within = np.maximum(expected, facts.value_min)
    np.minimum(within, facts.value_max, out=within)
    expected -= within
    distance += expected
    return within


def band(
    value: _Halves,
    weight: _Halves,
    expected: _Halves,
    distance: _Halves,
    *,
    above: _Halves,
    below: _Halves,
    reach: _Halves | None,
    facts: Hourly,
) -> tuple[_Halves, _Halves, _Halves]:
    """Lower edge, upper edge and score, float32[T, S] each; NaN where a half is unknown.

    Args:
        value: of the windows.
        weight: calls behind it.
        expected: middle of the band; becomes NaN where the band is unknown.
        distance: value - expected, as exact as it is known.
        above: half width upwards by what is unusual for the series; changed. What the kind demands besides is added.
        below: the same downwards.
        reach: float32[2, T, S], least half widths above and below; None for none.
        facts: of the present hour.
    """
    demanded = np.abs(expected)
    demanded *= facts.deviation_ratio_min
    np.maximum(demanded, facts.deviation_min, out=demanded)
    np.maximum(above, demanded, out=above)
    np.maximum(below, demanded, out=below)
    if reach is not None:
        np.maximum(above, reach[0], out=above)
        np.maximum(below, reach[1], out=below)
    below += facts.below_extra
    above += facts.above_extra
    if facts.ratios is not None:
        further = facts.excess_calls_min / np.maximum(weight, 1)
        above += further
        below += further
    upper, lower = expected + above, expected - below
    if facts.bounded:
        np.minimum(upper, facts.value_max, out=upper)
    strength = distance / above
    np.divide(distance, below, out=demanded)
    np.negative(demanded, out=demanded)
    np.maximum(strength, demanded, out=strength)
    # The band decides; what rounding makes of the score next to its edge must agree with it.
    outside = value > upper
    outside |= value < lower
    score = np.minimum(strength, _UNDER_ONE)
    if np.count_nonzero(outside):
        score[outside] = np.clip(strength[outside], np.float32(1), _SCORE_MAX)
    unknown = np.isnan(above)
    if np.count_nonzero(unknown):
        lower[unknown] = np.nan
        expected[unknown] = np.nan
    return lower, upper, score
