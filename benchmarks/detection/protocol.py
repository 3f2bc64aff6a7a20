"""From scores to pages, the same for every peer: one page an excursion, and what a better threshold would have given.

An excursion begins with the first row at or over the threshold and ends after `max(3 rows, 30 min)` under it. It pages once, at its
first row; with reminders, again every `max(12 rows, 4 h)` while rows are over the threshold. A row without a score is
under it. Excursions are followed from the first row of the history on, so one that is open when an incident begins does not find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.detection.score import Figures, Incidents, Tally, figures, quiet_rows, tally
from benchmarks.detection.sources import Floats, Grid, Ints, LabelledSeries

_REMINDER_S = 14_400
THRESHOLD_SCALES = 2.0 ** (np.arange(-24, 97) / 12)
"""Thresholds tried, as multiples of a peer's own: a quarter of it to 256 times, by steps of 6 %."""
OWN_SCALE = 24
"""Which of them is the peer's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One series under every threshold.

    Attributes:
        tallies: for each of `THRESHOLD_SCALES`.
        cpu_s: process time that the scores took.
        row_count: rows that were scored, history included.
    """

    tallies: tuple[Tally, ...]
    cpu_s: float
    row_count: int


def page_rows(score: Floats, threshold: float, *, step_s: int, with_reminders: bool) -> Ints:
    """Rows at which a page goes out."""
    firing = np.flatnonzero(score >= threshold)
    if not firing.size:
        return firing
    is_first = np.concatenate([[True], np.diff(firing) > quiet_rows(step_s)])
    if not with_reminders:
        first: Ints = firing[is_first]
        return first
    again_rows = max(12, _REMINDER_S // step_s)
    begins = np.flatnonzero(is_first)
    paged = []
    for begin, end in zip(begins, [*begins[1:], firing.size], strict=True):
        at = int(begin)
        while at < end:
            paged.append(firing[at])
            at = int(np.searchsorted(firing, firing[at] + again_rows))
    return np.array(paged, np.int64)


def sweep(
    score: Floats,
    *,
    own_threshold: float,
    grid: Grid,
    series: LabelledSeries,
    incidents: Incidents,
    with_reminders: bool,
) -> tuple[Tally, ...]:
    """Tallies of one series for each of `THRESHOLD_SCALES`."""
    return tuple(
        tally(
            grid.time_s[
                page_rows(
                    score,
                    own_threshold * scale,
                    step_s=grid.step_s,
                    with_reminders=with_reminders,
                )
            ],
            series,
            incidents,
        )
        for scale in THRESHOLD_SCALES
    )


def best_within(series: Sequence[Swept], *, false_per_week_max: float) -> Figures | None:
    """The most recall that one threshold for all series gives within a budget of false pages.

    The threshold is chosen with the labels, so this flatters every peer alike. None when no threshold keeps the budget.
    """
    best: Figures | None = None
    for scale in range(THRESHOLD_SCALES.size):
        now = figures(one.tallies[scale] for one in series)
        if now.false_per_week <= false_per_week_max and (
            best is None or now.recall_ratio > best.recall_ratio
        ):
            best = now
    return best
