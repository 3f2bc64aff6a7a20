"""Goal: a sum is the same bits however its terms are split. Method: large and small terms, whose order shows in the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.stats.sums import added_in_order


@pytest.mark.parametrize("shape", [(1, 5), (12, 400), (360, 3), (40, 1), (2, 30, 7), (4, 9, 50)])
def test_any_split_gives_the_same_bits(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    terms = rng.lognormal(0, 8, shape).astype(np.float32)
    total = rng.lognormal(0, 8, (*shape[:-2], shape[-1])).astype(np.float32)
    before = total.copy()
    whole = added_in_order(total, terms)
    assert np.array_equal(total, before)
    for cut in {1, shape[-2] // 3, shape[-2] - 1} - {0, shape[-2]}:
        first = added_in_order(total, terms[..., :cut, :])
        assert added_in_order(first, terms[..., cut:, :]).tobytes() == whole.tobytes()
    one_by_one = total
    for row in range(shape[-2]):
        one_by_one = one_by_one + terms[..., row, :]
    assert one_by_one.tobytes() == whole.tobytes()
