"""A history that holds an adopted level is brought to the present one before anything is fitted to it.

What was usual before is multiplied with what the level changed by, so that a fit compares like with like and knows the whole
day's shape at the new level at once. The windows in which the level was still an incident are learnt: they are what
is normal now. A level that was left again is brought to the one before it in the same way, without the way back itself, while
the last days of a profile are among its windows. Later they are what they were: a weekend that was adopted on its Sunday and
left on the Monday is a habit, which the weeks must show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.profile import DAY_NS, LAG_DAYS
from sentinel.core.model import AdoptedLevels, WindowBlock

_DAYS_ASKED = max(days for days in LAG_DAYS if days < 7)
_WAY_BACK_NS = 3 * 3_600_000_000_000
"""A level is seen to be left within so long."""


def at_present_level(
    history: WindowBlock,
    left_out: NDArray[np.bool_] | None,
    levels: AdoptedLevels | None,
    *,
    at_ns: int,
) -> tuple[WindowBlock, NDArray[np.bool_] | None]:
    """The history with its older windows at the level that its series have now, and what of it is not to be learnt.

    Args:
        history: windows of the past.
        left_out: bool[T, S], what of it is not to be learnt for other reasons; None for nothing.
        levels: what was adopted until now; None for nothing.
        at_ns: the present.
    """
    changes = [] if levels is None else list(_changes(levels, history, at_ns))
    if not changes:
        return history, left_out
    value = history.value.copy()
    left_out = np.zeros(value.shape, np.bool_) if left_out is None else left_out.copy()
    way_back = -(-_WAY_BACK_NS // history.step_ns)
    for column, first, adopted, left, ratio in changes:
        if left is None:
            value[:first, column] *= ratio
            left_out[first:adopted, column] = False
        else:
            value[first:left, column] /= ratio
            left_out[max(first, left - way_back) : left + 1, column] = True
    return replace(history, value=value), left_out


def _changes(
    levels: AdoptedLevels, history: WindowBlock, at_ns: int
) -> Iterator[tuple[int, int, int, int | None, np.float32]]:
    """Column, rows from which on it was there, was adopted and was left, and ratio of each level that matters here."""
    _, mine, theirs = np.intersect1d(
        history.series, levels.series, assume_unique=True, return_indices=True
    )

    def row(instant_ns: np.int64) -> int:
        return int(
            np.clip(-((history.start_ns - instant_ns) // history.step_ns), 0, len(history.value))
        )

    for column, at in zip(mine.tolist(), theirs.tolist(), strict=True):
        for from_ns, adopted_ns, left_ns, ratio in zip(
            levels.from_ns[:, at],
            levels.adopted_ns[:, at],
            levels.left_ns[:, at],
            levels.ratio[:, at],
            strict=True,
        ):
            is_over = 0 < left_ns <= at_ns - _DAYS_ASKED * DAY_NS
            if adopted_ns > max(0, history.start_ns) and not is_over:
                left = row(left_ns) if left_ns > 0 else None
                # The window in which the change began holds some of both.
                yield column, max(0, row(from_ns) - 1), row(adopted_ns), left, ratio
