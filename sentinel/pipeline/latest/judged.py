"""What is primed from coarse history, held against the last windows of the past that are as wide as live ones.

A scale that is borrowed from windows of five minutes may be used once six live windows have shown how noisy those are (`scoring.borrow`). Where
the last hour of the past is known in windows of the live width, they have shown it already: the chain that decides live goes over them, with
incidents of its own that hold learning still while something is wrong, and are forgotten afterwards. So nobody is told of the past, and an outage
that runs while the sidecar starts is no level to begin from: of six live windows it would have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sentinel.core.baseline import Profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.core.scoring import (
    DetectorState,
    ScoringSettings,
    copy_rows,
    forget_moment,
    select_rows,
)


def held_against(
    rows: DetectorState,
    latest: WindowBlock,
    *,
    profile: Profile,
    keys: Mapping[int, SeriesKey],
    settings: ScoringSettings,
) -> DetectorState:
    """The rows after those windows; of series that are not among them they are as they were.

    Args:
        rows: as they were borrowed, on the grid of live windows; used up.
        latest: the windows.
        profile: what was expected of them, from what came before.
        keys: names by series id.
        settings: the constants.
    """
    known = np.isin(rows.series, latest.series)
    if not known.any():
        return rows
    of_rows = latest.select(np.isin(latest.series, rows.series))
    how = DecisionSettings(scoring=settings)
    state = replace(
        new_decision_state(step_ns=rows.step_ns, settings=how),
        detector=select_rows(rows, known, base_cut=0.0),
    )
    decision = decide(state, of_rows, profile=profile, keys=keys, settings=how)
    learned = decision.state.detector
    forget_moment(learned, held=np.isin(learned.series, decision.state.frozen))
    copy_rows(learned, rows)
    return rows
