"""Goal: what a past teaches does not depend on whether anybody looks at its verdicts.

Method: three weeks of each kind with holes and bursts, learnt from with and without them; all that is kept of it must be the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sentinel.core.model import Kind, WindowBlock
from sentinel.core.scoring import ScoringSettings
from sentinel.core.scoring.state import COLUMNS
from sentinel.pipeline import fitting

DAY = 288
BIN_NS = 300_000_000_000
VERDICTS = {"horizon_verdict"}


def past() -> WindowBlock:
    rng = np.random.default_rng(3)
    kind = np.repeat(np.array([int(kind) for kind in Kind], np.int8), 3)
    shape = (21 * DAY, len(kind))
    phase = 2 * np.pi * np.arange(shape[0])[:, None] / DAY
    value = (0.02 * (1 + 0.5 * np.sin(phase)) * rng.lognormal(0, 0.1, shape)).astype(np.float32)
    value[rng.random(shape) < 0.002] *= 20
    value[rng.random(shape) < 0.01] = np.nan
    return WindowBlock(
        start_ns=20_000 * DAY * BIN_NS,
        step_ns=BIN_NS,
        series=np.arange(len(kind)),
        kind=kind,
        value=value,
        weight=rng.integers(0, 200, shape).astype(np.float32),
        heard=np.ones(shape, np.bool_),
    )


def test_what_is_learnt_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def judged(function: Any) -> Any:
        def call(*args: Any, **words: Any) -> Any:
            found = function(*args, **{**words, "judge": True})
            looked.append(1)
            return found

        return call

    without = fitting.learned_from(past(), settings=ScoringSettings())
    assert not looked
    for name in ("score", "look_far"):
        monkeypatch.setattr(fitting, name, judged(getattr(fitting, name)))
    with_them = fitting.learned_from(past(), settings=ScoringSettings())
    assert looked
    assert without.ready().any()
    for name in set(COLUMNS) - VERDICTS:
        found, wanted = getattr(without, name), getattr(with_them, name)
        assert found.tobytes() == wanted.tobytes(), name
    assert np.isfinite(with_them.horizon_verdict).any()
