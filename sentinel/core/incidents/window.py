"""One window as the incidents look at it: its verdicts, and what of them is worth a sighting."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.guards import Trip
from sentinel.core.incidents.hysteresis import Sighting, guard_score
from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.stops import Thought
from sentinel.core.incidents.text import quantity
from sentinel.core.model import HORIZONS_S, Kind, VerdictBlock, View, WindowBlock

_NEAR_SHARE = 0.4
"""So far from the level before an adopted one a value is not back at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One row of a block with what was thought of it.

    Attributes:
        block, verdicts, usual, back: of the block; see `track`.
        at: its row.
        layout: of the columns.
        strange: whether any of its scores is 1 or more.
    """

    block: WindowBlock
    verdicts: VerdictBlock
    usual: NDArray[np.float64]
    back: NDArray[np.float64] | None = None
    at: int
    layout: Layout
    strange: bool

    @property
    def step_ns(self) -> int:
        """Its width."""
        return self.block.step_ns

    @property
    def start_ns(self) -> int:
        """Its start."""
        return self.block.start_ns + self.at * self.block.step_ns

    @property
    def end_ns(self) -> int:
        """Its end."""
        return self.start_ns + self.block.step_ns

    def value_of(self, series_id: int) -> float:
        """The value of a series; NaN where there is none."""
        series = self.block.series
        column = int(np.searchsorted(series, series_id))
        known = column < len(series) and int(series[column]) == series_id
        return float(self.block.value[self.at, column]) if known else float("nan")

    def _beside(self, column: int, *, horizon_s: int) -> str:
        """Of a share of slow calls, how long the calls took: that is what people know a service by.

        Of the mean of a horizon it is that of the last window, which may be ordinary again.
        """
        latency = self.layout.latency_of.get(column)
        if latency is None:
            return ""
        key = self.layout.keys[latency]
        now = float(self.block.value[self.at, latency])
        usual = float(self.usual[self.at, latency])
        if isnan(now):
            return ""
        told = f"95th percentile {quantity(now, key)}{' at its end' if horizon_s else ''}"
        return told if isnan(usual) else f"{told}, usually {quantity(usual, key)}"

    def _lasting(self, column: int) -> tuple[tuple[int, float], ...]:
        if (lasting := self.verdicts.lasting) is None:
            return ()
        scores = lasting[:, self.at, column].tolist()
        return tuple(
            (length_s, score)
            for length_s, score in zip(HORIZONS_S, scores, strict=True)
            if not isnan(score)
        )

    def thought(self) -> Thought:
        """What was expected of the window."""
        return Thought(
            usual=self.usual[self.at],
            expected=self.verdicts.expected[self.at],
            lower=self.verdicts.lower[self.at],
        )

    def returns(self, column: int) -> bool:
        """Whether traffic that left what is expected of it lies where it usually lies at this hour.

        What was expected had followed a change, and the change is over: the way back is no news. The same holds of the
        level before one that was adopted.
        """
        if int(self.layout.kind[column]) != Kind.TRAFFIC:
            return False
        value, usual = (
            float(self.verdicts.value[self.at, column]),
            float(self.usual[self.at, column]),
        )
        verdicts = self.verdicts
        expected = float(verdicts.expected[self.at, column])
        rises = int(verdicts.direction[self.at, column]) > 0
        edge = float((verdicts.upper if rises else verdicts.lower)[self.at, column])
        half = edge - expected
        if value <= usual + half if rises else value >= usual + half:
            return True
        if self.back is None or isnan(back := float(self.back[column])):
            return False
        # Near it on both sides: half of what was adopted may be a fault, and lies on the way. The mean of a horizon lies
        # between the levels while it holds windows of both.
        value = float(self.block.value[self.at, column])
        return rises == (back > 1) and abs(value - usual * back) <= min(
            abs(half) * back, _NEAR_SHARE * usual * back
        )

    def rises(self, column: int) -> bool:
        """Whether a series lies above what is expected."""
        return int(self.verdicts.direction[self.at, column]) > 0

    def sighting(self, column: int, trip: Trip | None) -> Sighting:
        """What is strange of a column, by its verdict or by a guard that tripped."""
        at, key = self.at, self.layout.keys[column]
        score = float(self.verdicts.score[at, column])
        direction = int(self.verdicts.direction[at, column])
        views = self.verdicts.views
        horizons_s = self.verdicts.horizon_s
        horizon_s = 0 if horizons_s is None else int(horizons_s[at, column])
        return Sighting(
            series_id=int(self.block.series[column]),
            key=key,
            symptom=trip is not None or int(self.layout.kind[column]) != Kind.GAUGE,
            start_ns=self.start_ns,
            first_ns=self.start_ns if trip is None else trip.first_ns,
            direction=direction if trip is None else trip.direction,
            score=score if trip is None else guard_score(score),
            value=float(self.verdicts.value[at, column]),
            expected=float(self.verdicts.expected[at, column]),
            lower=float(self.verdicts.lower[at, column]),
            upper=float(self.verdicts.upper[at, column]),
            weight=float(self.verdicts.weight[at, column]),
            why="" if trip is None else trip.why,
            horizon_s=horizon_s,
            views=View.NONE if views is None else View(int(views[at, column])),
            beside=self._beside(column, horizon_s=horizon_s),
            lasting=self._lasting(column),
        )
