"""What single series are asked for, where somebody set it apart from their kind or the meaning of a gauge is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Direction, KnownGauge, SeriesKey, known_gauge
from sentinel.core.scoring.settings import SeriesRule

SET_APART = ("deviation_min", "deviation_ratio_min", "weight_min")
"""Fields of `KindRule` that a rule may set for single series."""
_SIDES = {
    Direction.BOTH: (True, True),
    Direction.HIGH: (True, False),
    Direction.LOW: (False, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What S series are asked for; NaN where it is what their kind is asked for.

    Attributes:
        series, rules: what it was worked out from.
        deviation_min, deviation_ratio_min, weight_min: float32[S], see `KindRule`.
        above, below: float32[S], whether values on that side can be strange: 1 or 0.
    """

    series: NDArray[np.int64]
    rules: tuple[SeriesRule, ...]
    deviation_min: NDArray[np.float32]
    deviation_ratio_min: NDArray[np.float32]
    weight_min: NDArray[np.float32]
    above: NDArray[np.float32]
    below: NDArray[np.float32]

    def over(self, field: str, of_kind: NDArray[np.float32]) -> NDArray[np.float32]:
        """A column of the kinds with what was set for single series put in."""
        own: NDArray[np.float32] = getattr(self, field)
        return np.where(np.isnan(own), of_kind, own)


def demands_of(
    known: Demands | None,
    series: NDArray[np.int64],
    keys: Mapping[int, SeriesKey],
    rules: tuple[SeriesRule, ...],
) -> Demands | None:
    """What the series are asked for; None where their names are not known.

    Args:
        known: an earlier answer, which is handed back while nothing changed.
        series: int64[S], ids.
        keys: names by id; every series has one, unless there are none at all.
        rules: what was set; for each setting the first rule counts that matches a series and sets it. What no rule sets
            is what is known of the gauge's name.
    """
    if not keys:
        return None
    if known is not None and known.series is series and known.rules is rules:
        return known
    columns = {
        name: np.full(len(series), np.nan, np.float32) for name in (*SET_APART, "above", "below")
    }
    for at, series_id in enumerate(series.tolist()):
        key = keys[series_id]
        known_one = known_gauge(key)
        if known_one is not None:
            _fill_known(columns, at, known_one)
        _fill(columns, at, [rule for rule in rules if rule.matches(key)])
    return Demands(series=series, rules=rules, **columns)


def _fill_known(columns: Mapping[str, NDArray[np.float32]], at: int, gauge: KnownGauge) -> None:
    columns["deviation_min"][at] = gauge.deviation_min
    columns["above"][at], columns["below"][at] = _SIDES[gauge.direction]


def _fill(
    columns: Mapping[str, NDArray[np.float32]], at: int, rules: Sequence[SeriesRule]
) -> None:
    # From the last to the first, so that the first has the last word.
    for rule in reversed(rules):
        for name in SET_APART:
            number: float | None = getattr(rule, name)
            if number is not None:
                columns[name][at] = number
        if rule.direction is not None:
            columns["above"][at], columns["below"][at] = _SIDES[rule.direction]
