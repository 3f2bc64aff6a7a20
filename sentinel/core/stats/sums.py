"""Sums whose terms are added strictly one after the other, so that any split of them gives the same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Halves = NDArray[np.float32]


def added_in_order(total: _Halves, terms: _Halves) -> _Halves:
    """`total` and the rows (axis -2) of `terms`, added in their order; a new array.

    numpy's own sum may pair the terms, which changes the last bit. Long rows are quickest added one by one; of short ones
    many additions would be mostly overhead.

    >>> added_in_order(np.float32([1, 2]), np.float32([[10, 20], [100, 200]])).tolist()
    [111.0, 222.0]
    """
    count, width = terms.shape[-2:]
    if count > max(1, width):
        rows = np.concatenate([total[..., None, :], terms], axis=-2)
        return np.asarray(np.cumsum(rows, axis=-2)[..., -1, :])
    found = total + terms[..., 0, :]
    for row in range(1, count):
        found += terms[..., row, :]
    return found
