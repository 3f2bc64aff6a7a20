"""Goal: the network's median is the median. Method: numpy's own on arrays with ties and holes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.stats.ordering import median_of_rows


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 8, 10, 11])
@pytest.mark.parametrize("missing_ratio", [0.0, 0.3, 0.95])
def test_the_median_is_the_median(height: int, missing_ratio: float) -> None:
    rng = np.random.default_rng(height)
    rows = np.round(rng.standard_normal((height, 6, 300)), 1).astype(np.float32)
    rows[rng.random(rows.shape) < missing_ratio] = np.nan
    before = rows.copy()
    median, count = median_of_rows(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of columns without a number
        wanted = np.nanmedian(rows, axis=0)
    assert np.array_equal(median, wanted, equal_nan=True)
    found = np.isfinite(rows).sum(axis=0)
    assert (count is None) == bool((found == height).all())
    assert count is None or np.array_equal(count, found)
    assert np.array_equal(rows, before, equal_nan=True)
    views: list[NDArray[np.float32]] = list(rows)
    apart, count_apart = median_of_rows(views)
    assert apart.tobytes() == median.tobytes()
    assert count is None or (count_apart is not None and np.array_equal(count_apart, count))
