"""Window and expectation to verdict."""

from sentinel.core.model import Direction
from sentinel.core.scoring.adopt import adopt_level, hasten_back
from sentinel.core.scoring.borrow import borrowed_rows
from sentinel.core.scoring.clock import follow_clock
from sentinel.core.scoring.demands import demands_of
from sentinel.core.scoring.gaps import pass_gap
from sentinel.core.scoring.gather import Judged, gathered
from sentinel.core.scoring.horizons import look_far, pressing, take_far
from sentinel.core.scoring.learn import learn
from sentinel.core.scoring.multiples import adopted_levels, back_ratio, leave_levels, profile_ratio
from sentinel.core.scoring.rows import copy_rows, forget_moment, select_rows, with_series
from sentinel.core.scoring.score import Scored, score
from sentinel.core.scoring.set_back import set_back
from sentinel.core.scoring.settings import (
    KIND_RULES,
    Grid,
    KindRule,
    ScoringSettings,
    Sensitivity,
    SeriesRule,
)
from sentinel.core.scoring.spans import advance, span
from sentinel.core.scoring.state import (
    DetectorState,
    new_state,
    state_from_bytes,
)
from sentinel.core.scoring.yielding import (
    Pairs,
    pairs_of,
    without_horizons,
    yield_latency,
    yielded_horizons,
)

__all__ = [
    "KIND_RULES",
    "DetectorState",
    "Direction",
    "Grid",
    "Judged",
    "KindRule",
    "Pairs",
    "Scored",
    "ScoringSettings",
    "Sensitivity",
    "SeriesRule",
    "adopt_level",
    "adopted_levels",
    "advance",
    "back_ratio",
    "borrowed_rows",
    "copy_rows",
    "demands_of",
    "follow_clock",
    "forget_moment",
    "gathered",
    "hasten_back",
    "learn",
    "leave_levels",
    "look_far",
    "new_state",
    "pairs_of",
    "pass_gap",
    "pressing",
    "profile_ratio",
    "score",
    "select_rows",
    "set_back",
    "span",
    "state_from_bytes",
    "take_far",
    "with_series",
    "without_horizons",
    "yield_latency",
    "yielded_horizons",
]
