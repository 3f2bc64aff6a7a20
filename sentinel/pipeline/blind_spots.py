"""What could not be seen: how far a value may lastingly move from what is expected before it is an anomaly.

That is the band's own edge, divided by its middle; for each hour of the day the newest one counts, so that a night that is
judged more loosely is told apart from a day. Nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Reason, VerdictBlock

HOUR_NS = 3_600_000_000_000
_HOURS = 24
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpot:
    """What of one series cannot be seen at the end of a preview.

    Attributes:
        series_id: of the series.
        judged_count: windows that had a score.
        rise_ratio, fall_ratio: edges of the band in units of what is expected, the median over the hours of the day: a
            rise up to the one, a fall down to the other is not seen. NaN where nothing much is expected; infinite, or
            minus infinity, where no value on that side is strange.
        worst_rise_ratio, worst_rise_hour: the loosest hour (UTC) for a rise; -1 for none.
        rise, fall: the same edges as values, where nothing is expected to divide by.
    """

    series_id: int
    judged_count: int
    rise_ratio: float
    fall_ratio: float
    worst_rise_ratio: float
    worst_rise_hour: int
    rise: float
    fall: float


class BlindSpots:
    """Collects the bands while verdicts come in order."""

    def __init__(self) -> None:
        self._series: NDArray[np.int64] = np.zeros(0, np.int64)
        self._bands: NDArray[np.float64] = np.zeros((3, _HOURS, 0))
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def note(self, verdicts: VerdictBlock) -> None:
        """Take the verdicts of the next windows."""
        place = self._places(verdicts.series)
        scored = verdicts.reason == int(Reason.SCORED)
        self._counts[place] += np.count_nonzero(scored, axis=0)
        hours = (verdicts.start_ns + np.arange(len(scored)) * verdicts.step_ns) // HOUR_NS % _HOURS
        for hour in np.unique(hours).tolist():
            rows = np.flatnonzero(hours == hour)
            told = scored[rows]
            # The last window of the hour that had a band.
            last = rows[len(rows) - 1 - np.argmax(told[::-1], axis=0)]
            some = np.flatnonzero(told.any(axis=0))
            for at, column in enumerate((verdicts.expected, verdicts.lower, verdicts.upper)):
                self._bands[at, hour, place[some]] = column[last[some], some]

    def spots(self) -> list[BlindSpot]:
        """Of every series that was in the verdicts, by id."""
        expected, lower, upper = self._bands
        # Hours that never came stay unknown, and count for nothing.
        known = np.isfinite(expected)
        some = known & (expected > _NOTHING)
        with np.errstate(invalid="ignore", divide="ignore"):
            rise = np.where(some, upper / expected, np.nan)
            fall = np.where(some, lower / expected, np.nan)
        found: list[BlindSpot] = []
        for at, series_id in enumerate(self._series.tolist()):
            ratios = np.where(some[:, at], rise[:, at], -np.inf)
            worst = int(np.argmax(ratios))
            found.append(
                BlindSpot(
                    series_id=series_id,
                    judged_count=int(self._counts[at]),
                    rise_ratio=_median(rise[some[:, at], at]),
                    fall_ratio=_median(fall[some[:, at], at]),
                    worst_rise_ratio=float(ratios[worst]),
                    worst_rise_hour=worst if some[:, at].any() else -1,
                    rise=_median(upper[known[:, at], at]),
                    fall=_median(lower[known[:, at], at]),
                )
            )
        return found

    def _places(self, series: NDArray[np.int64]) -> NDArray[np.intp]:
        missing = np.setdiff1d(series, self._series)
        if missing.size:
            merged = np.union1d(self._series, missing)
            bands = np.full((3, _HOURS, len(merged)), np.nan)
            counts = np.zeros(len(merged), np.int64)
            old = np.searchsorted(merged, self._series)
            bands[:, :, old], counts[old] = self._bands, self._counts
            self._series, self._bands, self._counts = merged, bands, counts
        return np.searchsorted(self._series, series)


def _median(values: NDArray[np.float64]) -> float:
    # Of infinite edges the mean of two would be no number.
    return float(np.sort(values)[len(values) // 2]) if len(values) else float("nan")
