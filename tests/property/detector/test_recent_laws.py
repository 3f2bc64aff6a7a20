"""Goal: the ring of last residuals is what a plain list would hold, in any split, held still or not.

Method: random residuals with holes and random stretches in which some series are held; beside the ring a list a
series, appended to and cut as one would by hand.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.scoring import new_state
from sentinel.core.scoring.recents import keep_recent, recent_rows

STEP_NS = 10_000_000_000
SERIES = 4
LAG = 3


@given(
    seed=st.integers(0, 2**16),
    first=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=12),
    step_ns=st.sampled_from([STEP_NS, 300_000_000_000]),
)
def test_the_ring_holds_what_a_list_would(
    seed: int, first: int, lengths: list[int], step_ns: int
) -> None:
    rng = np.random.default_rng(seed)
    state = new_state(np.arange(SERIES), step_ns=step_ns, base_cut=4.0)
    state.next_ns = first * step_ns
    width = len(state.recent)
    plain = [[np.float32(np.nan)] * width for _ in range(SERIES)]
    for length in lengths:
        residual = rng.standard_normal((length, SERIES)).astype(np.float32)
        residual[rng.random(residual.shape) < 0.1] = np.nan
        still = rng.random(SERIES) < 0.3 if rng.random() < 0.7 else None
        number = state.next_ns // step_ns
        rows, lagged = recent_rows(state, residual, still)
        for at in range(length):
            for series, held in enumerate(plain):
                assert np.array_equal(
                    np.sort(rows[:, at, series]), np.sort(np.array(held)), equal_nan=True
                )
                assert np.array_equal(lagged[at, series], held[-LAG], equal_nan=True)
                oldest = held.pop(0)
                is_still = still is not None and still[series]
                held.append(oldest if is_still else residual[at, series])
        keep_recent(state, residual, still, first_window=number)
        state.next_ns += length * step_ns
