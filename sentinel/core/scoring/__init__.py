"""Window and expectation to verdict."""

from sentinel.core.scoring.learn import learn
from sentinel.core.scoring.score import Scored, score
from sentinel.core.scoring.settings import KIND_RULES, Grid, KindRule, ScoringSettings, Sensitivity
from sentinel.core.scoring.spans import prepared, span
from sentinel.core.scoring.state import DetectorState, adopt_rows, new_state, state_from_bytes

__all__ = [
    "KIND_RULES",
    "DetectorState",
    "Grid",
    "KindRule",
    "Scored",
    "ScoringSettings",
    "Sensitivity",
    "adopt_rows",
    "learn",
    "new_state",
    "prepared",
    "score",
    "span",
    "state_from_bytes",
]
