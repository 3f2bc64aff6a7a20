"""What counts as slow, learned from the hourly histograms of a store; a part of the fitting child's work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import (
    NO_BOUND,
    Calendar,
    SlowBounds,
    bounds_of_hours,
    quarantined,
)
from sentinel.core.model import (
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    HistogramBlock,
    Incident,
    Kind,
    SeriesKey,
    WindowBlock,
)
from sentinel.ports import SeriesRow

HOUR_NS = 3_600_000_000_000
HISTORY_DAYS = 14
"""Long enough that a slow day does not move a bound, short enough that a release does."""
RENEWED_AFTER_NS = 24 * HOUR_NS
"""Bounds are learned once a day: two weeks move little in an hour, and reading them takes seconds."""
_AHEAD_HOURS = 24 + 28
"""As long as they are kept, and as far as the last fit that keeps them reaches."""


class HourRow(Protocol):
    """Histograms of one hour."""

    @property
    def start_ns(self) -> int:
        """Start of the hour (UTC)."""
        ...

    @property
    def series(self) -> NDArray[np.int64]:
        """Ids of the series that have one, ascending."""
        ...

    @property
    def histograms(self) -> HistogramBlock:
        """Their counts."""
        ...


class HistogramReader(Protocol):
    """What of a store is read."""

    def histogram_hours(self, *, start_ns: int, end_ns: int) -> list[int]:
        """Starts of the stored hours that begin in `[start_ns, end_ns)`."""
        ...

    def histogram_hour(self, start_ns: int) -> HourRow | None:
        """One of them; None when it is gone or damaged."""
        ...


def fit_slow_bounds(
    reader: HistogramReader,
    rows: Iterable[SeriesRow],
    incidents: Sequence[Incident],
    *,
    now_ns: int,
    calendar: Calendar,
    kept: SlowBounds | None = None,
) -> SlowBounds | None:
    """The bounds for the next two days; None where no latency has enough calls in its histograms.

    Args:
        reader: the store.
        rows: its series.
        incidents: what was seen in them is not learned.
        now_ns: up to where the past is known; the hour that runs is left out.
        calendar: the wall clock whose hours of the day are compared.
        kept: of the fit before; they are handed back while they are younger than a day.
    """
    if kept is not None and 0 <= now_ns - kept.start_ns < RENEWED_AFTER_NS:
        return kept
    keys = {row.series_id: row.key for row in rows if row.kind is Kind.LATENCY}
    series = np.array(sorted(keys), np.int64)
    end_ns = now_ns // HOUR_NS * HOUR_NS
    start_ns = end_ns - HISTORY_DAYS * 24 * HOUR_NS
    hours = reader.histogram_hours(start_ns=start_ns, end_ns=end_ns)
    if not series.size or not hours:
        return None
    left_out = _left_out(incidents, keys, series, start_ns=start_ns, end_ns=end_ns)
    by_local = sorted(hours, key=lambda at_ns: (_local_hour(at_ns, calendar), at_ns))

    def read() -> Iterator[tuple[int, NDArray[np.int64], HistogramBlock]]:
        for at_ns in by_local:
            found = reader.histogram_hour(at_ns)
            if found is None:
                continue
            ids = found.series
            if left_out is not None:
                # Ids that are none of ours name no row, and are passed over.
                gone = series[left_out[(at_ns - start_ns) // HOUR_NS]]
                ids = np.where(np.isin(ids, gone), -1, ids)
            yield _local_hour(at_ns, calendar), ids, found.histograms

    by_hour = bounds_of_hours(read(), series=series)
    ahead = [end_ns + number * HOUR_NS for number in range(_AHEAD_HOURS)]
    bucket = by_hour[[_local_hour(at_ns, calendar) for at_ns in ahead]]
    known = (bucket != NO_BOUND).any(axis=0)
    if not known.any():
        return None
    return SlowBounds(start_ns=end_ns, series=series[known], bucket=bucket[:, known])


def _local_hour(at_ns: int, calendar: Calendar) -> int:
    return (at_ns + calendar.offset_at(at_ns)) // HOUR_NS % 24


def _left_out(
    incidents: Sequence[Incident],
    keys: Mapping[int, SeriesKey],
    series: NDArray[np.int64],
    *,
    start_ns: int,
    end_ns: int,
) -> NDArray[np.bool_] | None:
    """bool[H, L], hours in which a place was slow in an incident, whichever of its two series was seen."""
    by_scope = {key.scope: series_id for series_id, key in keys.items()}
    hours = (end_ns - start_ns) // HOUR_NS
    blank = np.zeros((hours, len(series)), np.float32)
    block = WindowBlock(
        start_ns=start_ns,
        step_ns=HOUR_NS,
        series=series,
        kind=np.full(len(series), int(Kind.LATENCY), np.int8),
        value=blank,
        weight=blank,
        heard=np.ones(blank.shape, np.bool_),
    )

    # Members are told by the share of slow calls once there is one; it is the latency's histogram that they are about.
    told = [
        replace(
            one,
            members=tuple(
                replace(member, series_id=by_scope.get(member.key.scope, member.series_id))
                if member.key.signal in (SIGNAL_SLOW, SIGNAL_LATENCY)
                else member
                for member in one.members
            ),
        )
        for one in incidents
    ]
    return quarantined(told, block, keys, at_ns=end_ns)
