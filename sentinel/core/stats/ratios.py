"""Shares of calls over several windows: all that failed of all calls, not the middle of the windows' shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pooled_ratio(
    ratio: NDArray[np.float32], calls: NDArray[np.float32], *, axis: int = 0
) -> NDArray[np.float32]:
    """The share of failed calls over an axis; NaN where no window has a share with calls behind it.

    The median of shares is 0 on any route where most windows have no failed call, however many fail.

    >>> pooled_ratio(np.array([[0.0], [1.0], [np.nan]], np.float32), np.array([[9], [1], [0]], np.float32)).tolist()
    [0.10000000149011612]
    """
    known = ~np.isnan(ratio)
    behind = np.where(known, calls, 0).astype(np.float64)
    failed = np.where(known, ratio, 0) * behind
    total = behind.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled: NDArray[np.float32] = (failed.sum(axis=axis) / total).astype(np.float32)
    return pooled
