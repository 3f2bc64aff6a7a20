"""The verdicts of a block put together from what its parts and its horizons said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sentinel.core.incidents import Stopped
from sentinel.core.model import (
    VerdictBlock,
    View,
    WindowBlock,
)


def with_gathered(verdicts: VerdictBlock, raw: WindowBlock) -> VerdictBlock:
    """The verdicts with `View.GATHERED` where a strange share was judged together with calls of earlier windows."""
    if verdicts.views is None or verdicts.weight is raw.weight:
        return verdicts
    gathered = (verdicts.weight != raw.weight) & (verdicts.views > 0)
    return replace(
        verdicts, views=np.where(gathered, verdicts.views | int(View.GATHERED), verdicts.views)
    )


def with_grounds(
    verdicts: VerdictBlock, pressed: VerdictBlock, stopped: Sequence[tuple[int, Stopped]]
) -> VerdictBlock:
    """The verdicts of single windows with all that agreed, and with what stopped those that stood out."""
    gate = pressed.gate
    if stopped:
        gate = pressed.gates_or_none.copy()
        for first, one in stopped:
            gate[first + one.row, one.column] = one.gate
    if gate is verdicts.gate and pressed.views is verdicts.views:
        return verdicts
    return replace(verdicts, gate=gate, views=pressed.views)


def joined(parts: list[VerdictBlock]) -> VerdictBlock:
    """One block of verdicts of parts that follow one another."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return VerdictBlock(
        start_ns=first.start_ns,
        step_ns=first.step_ns,
        series=first.series,
        value=np.concatenate([part.value for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        expected=np.concatenate([part.expected for part in parts]),
        lower=np.concatenate([part.lower for part in parts]),
        upper=np.concatenate([part.upper for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        reason=np.concatenate([part.reason for part in parts]),
        views=None
        if all(part.views is None for part in parts)
        else np.concatenate([part.views_or_none for part in parts]),
        gate=None
        if all(part.gate is None for part in parts)
        else np.concatenate([part.gates_or_none for part in parts]),
    )
