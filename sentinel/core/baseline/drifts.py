"""Which series have drifted: another level than four weeks ago, that came week by week.

Whatever follows a level cannot see it move slowly, so here the last seven days are held against the same weekdays and times of
day four weeks before, and each week in between as well, and the one before. Means of four hours are enough: what moves in weeks shows in them.

    traffic, latency    r[k] = median over days of the median over a day's slots of log(week k / the same slot of week 0)
    errors              r[k] = log((E[k] + a) / (E[0] + a)), E the share that failed of the calls of a week's five best days, a = 0.05 %

With r[0] = 0 the path r[0..4] is a drift where all of this holds:

    far         |r[4]| >= log(ratio), on a side that matters for the series
    no wave     of the week before week 0, where it is known, r[4] is three quarters of that away: months and weeks do not fit
                together, so their turns come and go as waves
    gradual     no week's step is more than three fifths of the way, and none goes back by more than a tenth of it: a step is an
                incident's to tell, and a week that was different is no drift. Four days or more lie between a quarter and
                three quarters of the way: a step in the middle of a week has its median anywhere, and no such days
    not told    the steps of weeks in which a level was adopted or accepted are not counted, and the rest is still so far
    no wandering    |r[4]| is twice as far as the series goes in four weeks of itself (`_wander`); of errors also four
                standard errors of the number that failed

The medians make a few special days of a week harmless; days that a calendar names are left out, and so is what was seen in
incidents. Where too little is known of the first or the last week, or of more than one between, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.calendar import DAY_NS, Calendar
from sentinel.core.model import DRIFT_WEEKS, Drift, Kind, WindowBlock
from sentinel.core.stats.ordering import median_of_rows

LEVEL_KINDS = (Kind.TRAFFIC, Kind.LATENCY)
"""What counts as slow is learned anew each day, so the share of slow calls cannot drift; a gauge may settle anywhere."""
SLOT_NS = DAY_NS // 6
_SLOTS = DAY_NS // SLOT_NS
_WEEK_DAYS = 7
_WEEK_NS = _WEEK_DAYS * DAY_NS
_LEAST_NS = (DRIFT_WEEKS + 1) * _WEEK_NS - _WEEK_NS // 2
"""Without half of the week that all are held against nothing can be said."""
_WEEKS = DRIFT_WEEKS + 2
_SPAN_NS = _WEEKS * _WEEK_NS
_KNOWN_RATIO = 8
"""A slot is known from an eighth of its windows on: of a quiet route's latency there is often no more."""
_SLOTS_MIN = 1
"""A nightly job has one."""
_DAYS_MIN = 3
_WEEKS_BETWEEN_MIN = DRIFT_WEEKS - 2
_SMALL_RATIO = 0.05
"""Slots below so much of the mean are noise of a few calls, or a stop."""
_STEP_RATIO_MAX = 0.6
_BACK_RATIO_MAX = 0.1
_OLDER_RATIO_MIN = 0.75
_BETWEEN_DAYS_MIN = 4
_BETWEEN_MIN_RATIO = 0.25
_SURE = 2.0
_LAG_DAYS = 4
_APART_MIN = 8
_SURE_COUNT = 4.0
_ERRORS_FLOOR = 0.000_5
_ERRORS_MIN = 0.000_5
"""A twentieth of a percentage point more is the least rise of errors that is told."""
_WORST_DAYS = 2
_MEAN_ABS = 1.2533


class SettledLevel(NamedTuple):
    """A level that was taken for the new normal: people were told of it.

    Attributes:
        series_id: of which series.
        opened_ns, resolved_ns: of the incident that told.
    """

    series_id: int
    opened_ns: int
    resolved_ns: int


class _Path(NamedTuple):
    """What is known of C columns, oldest first.

    Attributes:
        log: (5, C), r[0..4] with r[0] = 0.
        older: (C), r of the week before week 0.
        level: (5, C), the same as levels.
        day: (4, 7, C), the days that r[1..4] are made of.
        wander: (C), how far the series goes in four weeks of itself.
        counts: bool[C], whether enough calls are behind the change.
    """

    log: NDArray[np.float64]
    older: NDArray[np.floating]
    level: NDArray[np.float64]
    day: NDArray[np.floating]
    wander: NDArray[np.float64]
    counts: NDArray[np.bool_]


def drifts_of(
    history: WindowBlock,
    *,
    ratio: float,
    calendar: Calendar,
    left_out: NDArray[np.bool_] | None = None,
    settled: Iterable[SettledLevel] = (),
    above: NDArray[np.bool_] | None = None,
    below: NDArray[np.bool_] | None = None,
) -> list[Drift]:
    """The series of a history that have drifted by its end, in their order.

    Args:
        history: windows of the past, a whole number of them to four hours; what is older than six weeks is not looked at.
        ratio: as many times as much, or as little, is a drift; above 1.
        calendar: its special days are left out.
        left_out: bool[T, S], windows that are not to be looked at.
        settled: levels that people were told of.
        above: bool[S], whether a rise matters; of all where it is not given.
        below: bool[S], whether a fall matters; of traffic alone where it is not given.
    """
    per_slot = SLOT_NS // history.step_ns
    slot_count = _SPAN_NS // SLOT_NS
    used = min(history.window_count // per_slot, slot_count) * per_slot
    if used * history.step_ns < _LEAST_NS:
        return []
    block = history.windows(history.window_count - used, history.window_count)
    if left_out is not None:
        left_out = left_out[history.window_count - used :]
    rises = np.ones(block.series_count, np.bool_) if above is None else above
    falls = block.kind == int(Kind.TRAFFIC) if below is None else below
    ordinary = _ordinary_slots(history.end_ns, slot_count, calendar)
    told = _told_steps(settled, block.series, history.end_ns)
    found: dict[int, Drift] = {}
    for columns, of_kind in (
        (np.flatnonzero(np.isin(block.kind, np.array(LEVEL_KINDS, np.int8))), _levels),
        (np.flatnonzero(block.kind == int(Kind.ERRORS)), _shares),
    ):
        if not columns.size:
            continue
        path = of_kind(block, columns, per_slot, left_out, ordinary)
        has = _has_drifted(path, told[:, columns], math.log(ratio))
        up = path.log[-1] > 0
        has &= np.where(up, rises[columns], falls[columns])
        for at in np.flatnonzero(has).tolist():
            series_id = int(block.series[columns[at]])
            before, *weeks = path.level[:, at].tolist()
            found[series_id] = Drift(series_id=series_id, before=before, weeks=tuple(weeks))
    return [found[series_id] for series_id in sorted(found)]


def _has_drifted(path: _Path, told: NDArray[np.bool_], far: float) -> NDArray[np.bool_]:
    """bool[C], from the path of weeks and the steps (4, C) that people were told of."""
    known = np.isfinite(path.log)
    enough = known[0] & known[-1] & (known[1:-1].sum(axis=0) >= _WEEKS_BETWEEN_MIN)
    carried = path.log.copy()
    for week in range(1, len(carried)):
        # The step over a week that is not known is one step, and no slope.
        carried[week] = np.where(known[week], carried[week], carried[week - 1])
    side = np.sign(carried[-1])
    steps = np.where(told, 0.0, np.diff(carried, axis=0)) * side
    way = steps.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        is_far = (np.abs(carried[-1]) >= far) & (way >= far)
        is_far &= ~((carried[-1] - path.older) * side < _OLDER_RATIO_MIN * far)
        is_gradual = (steps.max(axis=0) <= _STEP_RATIO_MAX * way) & (
            steps.min(axis=0) >= -_BACK_RATIO_MAX * way
        )
        share = path.day / carried[-1]
        between = (share > _BETWEEN_MIN_RATIO) & (share < 1 - _BETWEEN_MIN_RATIO)
        is_gradual &= between.sum(axis=(0, 1)) >= _BETWEEN_DAYS_MIN
        return np.asarray(
            enough & is_far & is_gradual & (way >= _SURE * path.wander) & path.counts
        )


def _levels(
    block: WindowBlock,
    columns: NDArray[np.intp],
    per_slot: int,
    left_out: NDArray[np.bool_] | None,
    ordinary: NDArray[np.bool_],
) -> _Path:
    # Of all columns: to take some of them out of six weeks of windows costs more than their sums.
    mean = _by_week(_slot_means(block.value, per_slot, left_out)[:, columns], ordinary)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = _mean(mean)
        log = np.log(np.where(mean > _SMALL_RATIO * size, mean, np.nan))
    apart = np.concatenate([log[:1], log[2:]]) - log[1]
    day = _median(np.moveaxis(apart, 2, 0), at_least=_SLOTS_MIN)
    week = _median(np.moveaxis(day, 1, 0), at_least=_DAYS_MIN)
    older, day, week = week[0], day[1:], week[1:]
    path = np.concatenate([np.zeros((1, len(columns)), np.float32), week]).astype(np.float64)
    before = _mean(np.where(np.isnan(log[1]), np.nan, mean[1])[None])
    return _Path(
        log=path,
        older=older,
        level=before * np.exp(path),
        day=day,
        wander=_wander(day, week),
        counts=np.ones(len(columns), np.bool_),
    )


def _shares(
    block: WindowBlock,
    columns: NDArray[np.intp],
    per_slot: int,
    left_out: NDArray[np.bool_] | None,
    ordinary: NDArray[np.bool_],
) -> _Path:
    value, calls = block.value[:, columns], block.weight[:, columns]
    there = np.isfinite(value) & (calls > 0) & np.isfinite(calls)
    if left_out is not None:
        there &= ~left_out[:, columns]
    calls = np.where(there, calls, np.float32(0))
    failed = np.where(there, value, np.float32(0)) * calls
    calls_of, failed_of = (
        np.nan_to_num(_by_week(_slot_sums(one, per_slot), ordinary), nan=0.0).sum(axis=2)
        for one in (calls, failed)
    )
    floor = _ERRORS_FLOOR
    with np.errstate(invalid="ignore", divide="ignore"):
        by_day = failed_of / calls_of
        day = np.log(by_day + floor)
        # An hour in which all failed would be the week: of each the worst days are left out, of all weeks alike.
        place = np.argsort(np.where(calls_of > 0, by_day, -1.0), axis=1)[:, :-_WORST_DAYS]
        kept_calls = np.take_along_axis(calls_of, place, axis=1)
        total = kept_calls.sum(axis=1)
        failed_count = np.take_along_axis(failed_of, place, axis=1).sum(axis=1)
        enough = (calls_of > 0).sum(axis=1) >= _DAYS_MIN + _WORST_DAYS - 1
        share = np.where(enough & (total > 0), failed_count / total, np.nan)
        path = np.log(share + floor) - np.log(share[1] + floor)
        older, path, total, share = path[0], path[1:], total[1:], share[1:]
        apart = day[2:] - day[1]
        both = (share[0] * total[0] + share[-1] * total[-1]) / (total[0] + total[-1])
        chance = np.sqrt(both * (1 - both) * (1 / total[0] + 1 / total[-1]))
        moved = np.abs(share[-1] - share[0])
        counts = (moved >= _ERRORS_MIN) & (moved >= _SURE_COUNT * chance)
    return _Path(
        log=path,
        older=older,
        level=share,
        day=apart,
        wander=_wander(apart, path[1:]),
        counts=counts,
    )


def _wander(day: NDArray[np.floating], week: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the series goes in four weeks of itself: (4, 7, C) days and (4, C) weeks to (C).

    Days that are thrown anew each time are as far apart after four weeks as after one day; those of a series that wanders
    go ever further. Which it is, is seen from the distance after one day and after four.
    """
    knots = np.concatenate([np.zeros((1, week.shape[1])), week])
    # A week of which nothing is known lies between its neighbours.
    knots[1:-1] = np.where(np.isnan(knots[1:-1]), (knots[:-2] + knots[2:]) / 2, knots[1:-1])
    rest = day - _between(knots).reshape(day.shape)
    # What a weekday of the week that all are held against had of its own comes again in each.
    rest = (rest - _median(rest, at_least=1)).reshape(-1, week.shape[1])
    one, more = (_apart(rest[lag:] - rest[:-lag]) for lag in (1, _LAG_DAYS))
    with np.errstate(invalid="ignore", divide="ignore"):
        power = np.clip(np.log(more / one) / math.log(_LAG_DAYS), 0.0, 1.0)
        power = np.where(one > 0, power, 0.0)
    return np.asarray(more * (DRIFT_WEEKS * _WEEK_DAYS / _LAG_DAYS) ** power, np.float64)


def _apart(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The spread of distances, (D, C) to (C): the mean says more than the median, and a few special days are cut to its size."""
    size = np.abs(distance)
    cut = np.minimum(size, 3 * _median(size, at_least=_APART_MIN))
    return _MEAN_ABS * _mean(cut)


def _between(knots: NDArray[np.floating]) -> NDArray[np.float64]:
    """The path through the middles of five weeks, on each day of the last four: (5, C) to (28, C)."""
    at = (np.arange(DRIFT_WEEKS * _WEEK_DAYS) + _WEEK_DAYS - _WEEK_DAYS // 2) / _WEEK_DAYS
    left = np.minimum(at.astype(np.int64), DRIFT_WEEKS - 1)
    share = (at - left)[:, None]
    return np.asarray(knots[left] * (1 - share) + knots[left + 1] * share, np.float64)


def _median(rows: NDArray[np.floating], *, at_least: int) -> NDArray[np.floating]:
    """Median down axis 0 of what is known; NaN where that are too few."""
    median, count = median_of_rows(np.where(np.isfinite(rows), rows, np.nan))
    return median if count is None else np.where(count >= at_least, median, np.nan)


def _mean(slots: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over all but the last axis of what is known; NaN where nothing is."""
    flat = slots.reshape(-1, slots.shape[-1])
    there = np.isfinite(flat)
    total = np.where(there, flat, 0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / there.sum(axis=0), np.float64)


def _slot_means(
    value: NDArray[np.float32], per_slot: int, left_out: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Mean of each slot over the windows that are known; NaN where those are too few."""
    parts = value.reshape(-1, per_slot, value.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.asarray(parts.sum(axis=1) / np.float32(per_slot), np.float32)
        is_short = ~np.isfinite(mean).all(axis=0)
        if left_out is not None:
            is_short |= left_out.any(axis=0)
        if is_short.any():
            short = slice(None) if is_short.all() else np.flatnonzero(is_short)
            some = parts[:, :, short]
            there = np.isfinite(some)
            if left_out is not None:
                there &= ~left_out[:, short].reshape(some.shape)
            count = there.sum(axis=1, dtype=np.uint16)
            total = np.where(there, some, np.float32(0)).sum(axis=1)
            enough = count * _KNOWN_RATIO >= per_slot
            mean[:, short] = np.where(enough, total / np.maximum(count, 1), np.nan)
    return mean


def _slot_sums(value: NDArray[np.float32], per_slot: int) -> NDArray[np.float64]:
    # A sum of windows of four hours is exact enough; what it goes into is not.
    return np.asarray(value.reshape(-1, per_slot, value.shape[1]).sum(axis=1), np.float64)


def _by_week(slots: NDArray[np.floating], ordinary: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Slots up to the end of the history as (6 weeks, 7 days, 6 slots, C), oldest first; NaN where there are none."""
    whole = np.full((len(ordinary), slots.shape[1]), np.nan, slots.dtype)
    whole[len(ordinary) - len(slots) :] = slots
    whole[~ordinary] = np.nan
    return whole.reshape(_WEEKS, _WEEK_DAYS, _SLOTS, slots.shape[1])


def _ordinary_slots(end_ns: int, count: int, calendar: Calendar) -> NDArray[np.bool_]:
    """Whether each of the slots before `end_ns` lies on a day without a name."""
    if not calendar.class_names:
        return np.ones(count, np.bool_)
    middle_ns = end_ns - np.arange(count, 0, -1, dtype=np.int64) * SLOT_NS + SLOT_NS // 2
    days = (middle_ns + calendar.offset_ns(middle_ns)) // DAY_NS
    return ~np.asarray(calendar.membership(days).any(axis=1))


def _told_steps(
    settled: Iterable[SettledLevel], series: NDArray[np.int64], end_ns: int
) -> NDArray[np.bool_]:
    """bool[4, S], steps from week to week in which a level was taken for the new normal."""
    told = np.zeros((DRIFT_WEEKS, len(series)), np.bool_)
    start_ns = end_ns - (DRIFT_WEEKS + 1) * _WEEK_NS
    for one in settled:
        at = int(np.searchsorted(series, one.series_id))
        if at == len(series) or int(series[at]) != one.series_id:
            continue
        first, last = (
            (at_ns - start_ns) // _WEEK_NS for at_ns in (one.opened_ns, one.resolved_ns)
        )
        # The step into the week in which it opened, and that out of the one in which it was over.
        told[max(0, first - 1) : max(0, last + 1), at] = True
    return told
