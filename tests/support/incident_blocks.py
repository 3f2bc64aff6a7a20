"""Blocks and verdicts for tests of incidents: named series, columns of values, scores where they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sentinel.core.model import SeriesKey, VerdictBlock, WindowBlock, kind_of_signal

STEP_NS = 10_000_000_000
START_NS = 1_790_000_000_000_000_000
NAN = float("nan")


def block_of(
    keys: Mapping[int, SeriesKey],
    value: Sequence[Sequence[float]],
    *,
    weight: Sequence[Sequence[float]] | None = None,
    heard: Sequence[Sequence[bool]] | None = None,
    start_ns: int = START_NS,
    step_ns: int = STEP_NS,
) -> WindowBlock:
    """T rows of S values; weight 100 and heard everywhere unless said otherwise."""
    values = np.array(value, dtype=np.float32)
    shape = values.shape
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.array(sorted(keys), dtype=np.int64),
        kind=np.array(
            [int(kind_of_signal(keys[series_id].signal)) for series_id in sorted(keys)],
            dtype=np.int8,
        ),
        value=values,
        weight=(
            np.full(shape, 100.0, dtype=np.float32)
            if weight is None
            else np.array(weight, dtype=np.float32)
        ),
        heard=(
            np.ones(shape, dtype=np.bool_) if heard is None else np.array(heard, dtype=np.bool_)
        ),
    )


def verdicts_of(
    block: WindowBlock, score: Sequence[Sequence[float]] | float, *, direction: int = 1
) -> VerdictBlock:
    """Verdicts with these scores (or one everywhere); expected 1, band 0.5 to 1.5 where there is a score."""
    shape = block.value.shape
    scores = np.broadcast_to(np.array(score, dtype=np.float32), shape).copy()
    known = np.where(np.isnan(scores), np.nan, 1.0)
    return VerdictBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        value=block.value,
        weight=block.weight,
        score=scores,
        expected=(1.0 * known).astype(np.float32),
        lower=(0.5 * known).astype(np.float32),
        upper=(1.5 * known).astype(np.float32),
        direction=np.where(np.isnan(scores), 0, direction).astype(np.int8),
        reason=np.zeros(shape, dtype=np.int8),
    )
