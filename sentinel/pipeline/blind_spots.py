"""What could not be seen: how far a value may lastingly move from what is expected before it is an anomaly.

That is the band's own edge, divided by its middle; for each hour of the week the newest one counts, so that a night or a
Sunday that is judged more loosely is told apart. Nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Reason, VerdictBlock

HOUR_NS = 3_600_000_000_000
WEEK_HOURS = 168
_EPOCH_HOUR = 72
"""The first of January 1970 was a Thursday, and weeks begin on Mondays."""
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpot:
    """What of one series cannot be seen at the end of a preview.

    Attributes:
        series_id: of the series.
        judged_count: windows that had a score.
        why_not: the reason that most of its windows had, where none was judged; else None. `YIELDED` where that comes
            more often than a score: its place is judged, by another series.
        rise_ratio, fall_ratio: edges of the band in units of what is expected, the median over the hours of the week: a
            rise up to the one, a fall down to the other is not seen. NaN where nothing much is expected; infinite, or
            minus infinity, where no value on that side is strange.
        worst_rise_ratio, worst_rise_hour: the loosest hour for a rise; hours of the week count from Monday 0 h UTC, -1 for
            none.
        worst_fall_ratio, worst_fall_hour: the same for a fall.
        rise, fall: the same edges as values, where nothing is expected to divide by.
    """

    series_id: int
    judged_count: int
    why_not: Reason | None = None
    rise_ratio: float
    fall_ratio: float
    worst_rise_ratio: float
    worst_rise_hour: int
    worst_fall_ratio: float
    worst_fall_hour: int
    rise: float
    fall: float

    def moved(self, days: int) -> BlindSpot:
        """The same where the verdicts' day 0 is `days` days after 1970-01-01."""
        rise_hour, fall_hour = (
            hour if hour < 0 else (hour + 24 * days) % WEEK_HOURS
            for hour in (self.worst_rise_hour, self.worst_fall_hour)
        )
        return replace(self, worst_rise_hour=rise_hour, worst_fall_hour=fall_hour)


class BlindSpots:
    """Collects the bands while verdicts come in order."""

    def __init__(self) -> None:
        self._series: NDArray[np.int64] = np.zeros(0, np.int64)
        self._bands: NDArray[np.float32] = np.zeros((3, WEEK_HOURS, 0), np.float32)
        self._counts: NDArray[np.int64] = np.zeros((len(Reason), 0), np.int64)

    def note(self, verdicts: VerdictBlock) -> None:
        """Take the verdicts of the next windows."""
        place = self._places(verdicts.series)
        for reason in Reason:
            self._counts[reason, place] += np.count_nonzero(verdicts.reason == int(reason), axis=0)
        told = verdicts.reason == int(Reason.SCORED)
        if verdicts.horizon_s is not None:
            # The band of a longer horizon is narrower than that of the window it stands for.
            told &= verdicts.horizon_s == 0
        starts_ns = verdicts.start_ns + np.arange(len(told)) * verdicts.step_ns
        hours = (starts_ns // HOUR_NS + _EPOCH_HOUR) % WEEK_HOURS
        for hour in np.unique(hours).tolist():
            rows = np.flatnonzero(hours == hour)
            # The last window of the hour that had a band.
            last = rows[len(rows) - 1 - np.argmax(told[rows][::-1], axis=0)]
            some = np.flatnonzero(told[rows].any(axis=0))
            for at, column in enumerate((verdicts.expected, verdicts.lower, verdicts.upper)):
                self._bands[at, hour, place[some]] = column[last[some], some]

    def spots(self) -> list[BlindSpot]:
        """Of every series that was in the verdicts, by id."""
        return [self._spot(at) for at in range(len(self._series))]

    def _spot(self, at: int) -> BlindSpot:
        expected, lower, upper = self._bands[:, :, at].astype(np.float64)
        # Hours that never came stay unknown, and count for nothing.
        known = np.flatnonzero(np.isfinite(expected))
        hours = np.flatnonzero(np.isfinite(expected) & (expected > _NOTHING))
        rise, fall = upper[hours] / expected[hours], lower[hours] / expected[hours]
        loosest, lowest = (int(np.argmax(rise)), int(np.argmin(fall))) if len(hours) else (-1, -1)
        counts = self._counts[:, at]
        judged_count = int(counts[Reason.SCORED])
        return BlindSpot(
            series_id=int(self._series[at]),
            judged_count=judged_count,
            why_not=_why_not(counts),
            rise_ratio=_median(rise),
            fall_ratio=_median(fall),
            worst_rise_ratio=float(rise[loosest]) if len(hours) else float("nan"),
            worst_rise_hour=int(hours[loosest]) if len(hours) else -1,
            worst_fall_ratio=float(fall[lowest]) if len(hours) else float("nan"),
            worst_fall_hour=int(hours[lowest]) if len(hours) else -1,
            rise=_median(upper[known]),
            fall=_median(lower[known]),
        )

    def _places(self, series: NDArray[np.int64]) -> NDArray[np.intp]:
        missing = np.setdiff1d(series, self._series)
        if missing.size:
            merged = np.union1d(self._series, missing)
            bands = np.full((3, WEEK_HOURS, len(merged)), np.nan, np.float32)
            counts = np.zeros((len(Reason), len(merged)), np.int64)
            old = np.searchsorted(merged, self._series)
            bands[:, :, old], counts[:, old] = self._bands, self._counts
            self._series, self._bands, self._counts = merged, bands, counts
        return np.searchsorted(self._series, series)


def _why_not(counts: NDArray[np.int64]) -> Reason | None:
    if counts[Reason.YIELDED] > counts[Reason.SCORED]:
        return Reason.YIELDED
    return None if counts[Reason.SCORED] else Reason(int(np.argmax(counts)))


def _median(values: NDArray[np.float64]) -> float:
    # Of infinite edges the mean of two would be no number.
    return float(np.sort(values)[len(values) // 2]) if len(values) else float("nan")
