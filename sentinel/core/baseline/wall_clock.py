"""Windows on the wall clock of a place and back, so that a fit compares nine o'clock with nine o'clock.

On the wall clock every day has 24 hours. Where the clock was put forward the skipped hour is filled with what came at those
instants, the hour after; where it was put back the doubled hour holds the mean of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.calendar import Calendar
from sentinel.core.baseline.profile import (
    DAY_NS,
    HORIZON_NS,
    LAG_DAYS,
    Profile,
    ease_ns,
    fit_profile,
)
from sentinel.core.baseline.special_days import SpecialDays
from sentinel.core.model import WindowBlock

_LOOK_BACK_NS = (LAG_DAYS[-1] + 2) * DAY_NS
"""As far as any fit looks, and a bit more for the clock that was moved."""
Fit = Callable[..., Profile]
"""As `fit_profile` and `fit_fourier`: (history, *, at_ns, version, horizon_ns, left_out) -> Profile."""


def on_wall_clock(block: WindowBlock, calendar: Calendar) -> WindowBlock:
    """The block with local instants for instants.

    Local instants are rounded down to the block's grid, where an offset is no whole number of windows.
    """
    pieces = _pieces(block, calendar)
    start_ns = min(local_ns for _, _, local_ns in pieces)
    if len(pieces) == 1:
        return replace(block, start_ns=start_ns, histograms=None)
    step_ns = block.step_ns
    ends = [local_ns // step_ns + last - first for first, last, local_ns in pieces]
    row_count = max(ends) - start_ns // step_ns
    value = np.full((row_count, block.series_count), np.nan, np.float32)
    written = 0
    for first, last, local_ns in pieces:
        at = (local_ns - start_ns) // step_ns
        rows = block.value[first:last]
        both = min(max(written - at, 0), last - first)
        if both:
            value[at : at + both] = _mean(value[at : at + both], rows[:both])
        value[at + both : at + last - first] = rows[both:]
        if at > written:
            # Skipped on the wall clock: what was read off at those instants had the clock not been moved.
            filled = min(at - written, last - first)
            value[written : written + filled] = rows[:filled]
        written = max(written, at + last - first)
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=block.series,
        kind=block.kind,
        value=value,
        weight=np.broadcast_to(np.float32(np.inf), value.shape),
        heard=np.broadcast_to(np.True_, value.shape),
    )


def local_bins(start_ns: int, count: int, step_ns: int, calendar: Calendar) -> NDArray[np.int64]:
    """Local instant of each of `count` bins from `start_ns` on, in bins, int64[count]."""
    at_ns = start_ns + np.arange(count, dtype=np.int64) * step_ns
    return np.asarray((at_ns + calendar.offset_ns(at_ns)) // step_ns, np.int64)


def wall_clock_start(
    at_ns: int, step_ns: int, calendar: Calendar, *, horizon_ns: int = HORIZON_NS
) -> int:
    """The first local instant that `fit_on_wall_clock` asks its fit for, in ns."""
    start_ns = at_ns - at_ns % step_ns
    return int(local_bins(start_ns, -(-horizon_ns // step_ns), step_ns, calendar).min()) * step_ns


def fit_on_wall_clock(
    history: WindowBlock,
    *,
    at_ns: int,
    version: int,
    special: SpecialDays,
    horizon_ns: int = HORIZON_NS,
    fit: Fit = fit_profile,
    left_out: NDArray[np.bool_] | None = None,
) -> Profile:
    """A fit that is made on the wall clock of ordinary days, for the instants of `[at_ns, at_ns + horizon_ns)`.

    Args:
        history: windows of the past, by instants.
        at_ns: up to where the past is known.
        version: number given to the profile.
        horizon_ns: how far ahead it reaches.
        special: the wall clock, and what special days differ by: they are taken for ordinary ones, and what is
            expected of one is put on afterwards.
        fit: what is fitted on the wall clock.
        left_out: bool[T, S], windows of the history that are not to be learnt; None for none.
    """
    calendar = special.calendar
    if calendar.is_utc and not special.matters:
        return fit(history, at_ns=at_ns, version=version, horizon_ns=horizon_ns, left_out=left_out)
    step_ns = history.step_ns
    start_ns = at_ns - at_ns % step_ns
    # Cut first: of a doubled hour, the part that is still to come must not be in the mean.
    known = int(np.clip((start_ns - history.start_ns) // step_ns, 0, history.window_count))
    oldest = int(np.clip((start_ns - _LOOK_BACK_NS - history.start_ns) // step_ns, 0, known))
    ahead = local_bins(start_ns, -(-horizon_ns // step_ns), step_ns, calendar)
    first, last = int(ahead.min()), int(ahead.max())
    past = history.windows(oldest, known)
    if left_out is not None:
        left_out = left_out[oldest:known]
        if past.window_count:
            marked = replace(past, value=left_out.astype(np.float32))
            left_out = np.asarray(on_wall_clock(marked, calendar).value > 0)
    if past.window_count:
        past = special.taken_from(on_wall_clock(past, calendar))
    profile = fit(
        past,
        at_ns=first * step_ns,
        version=version,
        horizon_ns=(last + 1 - first) * step_ns,
        left_out=left_out,
    )
    profile, ease = special.put_on(profile)
    rows = ahead - first
    grid, steps = profile.grid, profile.steps
    if len(rows) != len(grid) or np.any(np.diff(rows) != 1):
        grid = grid[rows]
        steps = None if steps is None else steps[rows]
        ease = None if ease is None else ease[rows]
    return replace(
        profile,
        start_ns=start_ns,
        grid=grid,
        steps=steps,
        ease=None if ease is None or np.all(ease == 1) else _by_hour(ease, step_ns),
        clock=calendar.local_hours,
    )


def _by_hour(ease: NDArray[np.float32], step_ns: int) -> NDArray[np.float32]:
    """The largest of each hour's bins."""
    starts = np.arange(0, len(ease), ease_ns(step_ns) // step_ns)
    return np.asarray(np.maximum.reduceat(ease, starts, axis=0), np.float32)


def _pieces(block: WindowBlock, calendar: Calendar) -> list[tuple[int, int, int]]:
    """Runs of windows under one offset: (first, last + 1, local instant of the first)."""
    step_ns = block.step_ns
    changes = [
        -(-(at_ns - block.start_ns) // step_ns)
        for at_ns, _ in calendar.offsets
        if block.start_ns < at_ns < block.end_ns
    ]
    bounds = [0, *changes, block.window_count]
    found = []
    for first, last in pairwise(bounds):
        at_ns = block.start_ns + first * step_ns
        if last > first or len(bounds) == 2:
            found.append((first, last, (at_ns + calendar.offset_at(at_ns)) // step_ns * step_ns))
    return found


def _mean(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of both, or the one that is known."""
    half = np.float32(0.5)
    mean = first * half + second * half
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, mean))
