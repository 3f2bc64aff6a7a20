"""What varies slowly: renewed when a UTC hour ends, from sums kept in between.

Because nothing here changes inside an hour, a block of windows of one hour can be scored at once and gives
to the last bit what one window after the other would have given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.asked import asked_of
from sentinel.core.scoring.horizon_scale import end_horizon_day
from sentinel.core.scoring.returns import forget_returns
from sentinel.core.scoring.settings import DAY_NS, HOUR_NS, ScoringSettings
from sentinel.core.scoring.state import (
    HOURS,
    MEMORY_DAYS,
    VIEWS,
    DetectorState,
    Hourly,
)
from sentinel.core.scoring.thresholds import close_excursions, own_cuts

_WEEK_NS = 7 * DAY_NS
_MOMENT_DAYS = 60.0
_ACTIVE_DAYS = 14.0
_HOUR_DAYS = 7.0
_PRIOR_DAYS = 2.0
_PEAK_WEEKS = 8.0
_SCALE_MIN = 1e-9
_ACTIVE_MIN = 0.003
_SQUARED_MAX = np.float32(1e17)
"""Float32 holds an hour's sum of the squares of this."""


def end_hour(state: DetectorState, settings: ScoringSettings) -> None:
    """Fold the sums of the hour that ended into what lasts, and begin the next one."""
    _fold_moments(state)
    _fold_hour_of_day(state, state.clock.of_day(state.hour))
    _fold_squares(state)
    _first_scale(state)
    if state.hour % HOURS == HOURS - 1:
        _end_day(state, settings)
        end_horizon_day(state, settings)
    state.hour += 1
    window = state.hour * HOUR_NS // state.step_ns
    forget_returns(state, window=window)
    close_excursions(state, window=window, hold_windows=state.grid.hold_windows)
    decay = 0.5 ** (HOUR_NS / _WEEK_NS / _PEAK_WEEKS)
    # A series that history holds from its middle on was not watched before.
    state.weeks[:] = state.weeks * decay + np.where(state.seen > 0, HOUR_NS / _WEEK_NS, 0.0)
    state.peaks *= np.float32(decay)
    state.cut[:] = own_cuts(state.peaks, state.weeks, grid=state.grid, settings=settings)
    state.hourly = None


def hourly(state: DetectorState, kind: NDArray[np.int8], settings: ScoringSettings) -> Hourly:
    """What scoring needs for the present hour; kept in the state until the hour ends."""
    known = state.hourly
    if (
        known is not None
        and known.settings is settings
        and known.demands is state.demands
        and (known.kind is kind or np.array_equal(known.kind, kind))
    ):
        return known
    if state.asked is None or not state.asked.is_of(kind, settings, state.demands):
        state.asked = asked_of(kind, settings, state.demands, grid=state.grid)
    asked = state.asked
    borrowed = (state.borrowed >= 0) & (state.borrowed < settings.borrowed_windows)
    ratio = _hour_ratios(state).astype(np.float32)
    scale = np.where(borrowed, np.nan, state.scale * state.widening).astype(np.float32)
    # Before there is a scale there is nothing to clip at.
    limit = np.where(np.isfinite(scale), scale, np.float32(np.inf))
    # A limit that grew with the widening would let a few minutes widen a borrowed scale without end.
    own = np.where(state.borrowed < 0, limit, np.minimum(limit, state.scale.astype(np.float32)))
    need = (settings.cut_scale * state.cut).astype(np.float32)
    made = Hourly(
        **asked.columns,
        ratio=ratio[1],
        ratio_step=ratio[::2] - ratio[1],
        scale=scale,
        borrowing=bool((state.borrowed >= 0).any()),
        spread_limit=np.minimum(np.float32(settings.spread_clip) * own, _SQUARED_MAX)[:, None],
        hour_limit=np.float32(settings.hour_clip) * limit[:, None],
        level_limit=np.float32(settings.level_clip) * limit[0],
        floor=(
            settings.floor_mean_ratio * state.magnitude
            + settings.floor_spread_ratio * np.sqrt(state.variance)
            + _SCALE_MIN
        ).astype(np.float32),
        gain=(np.maximum(state.active, _ACTIVE_MIN) ** settings.sparse_exponent).astype(
            np.float32
        ),
        mean=state.mean.astype(np.float32),
        need=need,
        need_single=np.float32(state.grid.single_ratio(settings)) * need,
        count_mean=np.where(
            ~asked.counted, 1.0, np.where(state.mean > 0, state.mean, np.nan)
        ).astype(np.float32),
        recent_held=asked.recent_held & ~borrowed,
    )
    state.hourly = made
    return made


def _fold_moments(state: DetectorState) -> None:
    """Exponential moments over two months; the hour's windows enter together, by their own mean and variance."""
    count = state.now_seen.astype(np.float64)
    some = count > 0
    safe = np.maximum(count, 1.0)
    total = np.maximum(state.seen + count, 1.0)
    weight = np.maximum(1 - 0.5 ** (count / (_MOMENT_DAYS * state.grid.per_day)), count / total)
    shift = state.now_shift / safe
    spread = np.maximum(state.now_shift_square / safe - shift * shift, 0.0)
    # Shifts were counted from the mean as float32.
    shift += state.mean.astype(np.float32) - state.mean
    variance = (1 - weight) * (state.variance + weight * shift * shift) + weight * spread
    state.variance[:] = np.where(some, variance, state.variance)
    state.mean += np.where(some, weight * shift, 0.0)
    state.magnitude += np.where(some, weight * (state.now_magnitude / safe - state.magnitude), 0.0)
    weight = np.maximum(1 - 0.5 ** (count / (_ACTIVE_DAYS * state.grid.per_day)), count / total)
    state.active += np.where(some, weight * (state.now_active / safe - state.active), 0.0)
    state.seen += count
    for name in ("now_shift", "now_shift_square", "now_magnitude", "now_active", "now_seen"):
        getattr(state, name)[:] = 0.0


def _fold_hour_of_day(state: DetectorState, hour: int) -> None:
    scaled = np.isfinite(state.scale[0]) & (state.borrowed < 0)
    count = np.where(scaled, state.now_count.astype(np.float64), 0.0)
    some = count > 0
    safe = np.maximum(count, 1.0)
    here = state.hour_abs_count[hour] + count
    per_day = state.grid.per_day
    weight = np.maximum(
        1 - 0.5 ** (count / (_HOUR_DAYS * per_day / HOURS)), count / np.maximum(here, 1.0)
    )
    total = state.all_abs_count + count
    weight_all = np.maximum(
        1 - 0.5 ** (count / (_HOUR_DAYS * per_day)), count / np.maximum(total, 1.0)
    )
    for view in range(VIEWS):
        found = state.now_abs[view] / safe
        mean = state.hour_abs[view, hour]
        state.hour_abs[view, hour] = np.where(some, mean + weight * (found - mean), mean)
        mean_all = state.all_abs[view]
        state.all_abs[view] = np.where(some, mean_all + weight_all * (found - mean_all), mean_all)
    state.hour_abs_count[hour] = here
    state.all_abs_count[:] = total
    state.now_abs[:] = 0.0


def _fold_squares(state: DetectorState) -> None:
    for view in range(VIEWS):
        state.block_square[view] += state.now_square[view]
        state.run_square[view] += state.now_square[view]
    state.block_count += state.now_count
    state.run_count += state.now_count
    state.now_square[:] = 0.0
    state.now_count[:] = 0.0


def _first_scale(state: DetectorState) -> None:
    """Before the first whole day the scale is the plain root mean square so far."""
    early = (state.day_filled == 0) & (state.borrowed < 0)
    early &= state.run_count >= state.grid.warm_windows
    if early.any():
        plain = np.sqrt(state.run_square / np.maximum(state.run_count, 1.0))
        state.scale[:] = np.where(early, plain, state.scale)


def _end_day(state: DetectorState, settings: ScoringSettings) -> None:
    full = state.block_count >= max(1.0, state.grid.per_day // 4)
    if full.any():
        place = np.flatnonzero(full)
        slot = state.day_filled[place] % MEMORY_DAYS
        for view in range(VIEWS):
            state.day_square[view, slot, place] = (
                state.block_square[view, place] / state.block_count[place]
            )
        state.day_filled[place] += 1
        _renew_scale(state, place, settings)
    state.block_square[:] = 0.0
    state.block_count[:] = 0.0


def _renew_scale(state: DetectorState, place: NDArray[np.intp], settings: ScoringSettings) -> None:
    """Power mean over the last days: a giant incident cannot hide the next weeks."""
    days = np.minimum(state.day_filled[place], MEMORY_DAYS)
    held = np.arange(MEMORY_DAYS)[:, None] < days
    for view in range(VIEWS):
        squares = state.day_square[view][:, place].astype(np.float64)
        powers = np.where(held, squares**settings.block_power, 0.0)
        mean = np.cumsum(powers, axis=0)[-1] / days
        state.scale[view, place] = np.sqrt(mean ** (1 / settings.block_power))


def _hour_ratios(state: DetectorState) -> NDArray[np.float64]:
    """Mean absolute deviation of three hours of day against all hours, shrunk to 1 by two days of windows.

    The hours before and after are those that come then: where the clock is moved, not the next of the day.
    """
    prior = _PRIOR_DAYS * state.grid.per_day / HOURS
    ratios = np.ones((3, VIEWS, state.series_count))
    for row, number in enumerate((state.hour - 1, state.hour, state.hour + 1)):
        hour = state.clock.of_day(number)
        count = state.hour_abs_count[hour].astype(np.float64)
        for view in range(VIEWS):
            overall = state.all_abs[view]
            known = overall > 0
            safe = np.where(known, overall, 1.0)
            shrunk = (state.hour_abs[view, hour] * count + prior * safe) / (count + prior)
            ratios[row, view] = np.where(known, shrunk / safe, 1.0)
    return ratios
