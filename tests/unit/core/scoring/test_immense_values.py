"""Goal: a value at the end of what float32 holds harms nobody, itself included.

Method: a gauge that is now and then immense beside calm series, over days, live and from history. Warnings are
errors here, and numpy warns where a number overflows.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import fit_profile
from sentinel.core.decide import DecisionSettings, DecisionState, decide, new_decision_state
from sentinel.core.model import WindowBlock
from sentinel.core.scoring.state import COLUMNS
from tests.support.detector_blocks import KINDS, START_NS, names

STEP_NS = 300_000_000_000
DAYS = 4
LARGEST = float(np.finfo(np.float32).max)
SETTINGS = DecisionSettings()


def days_with(gauge: NDArray[np.float64]) -> WindowBlock:
    """Calm traffic, errors and latency, and a gauge of these values."""
    count = DAYS * 288
    rng = np.random.default_rng(2)
    level = np.array([40.0, 0.02, 0.08, 300.0])
    value = (level * (1 + 0.1 * rng.standard_normal((count, 4)))).astype(np.float32)
    value[:, 3] = np.resize(gauge, count).astype(np.float32)
    return WindowBlock(
        start_ns=START_NS,
        step_ns=STEP_NS,
        series=np.arange(1, 5),
        kind=np.array(KINDS, np.int8),
        value=value,
        weight=np.full(value.shape, 500, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def decided(block: WindowBlock) -> tuple[DecisionState, NDArray[np.float32]]:
    """The state after the block, and all scores, the profile fitted each day."""
    state = new_decision_state(step_ns=STEP_NS, settings=SETTINGS)
    scores = []
    for day in range(DAYS):
        piece = block.windows(day * 288, (day + 1) * 288)
        profile = fit_profile(block, at_ns=piece.start_ns, version=day)
        decision = decide(state, piece, profile=profile, keys=names(4), settings=SETTINGS)
        state = decision.state
        scores.append(decision.verdicts.score)
    return state, np.concatenate(scores)


@pytest.mark.parametrize(
    "gauge",
    [
        np.array([LARGEST]),
        np.array([300.0] * 700 + [LARGEST] * 50),
        np.array([LARGEST, -LARGEST]),
        np.array([300.0] * 13 + [LARGEST]),
        np.array([-LARGEST] * 300 + [LARGEST] * 300),
    ],
)
def test_an_immense_gauge_leaves_no_infinity_behind_and_others_as_they_were(
    gauge: NDArray[np.float64],
) -> None:
    """A gauge of 3.4e38 ("no limit" in some exporters) once overflowed the sums of squares.

    numpy warned, the spread was infinite from then on, and the series was never judged again.
    """
    state, scores = decided(days_with(gauge))
    calm, calm_scores = decided(days_with(np.array([300.0, 301.0, 299.5])))
    for name in COLUMNS:
        column = getattr(state.detector, name)
        # Where only a rise can be strange, the lower edge lies at minus infinity.
        finite = column[:, [0, 1, 2, 4, 5]] if name == "horizon_verdict" else column
        assert not np.isinf(finite).any(), name
        assert column[..., :3].tobytes() == getattr(calm.detector, name)[..., :3].tobytes(), name
    assert scores[:, :3].tobytes() == calm_scores[:, :3].tobytes()
    assert not np.isinf(scores).any()
    if gauge[0] == 300.0:
        assert np.isfinite(scores[-288:, 3]).any()


@pytest.mark.parametrize(("value", "calls"), [(LARGEST, 500.0), (0.08, LARGEST), (1e16, LARGEST)])
def test_an_immense_latency_or_number_of_calls_overflows_no_horizon(
    value: float, calls: float
) -> None:
    """Values times calls were summed as float32: numpy warned, and the means of half an hour were infinite."""
    block = days_with(np.array([300.0, 301.0, 299.5]))
    block.value[:, 2], block.weight[:, 2] = value, calls
    state, _ = decided(block)
    told = state.detector.horizon_verdict[:, [0, 1, 2, 4, 5]]
    assert not np.isinf(told).any()
    assert not np.isinf(state.detector.now_horizon).any()
