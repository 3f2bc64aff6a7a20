"""How good pages are, the way an operator would see it.

Marked rows that are near (`max(3 steps, 30 min)`), or parted only by missing rows, are one incident. A page is true when it starts
inside an incident, with a tolerance of 2 rows before and 5 after at steps of a minute and less, of 1 and 1 otherwise.
Further pages in a found incident are neither true nor false. Every other page is false, but for those inside an
incident that began in the history. Only the part after the history counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.detection.sources import Floats, Ints, LabelledSeries

_WEEK_S = 604_800
_QUIET_S = 1800
_MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Incidents:
    """Labelled incidents of a series, apart from one another by more than the tolerance of both.

    Attributes:
        first_s, last_s: Unix seconds of the first and last marked row of each.
        early_s, late_s: how much before and after these a page may start.
    """

    first_s: Ints
    last_s: Ints
    early_s: int
    late_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the pages of one series come to.

    Attributes:
        found_count, incident_count: incidents paged, and all.
        false_count, repeat_count: pages in no incident, and further ones in a found incident.
        delay_s: from the start of each found incident to its page, 0 when the page was early.
        week_count: how long the scored part is, by its rows.
        step_s: of the series.
    """

    found_count: int
    incident_count: int
    false_count: int
    repeat_count: int
    delay_s: Floats
    week_count: float
    step_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the tallies of a data set come to; NaN where nothing can be said."""

    recall_ratio: float
    false_per_week: float
    false_per_week_of_median_series: float
    precision_ratio: float
    f1_ratio: float
    delay_rows: float


def quiet_rows(step_s: int) -> int:
    """Rows that part two incidents, or two excursions."""
    return max(3, -(-_QUIET_S // step_s))


def incidents_of(series: LabelledSeries) -> Incidents:
    """Labelled incidents of a series, the history's too."""
    step_s = series.step_s
    row = np.flatnonzero(series.is_incident)
    early_rows, late_rows = (2, 5) if step_s <= _MINUTE_S else (1, 1)
    marked_s = series.time_s[row]
    parted = (np.diff(marked_s) > quiet_rows(step_s) * step_s) & (np.diff(row) > 1)
    edge = np.flatnonzero(parted)
    begins = np.concatenate([[0], edge + 1]) if row.size else np.empty(0, np.int64)
    ends = np.concatenate([edge, [row.size - 1]]) if row.size else np.empty(0, np.int64)
    return Incidents(
        first_s=marked_s[begins.astype(np.int64)],
        last_s=marked_s[ends.astype(np.int64)],
        early_s=early_rows * step_s,
        late_s=late_rows * step_s,
    )


def tally(page_s: Floats | Ints, series: LabelledSeries, incidents: Incidents) -> Tally:
    """Hold the starts of pages (Unix seconds, any order) against the incidents of their series."""
    at = np.sort(page_s[page_s >= series.scored_from_s])
    is_scored = incidents.first_s >= series.scored_from_s
    nearest = np.searchsorted(incidents.first_s - incidents.early_s, at, side="right") - 1
    if incidents.first_s.size:
        inside = (nearest >= 0) & (at <= incidents.last_s[nearest] + incidents.late_s)
    else:
        inside = np.zeros(at.size, np.bool_)
    hit = inside.copy()
    hit[inside] = is_scored[nearest[inside]]
    found, first_page = np.unique(nearest[hit], return_index=True)
    delay_s = np.maximum(0.0, at[hit][first_page] - incidents.first_s[found])
    step_s = series.step_s
    return Tally(
        found_count=int(found.size),
        incident_count=int(np.count_nonzero(is_scored)),
        false_count=int(np.count_nonzero(~inside)),
        repeat_count=int(np.count_nonzero(hit)) - int(found.size),
        delay_s=delay_s.astype(np.float64),
        week_count=int(np.count_nonzero(series.time_s >= series.scored_from_s)) * step_s / _WEEK_S,
        step_s=step_s,
    )


def figures(tallies: Iterable[Tally]) -> Figures:
    """Sum the tallies of a data set: every incident and every week counts the same."""
    all_of = list(tallies)
    found = sum(one.found_count for one in all_of)
    incidents = sum(one.incident_count for one in all_of)
    false = sum(one.false_count for one in all_of)
    weeks = sum(one.week_count for one in all_of)
    recall = found / incidents if incidents else np.nan
    precision = found / (found + false) if found + false else np.nan
    both = recall + precision
    delays = np.concatenate([one.delay_s / one.step_s for one in all_of] or [np.empty(0)])
    per_series = [one.false_count / one.week_count for one in all_of if one.week_count]
    return Figures(
        recall_ratio=recall,
        false_per_week=false / weeks if weeks else np.nan,
        false_per_week_of_median_series=float(np.median(per_series)) if per_series else np.nan,
        precision_ratio=precision,
        f1_ratio=2 * recall * precision / both if both > 0 else 0.0,
        delay_rows=float(np.median(delays)) if delays.size else np.nan,
    )
