"""A latency is judged by its share of slow calls as soon as that is judged, and by its quantile only until then.

Both are series of their own; where the share has a band in a window, the quantile of the same place has none and no score, is unknown
for that reason, and is there for people to read. A static limit on it holds all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SIGNAL_LATENCY, Kind, Reason, SeriesKey, VerdictBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Places that have both.

    Attributes:
        series: int64[S], what they were worked out from.
        latency, slow: intp[P], columns of each place's two series.
    """

    series: NDArray[np.int64]
    latency: NDArray[np.intp]
    slow: NDArray[np.intp]


def pairs_of(
    known: Pairs | None,
    series: NDArray[np.int64],
    kind: NDArray[np.int8],
    keys: Mapping[int, SeriesKey],
) -> Pairs | None:
    """The pairs among these series; None where there is no share of slow calls.

    Args:
        known: an earlier answer, which is handed back while nothing changed.
        series: int64[S], ids, ascending.
        kind: int8[S].
        keys: names by id.
    """
    if known is not None and (known.series is series or np.array_equal(known.series, series)):
        return known
    slow = np.flatnonzero(kind == Kind.SLOW)
    if not slow.size:
        return None
    at = {keys[int(series[one])]: one for one in np.flatnonzero(kind == Kind.LATENCY).tolist()}
    found = [
        (at[latency], one)
        for one in slow.tolist()
        if (latency := keys[int(series[one])]._replace(signal=SIGNAL_LATENCY)) in at
    ]
    columns = np.array(found, np.intp).reshape(-1, 2)
    return Pairs(series=series, latency=columns[:, 0], slow=columns[:, 1])


_YIELDING = (Reason.SCORED, Reason.NO_SCALE, Reason.NO_HISTORY, Reason.TOO_FEW)
"""There is a value; of the others their own reason says more."""


def yield_latency(verdicts: VerdictBlock, pairs: Pairs | None) -> None:
    """Take band and score away from latencies whose share of slow calls is judged; the verdicts are changed in place."""
    row, at = _judged(verdicts, pairs)
    if not row.size:
        return
    yields = np.isin(verdicts.reason[row, at], _YIELDING)
    row, at = row[yields], at[yields]
    verdicts.reason[row, at] = Reason.YIELDED
    for bound in (verdicts.lower, verdicts.upper, verdicts.score):
        bound[row, at] = np.nan
    verdicts.direction[row, at] = 0
    for column in (verdicts.views, verdicts.gate):
        if column is not None:
            column[row, at] = 0


def without_horizons(
    pressed: VerdictBlock, verdicts: VerdictBlock, pairs: Pairs | None
) -> VerdictBlock:
    """`pressed` with the windows' own `verdicts` where `yield_latency` took the band: no horizon stands in there."""
    if pressed is verdicts or pressed.horizon_s is None:
        return pressed
    row, at = _judged(verdicts, pairs)
    if not row.size:
        return pressed
    changed = {}
    for name in ("value", "weight", "score", "expected", "lower", "upper", "direction", "reason"):
        column = getattr(pressed, name).copy()
        column[row, at] = getattr(verdicts, name)[row, at]
        changed[name] = column
    for name in ("horizon_s", "views", "gate"):
        if (column := getattr(pressed, name)) is not None:
            column = column.copy()
            column[row, at] = 0
            changed[name] = column
    if pressed.lasting is not None:
        lasting = pressed.lasting.copy()
        lasting[:, row, at] = np.nan
        changed["lasting"] = lasting
    return replace(pressed, **changed)


def yielded_horizons(
    horizons: NDArray[np.float32], verdicts: VerdictBlock, pairs: Pairs | None
) -> NDArray[np.float32]:
    """The last verdicts of longer horizons, float32[3, 6, S], without a score where the last window's latency yields.

    Whoever reads them takes the strangest of a series: it would be that of a quantile that nobody is told of.
    """
    row, at = _judged(verdicts, pairs)
    at = at[row == len(verdicts.score) - 1]
    if not at.size:
        return horizons
    found = horizons.copy()
    found[:, 3:, at] = np.nan
    return found


def _judged(
    verdicts: VerdictBlock, pairs: Pairs | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of latencies whose share of slow calls has a band, whether or not calls came in that window."""
    if pairs is None or not pairs.slow.size:
        none = np.zeros(0, np.intp)
        return none, none
    row, number = np.nonzero(np.isfinite(verdicts.expected[:, pairs.slow]))
    return row, pairs.latency[number]
