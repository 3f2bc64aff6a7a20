"""Window and expectation to verdict."""

from sentinel.core.scoring.adopt import adopt_level, hasten_back
from sentinel.core.scoring.borrow import borrowed_rows
from sentinel.core.scoring.gaps import pass_gap
from sentinel.core.scoring.gather import Judged, gathered
from sentinel.core.scoring.learn import learn
from sentinel.core.scoring.score import Scored, score
from sentinel.core.scoring.set_back import set_back
from sentinel.core.scoring.settings import KIND_RULES, Grid, KindRule, ScoringSettings, Sensitivity
from sentinel.core.scoring.spans import advance, span
from sentinel.core.scoring.state import (
    DetectorState,
    copy_rows,
    new_state,
    select_rows,
    state_from_bytes,
    with_series,
)

__all__ = [
    "KIND_RULES",
    "DetectorState",
    "Grid",
    "Judged",
    "KindRule",
    "Scored",
    "ScoringSettings",
    "Sensitivity",
    "adopt_level",
    "advance",
    "borrowed_rows",
    "copy_rows",
    "gathered",
    "hasten_back",
    "learn",
    "new_state",
    "pass_gap",
    "score",
    "select_rows",
    "set_back",
    "span",
    "state_from_bytes",
    "with_series",
]
