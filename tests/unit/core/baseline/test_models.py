"""Goal: each series has the model that the first matching rule says. Method: rules and names written out."""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import Model, ModelRule, models_of
from sentinel.core.baseline.bending import bent, unbent
from sentinel.core.model import SeriesKey

KEYS = [
    SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic"),
    SeriesKey("ledger", "database", "INSERT", "latency"),
    SeriesKey("auth", "edge", "GET /token", "errors"),
]


@pytest.mark.parametrize(
    ("rules", "models"),
    [
        ([], "profile profile profile"),
        ([ModelRule(model=Model.FOURIER)], "fourier fourier fourier"),
        ([ModelRule(model=Model.MSTL, service="ledger", stage="edge")], "mstl profile profile"),
        (
            [
                ModelRule(model=Model.PROFILE, signal="latency"),
                ModelRule(model=Model.FOURIER, service="l*"),
                ModelRule(model=Model.MSTL),
            ],
            "fourier profile mstl",
        ),
        ([ModelRule(model=Model.MSTL, route="get *")], "profile profile profile"),
    ],
)
def test_the_first_rule_that_matches_decides(rules: list[ModelRule], models: str) -> None:
    assert " ".join(models_of(rules, KEYS)) == models


def test_bending_goes_back_and_makes_shares_distances() -> None:
    value = np.array([[10.0, -5, 0, 0], [20, -5, 0, 8], [40, np.nan, 0, 0]], np.float32)
    curved, unit = bent(value)
    np.testing.assert_allclose(unbent(curved, unit), value, rtol=1e-5)
    assert unit[2] == 1.0
    steps = np.diff(curved[:, 0])
    assert steps[0] == pytest.approx(steps[1], rel=0.02)
