"""A closed window's numbers, one column a series: what counts of calls and readings of gauges come to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import LATE_WEIGHT, PARTIAL_WEIGHT, SHED_WEIGHT, UNREACHED_WEIGHT
from sentinel.core.series.calls import CallSums
from sentinel.core.series.gauges import LATENCY_QUANTILE, GaugeValues
from sentinel.core.series.layout import Layout
from sentinel.core.series.settings import SERIES_PER_SCOPE


class Columns:
    """Value, weight and heard of every series, in the layout's order: first places of calls, then gauges.

    Attributes:
        value: float64[S], NaN where there is none.
        weight: float64[S], calls or points it is made of.
        heard: bool[S], whether its service was heard, so that its silence means something.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._split = SERIES_PER_SCOPE * len(layout.scopes)
        self.value = np.full(len(layout.keys), np.nan)
        self.weight = np.zeros(len(layout.keys))
        self.heard = np.zeros(len(layout.keys), np.bool_)

    def put_calls(self, sums: CallSums, *, heard: NDArray[np.bool_], window_s: float) -> None:
        """Traffic, errors and latency of each place; `heard` says of which the silence is known."""
        scopes, split = self._layout.scopes, self._split
        calls, failed = sums.calls[scopes], sums.failed[scopes]
        any_calls = calls > 0
        heard = any_calls | heard
        self.value[0:split:SERIES_PER_SCOPE] = np.where(heard, calls / window_s, np.nan)
        self.value[1:split:SERIES_PER_SCOPE] = np.divide(
            failed, calls, out=np.full(len(calls), np.nan), where=any_calls
        )
        self.value[2:split:SERIES_PER_SCOPE] = sums.quantile(LATENCY_QUANTILE)[scopes]
        self.weight[:split] = np.repeat(calls, SERIES_PER_SCOPE)
        self.weight[2:split:SERIES_PER_SCOPE] = sums.timed[scopes]
        self.heard[:split] = np.repeat(heard, SERIES_PER_SCOPE)

    def put_gauges(
        self,
        gauges: GaugeValues,
        *,
        heard: NDArray[np.bool_],
        quiet: NDArray[np.bool_],
        width: int,
    ) -> None:
        """Value and weight of each gauge that had points, given by slot, of which there are `width`.

        `quiet` are gauges that count what would have been told of in this window, had there been any.
        """
        split = self._split
        of_slot = np.full(width, np.nan)
        points = np.zeros(width)
        of_slot[gauges.slot] = gauges.value
        points[gauges.slot] = gauges.weight
        weight = points[self._layout.gauges]
        heard = (weight > 0) | heard
        # What counts things is 0 when nothing came; what reads a level has no value then.
        quiet = (self._layout.counted & heard | quiet) & (weight == 0)
        self.value[split:] = np.where(quiet, 0.0, of_slot[self._layout.gauges])
        self.weight[split:] = weight
        self.heard[split:] = heard

    def mark_late(self, *, scopes: NDArray[np.bool_], gauges: NDArray[np.bool_]) -> None:
        """Take silence for lateness where data came too late: of places (n) and gauges (n) that have none in time."""
        late = np.concatenate([np.repeat(scopes, SERIES_PER_SCOPE), gauges])
        # Of a place its calls decide: without any there is neither a share of errors nor a duration.
        split = self._split
        calls = self.weight[0:split:SERIES_PER_SCOPE]
        late[:split] &= np.repeat(calls == 0, SERIES_PER_SCOPE)
        late[split:] &= self.weight[split:] == 0
        self.value[late] = np.nan
        self.weight[late] = LATE_WEIGHT
        self.heard[late] = False

    def mark_shed(self, *, scopes: NDArray[np.bool_], gauges: NDArray[np.bool_]) -> None:
        """Take amounts for unknown where telemetry was shed: traffic of places (n), and gauges (n) that count.

        The calls that were taken are as good as any others, so shares and durations of them stay. The source is taken
        for heard: that it was turned away says nothing of whether it lives.
        """
        self._take_amounts_out(scopes, gauges, SHED_WEIGHT)
        of_shed = np.concatenate([np.repeat(scopes, SERIES_PER_SCOPE), gauges])
        # Late as well as shed is shed: it came late because it was turned away.
        late = of_shed & (self.weight == LATE_WEIGHT)
        self.weight[late] = 0.0
        self.heard[of_shed] = True

    def mark_unreached(self, *, gauges: NDArray[np.bool_]) -> None:
        """Say of gauges (n) that who tells of them was not reached: of those without a value nothing is known, nor of their source."""
        unreached = np.zeros(len(self.value), np.bool_)
        unreached[self._split :] = gauges
        unreached &= np.isnan(self.value) & ~np.isin(self.weight, (SHED_WEIGHT, PARTIAL_WEIGHT))
        self.weight[unreached] = UNREACHED_WEIGHT
        self.heard[unreached] = False

    def mark_partial(self, scopes: NDArray[np.bool_], gauges: NDArray[np.bool_]) -> None:
        """Take amounts for unknown of which only some collectors told: traffic of places (n), and gauges (n)."""
        self._take_amounts_out(scopes, gauges, PARTIAL_WEIGHT)
        of_both = np.concatenate([np.repeat(scopes, SERIES_PER_SCOPE), gauges])
        late = of_both & (self.weight == LATE_WEIGHT)
        self.weight[late] = 0.0
        self.heard[of_both] = True

    def _take_amounts_out(
        self, scopes: NDArray[np.bool_], gauges: NDArray[np.bool_], weight: float
    ) -> None:
        split = self._split
        amounts = np.zeros(len(self.value), np.bool_)
        amounts[0:split:SERIES_PER_SCOPE] = scopes
        amounts[split:] = gauges
        self.value[amounts] = np.nan
        self.weight[amounts] = weight

    def leave_out_immense(self) -> int:
        """Take values out that float32, in which they are stored, cannot hold; how many those were."""
        with np.errstate(over="ignore"):
            wrong = np.isinf(self.value.astype(np.float32))
        self.value[wrong] = np.nan
        self.weight[wrong] = 0.0
        return int(wrong.sum())
