"""A level that has moved over weeks: what a fit says of a series, and what its ticket is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

DRIFT_WEEKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A series whose level is another than four weeks ago, and came there step by step.

    Attributes:
        series_id: which series.
        before: its level in the week that ended four weeks before the last one did.
        weeks: its level in each week since, oldest first; NaN where too little is known of a week in between.
    """

    series_id: int
    before: float
    weeks: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weeks) != DRIFT_WEEKS:
            msg = f"a drift tells of {DRIFT_WEEKS} weeks, not {len(self.weeks)}"
            raise ValueError(msg)

    @property
    def now(self) -> float:
        """Its level in the last seven days."""
        return self.weeks[-1]

    @property
    def factor(self) -> float:
        """How many times the level before it is now; infinite where there was nothing before.

        >>> Drift(series_id=1, before=0.120, weeks=(0.128, 0.138, 0.147, 0.156)).factor
        1.3
        """
        return self.now / self.before if self.before > 0 else math.inf

    @property
    def strength(self) -> float:
        """How far it has moved, upward or downward alike: the larger of both levels over the smaller."""
        return (
            self.factor if self.factor >= 1 else 1 / self.factor if self.factor > 0 else math.inf
        )
