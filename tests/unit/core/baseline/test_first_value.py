"""Goal: a series begins where its first value is, wherever the history begins that holds it.

Method: the same series in a history of its own and in one that begins days earlier; what is expected must be the same.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, fit_profile
from sentinel.core.model import Kind, WindowBlock
from sentinel.core.scoring import ScoringSettings
from sentinel.core.scoring.state import COLUMNS
from sentinel.pipeline.fitting import learned_from

DAY = 288


def history(lead: int, count: int = 2 * DAY) -> WindowBlock:
    noise = np.random.default_rng(4).standard_normal(count)
    value = np.concatenate([np.full(lead, np.nan), 100 + noise])[:, None].astype(np.float32)
    return WindowBlock(
        start_ns=(50 * DAY - lead) * BIN_NS,
        step_ns=BIN_NS,
        series=np.array([1]),
        kind=np.array([Kind.GAUGE], np.int8),
        value=value,
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


@pytest.mark.parametrize("lead", [1, 12, 5 * DAY])
def test_nothing_is_expected_before_a_day_after_the_first_value(lead: int) -> None:
    at_ns = (50 * DAY + DAY // 2) * BIN_NS
    own, late = (fit_profile(history(before), at_ns=at_ns, version=1) for before in (0, lead))
    assert own.grid.tobytes() == late.grid.tobytes()
    assert np.flatnonzero(np.isfinite(late.grid[:, 0]))[0] == DAY // 2


@pytest.mark.parametrize("lead", [1, 12, 5 * DAY])
def test_it_is_primed_with_what_it_showed_since_then(lead: int) -> None:
    own, late = (learned_from(history(before), settings=ScoringSettings()) for before in (0, lead))
    assert own.ready().all()
    for name in COLUMNS:
        assert getattr(own, name).tobytes() == getattr(late, name).tobytes(), name
