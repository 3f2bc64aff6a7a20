"""What a window's score came from: which views agree, and which demand stopped it when it stood out and is no anomaly.

Looked at only where a window stands out, so that it costs nothing elsewhere. Which value would have passed is not
asked here: that is the edge of the band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Gate, View
from sentinel.core.scoring.state import Hourly

_Halves = NDArray[np.float32]
_Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How windows were looked at; float32[T, S] each if nothing else is said.

    Attributes:
        before: statistic of the window before.
        half: half of the band for a statistic of 1.
        distance: value - expected.
        expected: middle of the band; NaN where unknown.
        weight: calls behind the values.
        apart: float32[2, T, S], residual against each view.
        inverse: float32[2, T, S], one over the scale of each view.
        reach: float32[2, T, S], least half widths because of an excursion that may come back; None for none.
    """

    before: _Halves
    half: _Halves
    distance: _Halves
    expected: _Halves
    weight: _Halves
    apart: _Halves
    inverse: _Halves
    reach: _Halves | None


def grounds(looked: Looked, score: _Halves, facts: Hourly) -> tuple[_Bits | None, _Bits | None]:
    """Columns `views` and `gate` of the verdicts with this score; None where they would be empty."""
    marked = np.abs(looked.distance) >= looked.half * facts.need_least
    marked |= score >= 1
    if not np.count_nonzero(marked):
        return None, None
    row, at = np.nonzero(marked)
    passed = score[row, at] >= 1
    views = gate = None
    if np.count_nonzero(passed):
        views = np.zeros(score.shape, np.uint8)
        views[row[passed], at[passed]] = _views(looked, row[passed], at[passed], facts)
    if np.count_nonzero(passed) < passed.size:
        gate = np.zeros(score.shape, np.uint8)
        gate[row[~passed], at[~passed]] = _gates(looked, row[~passed], at[~passed], facts)
    return views, gate


def _views(
    looked: Looked, row: NDArray[np.intp], at: NDArray[np.intp], facts: Hourly
) -> NDArray[np.uint8]:
    below = looked.distance[row, at] < 0
    need = facts.need[below.astype(np.intp), at]
    sign = np.where(below, np.float32(-1), np.float32(1))
    found = np.zeros(len(at), np.uint8)
    for view, bit in enumerate((View.SEASON, View.RECENT)):
        alone = looked.apart[view, row, at] * looked.inverse[view, row, at] * facts.gain[at]
        found |= np.where(sign * alone >= need, np.uint8(bit), np.uint8(0))
    return found


def _gates(
    looked: Looked, row: NDArray[np.intp], at: NDArray[np.intp], facts: Hourly
) -> NDArray[np.uint8]:
    distance = looked.distance[row, at]
    below = distance < 0
    side = below.astype(np.intp)
    far, half = np.abs(distance), looked.half[row, at]
    before = np.where(below, -looked.before[row, at], looked.before[row, at])
    need = facts.need[side, at]
    asked = np.where(before >= need, need, facts.need_single[side, at])
    ignored = np.isinf(np.where(below, facts.below_extra[at], facts.above_extra[at]))
    demanded = np.maximum(
        np.abs(looked.expected[row, at]) * facts.deviation_ratio_min[at], facts.deviation_min[at]
    )
    reach = np.float32(0) if looked.reach is None else looked.reach[side, row, at]
    calls = facts.excess_calls_min[at] / np.maximum(looked.weight[row, at], 1)
    edge = np.maximum(np.maximum(half * asked, demanded), reach)
    # Excess calls come on top of all else, and nothing else is left but that the value can go no further.
    return np.select(
        [
            ignored,
            far <= half * need,
            far <= half * asked,
            far <= demanded,
            far <= reach,
            far <= edge + calls,
        ],
        [
            np.uint8(Gate.DIRECTION),
            np.uint8(Gate.OWN_THRESHOLD),
            np.uint8(Gate.SINGLE_WINDOW),
            np.uint8(Gate.DEVIATION),
            np.uint8(Gate.RETURN),
            np.uint8(Gate.FEW_CALLS),
        ],
        np.uint8(Gate.DEVIATION),
    )
