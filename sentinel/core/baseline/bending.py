"""Values bent so that what multiplies adds, also at and below nothing: `asinh(x / m)`, m a tenth of the series' usual size.

For values much larger than m it is a logarithm: a share more is a distance more, whatever the hour. Near nothing it is straight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIZE_SHARE = 0.1
_STRIDE = 13
"""Rows that are looked at for the size; it shares no factor with a day's bins, so that each time of day is among them."""


def bent(value: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The values bent, and the m of each column that `unbent` needs; NaN stays NaN.

    >>> y, m = bent(np.array([[20.0], [20.0], [40.0]], np.float32))
    >>> m.tolist(), unbent(y, m).round(3).ravel().tolist()
    ([2.0], [20.0, 20.0, 40.0])
    """
    some = np.abs(value if len(value) < 100 else value[::_STRIDE])
    there = np.isfinite(some)
    count = np.maximum(there.sum(axis=0), 1)
    known = np.sort(np.where(there, some, np.inf), axis=0)
    median = known[(count - 1) // 2, np.arange(some.shape[1])]
    mean = np.where(there, some, 0).sum(axis=0, dtype=np.float64) / count
    # What is mostly nothing has a mean size; what is all nothing, any.
    size = np.where((median > 0) & np.isfinite(median), median, mean)
    unit = np.where(size > 0, size * _SIZE_SHARE, 1.0).astype(np.float32)
    return np.arcsinh(value / unit), unit


def unbent(value: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bent values as they were."""
    result: NDArray[np.float32] = (np.sinh(value) * unit).astype(np.float32)
    return result
