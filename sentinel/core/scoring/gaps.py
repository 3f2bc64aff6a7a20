"""Windows that were never decided, such as those of a time in which Sentinel did not run, count as missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import ExpectationBlock, WindowBlock
from sentinel.core.scoring.horizons import pass_horizons
from sentinel.core.scoring.learn import learn
from sentinel.core.scoring.score import score
from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.spans import advance
from sentinel.core.scoring.state import DetectorState


def pass_gap(
    state: DetectorState,
    block: WindowBlock,
    *,
    frozen: NDArray[np.bool_],
    settings: ScoringSettings,
) -> None:
    """Bring the state through the windows between the last one learnt and the block's first.

    As many missing windows as there are recent residuals leave nothing that holds only for a moment; what
    lies behind them changes no more than the hours that end.
    """
    if state.next_ns == 0:
        return
    pass_horizons(state, block.start_ns)
    shape = (1, state.series_count)
    for _ in range(state.recent.shape[0]):
        if state.next_ns >= block.start_ns:
            return
        missing = WindowBlock(
            start_ns=state.next_ns,
            step_ns=state.step_ns,
            series=state.series,
            kind=block.kind,
            value=np.full(shape, np.nan, np.float32),
            weight=np.zeros(shape, np.float32),
            heard=np.zeros(shape, np.bool_),
        )
        advance(state, missing, settings=settings)
        nothing = ExpectationBlock(
            start_ns=missing.start_ns,
            step_ns=missing.step_ns,
            series=state.series,
            expected=np.full(shape, np.nan),
            version=0,
        )
        scored = score(state, missing, nothing, frozen=frozen, settings=settings)
        learn(state, scored, window_count=1, open_incident=frozen, settings=settings)
