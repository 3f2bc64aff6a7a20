"""Windows with verdicts, made by hand for tests of what shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Reason, SeriesKey, VerdictBlock, WindowBlock, kind_of_signal
from sentinel.web import LatestVerdicts

WINDOW_NS = 10 * 10**9
START_NS = 1_790_000_000 * 10**9


def make_latest(
    keys: Sequence[SeriesKey],
    values: Sequence[float],
    scores: Sequence[float],
    *,
    horizons: NDArray[np.float32] | None = None,
) -> LatestVerdicts:
    """One window: expected is 1 below the value, the band 2 on each side; NaN scores are without history."""
    count = len(keys)
    value = np.array([values], dtype=np.float32)
    score = np.array([scores], dtype=np.float32)
    series = np.arange(1, count + 1, dtype=np.int64)
    unknown = np.isnan(score)
    expected = np.where(unknown, np.nan, value - 1).astype(np.float32)
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=WINDOW_NS,
        series=series,
        kind=np.array([kind_of_signal(key.signal) for key in keys] or [], dtype=np.int8),
        value=value,
        weight=np.full((1, count), 7, dtype=np.float32),
        heard=np.full((1, count), fill_value=True),
    )
    verdicts = VerdictBlock(
        start_ns=START_NS,
        step_ns=WINDOW_NS,
        series=series,
        value=block.value,
        weight=block.weight,
        score=score,
        expected=expected,
        lower=expected - 2,
        upper=expected + 2,
        direction=np.where(unknown, 0, 1).astype(np.int8),
        reason=np.where(unknown, Reason.NO_HISTORY, Reason.SCORED).astype(np.int8),
    )
    return LatestVerdicts(block=block, verdicts=verdicts, keys=tuple(keys), horizons=horizons)


def many_keys(count: int) -> list[SeriesKey]:
    """Distinct names: traffic of as many routes."""
    return [SeriesKey("api", "edge", f"GET /r/{number}", "traffic") for number in range(count)]
